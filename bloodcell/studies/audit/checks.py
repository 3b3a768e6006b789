"""What an audit looks for, one function to a finding."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    from bloodcell.data.datamodule import CellImages
    from bloodcell.data.index import IntArray, StrArray
    from bloodcell.studies.audit.inspection import Look

# Worst first. A leak or a broken file makes the command exit with 1.
LEVELS = ("leak", "broken", "look", "known", "fine")
EXAMPLES = 6
# A guess this much better than chance, at the lower end of its interval, is worth a look.
TELLING = 0.05


class Finding(NamedTuple):
    """One thing that was looked for.

    Attributes:
        level: One of ``LEVELS``.
        title: What was looked for.
        says: What was found, with numbers.
        todo: What it means and what to do.
        numbers: The same for ``audit.json``.
        examples: Rows of the index to show, side by side.
    """

    level: str
    title: str
    says: str
    todo: str
    numbers: dict[str, Any]
    examples: Sequence[Sequence[int]] = ()


class Audited(NamedTuple):
    """What the findings are drawn from.

    Attributes:
        data: Index and split.
        rows: Rows of the index that were looked at: those that the split uses.
        side: ``train``, ``validation`` or ``test`` of each.
        looks: Of each.
        group: Group of each: what has one name, the same bytes or is a copy, directly or through others.
        named: Group of each that was known before; ``""`` where none was.
        pairs: Positions of near duplicates that were found among images whose copies are not known.
        others: Files in class folders that are no images.
    """

    data: "CellImages"
    rows: "IntArray"
    side: "StrArray"
    looks: list["Look"]
    group: "StrArray"
    named: "StrArray"
    pairs: list[tuple[int, int]]
    others: list[str]

    @property
    def known(self) -> bool:
        """Whether the group of every image was known before."""
        return bool((self.named != "").all())


def look_for_all(seen: Audited) -> list[Finding]:
    """All findings, worst first."""
    checks = (overlap, broken, validation, as_published, same_bytes_across, conflicting_labels)
    more = (near_copies, give_aways, balance, shapes, cut_off)
    return sorted((check(seen) for check in (*checks, *more)), key=lambda one: LEVELS.index(one.level))


def overlap(seen: Audited) -> Finding:
    """Whether a group stands on both sides: the gate."""
    test = seen.side == "test"
    learnt, tested = seen.group[~test], seen.group[test]
    shared = np.intersect1d(learnt, tested)
    images = int(np.isin(tested, shared).sum())
    what = "field groups" if seen.known else "pictures (copies counted once)"
    numbers = {"shared_groups": len(shared), "test_groups": len(np.unique(tested)), "test_images_in_them": images}
    title = "Do test data overlap training data?"
    if not len(shared):
        says = f"No: no {what} on two sides."
        if not seen.known:
            says += " Copies were searched for by their pixels; what overlaps in part only is not found."
        return Finding("fine", title, says, "", numbers)
    says = (
        f"Yes: {len(shared):,} of the {numbers['test_groups']:,} {what} of the test images are in the training images "
        f"too; {images:,} of {int(test.sum()):,} test images belong to them."
    )
    todo = (
        "A result on this split measures memory in part. Split by group: data.protocol=grouped or official_strict for "
        "the Kaggle set, groups.csv and data.protocol=grouped for a folder. Left: training, right: test."
    )
    where = [side for side in ("train", "validation") if np.isin(shared, seen.group[seen.side == side]).any()]
    return Finding("leak", title, says, todo, numbers, _across(seen, shared, where[0], "test"))


def _across(seen: Audited, shared: "StrArray", one: str, other: str) -> list[list[int]]:
    """Rows to show: of some groups an image on the one side and an image on the other, copies where they are known."""
    found = []
    for name in shared:
        first, second = (np.flatnonzero((seen.group == name) & (seen.side == side)) for side in (one, other))
        if len(first) and len(second):
            found.append([int(seen.rows[first[0]]), int(seen.rows[second[0]])])
    return found[:: max(1, len(found) // EXAMPLES)][:EXAMPLES]


def broken(seen: Audited) -> Finding:
    """Files that training would stop at: they cannot be decoded, or are no images."""
    bad = {str(seen.data.index.file[row]): look.error for row, look in zip(seen.rows, seen.looks, strict=True)}
    bad = {file: error for file, error in bad.items() if error}
    bad |= dict.fromkeys(seen.others, "no image by its ending")
    title = "Can every file be decoded?"
    if not bad:
        return Finding("fine", title, f"Yes, all {len(seen.looks):,}.", "", {"files": bad})
    says = f"No, {len(bad):,} cannot: {_some([f'{file} ({error})' for file, error in bad.items()])}."
    todo = "Training would stop at them: replace them, or move them elsewhere."
    return Finding("broken", title, says, todo, {"files": bad})


def validation(seen: Audited) -> Finding:
    """Whether a checkpoint would be chosen on images that were learnt from."""
    learnt, chosen = seen.group[seen.side == "train"], seen.group[seen.side == "validation"]
    shared = np.intersect1d(learnt, chosen)
    images = int(np.isin(chosen, shared).sum())
    numbers = {"shared_groups": len(shared), "groups": len(np.unique(chosen)), "images_in_them": images}
    title = "Do validation data overlap training data?"
    if not len(shared):
        return Finding("fine", title, "No." if len(chosen) else "There are no validation data.", "", numbers)
    says = (
        f"Yes: {len(shared):,} of the {numbers['groups']:,} groups of the validation images are in the training images "
        f"too; {images:,} of {len(chosen):,} validation images belong to them."
    )
    todo = "Validation numbers flatter, and a checkpoint chosen by them may be the one that remembers best."
    return Finding("look", title, says, todo, numbers, _across(seen, shared, "train", "validation"))


def as_published(seen: Audited) -> Finding:
    """Whether the images are those that the lineage table was made from."""
    title = "Are these the images that the lineage table knows?"
    if (lineage := seen.data.lineage) is None:
        return Finding("known", title, "There is no table for this folder.", "", {})
    images, index = lineage.images, seen.data.index
    present = set(index.file.tolist())
    missing = [file for file in images if file not in present]
    found = {str(index.file[row]): look for row, look in zip(seen.rows, seen.looks, strict=True)}
    changed = [file for file, look in found.items() if file in images and look.sha256 != images[file].sha256]
    strange = [file for file in found if file not in images and not file.startswith("ORIGINAL/")]
    numbers = {"missing": missing, "changed": changed, "not_in_table": strange}
    if not (missing or changed or strange):
        return Finding("fine", title, f"Yes, by SHA-256 ({len(found):,} looked at), and none is missing.", "", numbers)
    words = {"are missing": missing, "have other bytes": changed, "are not in it": strange}
    said = "; ".join(f"{len(files):,} {what}: {_some(files)}" for what, files in words.items() if files)
    todo = "Get the published set again (make data), or register this copy (make lineage) and set data.lineage."
    return Finding("look", title, f"No: {said}.", todo, numbers)


def same_bytes_across(seen: Audited) -> Finding:
    """Files with the same bytes."""
    from bloodcell.studies.audit.duplicates import same_bytes

    found = same_bytes(seen.looks)
    across = [one for one in found if len(set(seen.side[one])) > 1]
    files = [[str(seen.data.index.file[seen.rows[position]]) for position in one] for one in found]
    numbers = {"sets": files, "sets_on_two_sides": len(across)}
    title = "Is any file there twice?"
    if not found:
        return Finding("fine", title, "No two files have the same bytes.", "", numbers)
    says = (
        f"Yes. Sets of files with the same bytes: {len(found):,}, of them on two sides of the split: {len(across):,}."
    )
    examples = [[int(seen.rows[position]) for position in one[:2]] for one in (across or found)[:EXAMPLES]]
    return Finding("look", title, says, "Keep one of each.", numbers, examples)


def conflicting_labels(seen: Audited) -> Finding:
    """The same picture under two labels."""
    index = seen.data.index
    apart = [pair for pair in _copies(seen) if index.label[seen.rows[pair[0]]] != index.label[seen.rows[pair[1]]]]
    examples = [[int(seen.rows[one]), int(seen.rows[other])] for one, other in apart]
    examples += _known_conflicts(seen)
    files = [[str(index.file[row]) for row in pair] for pair in examples]
    title = "Does one picture have two labels?"
    if not examples:
        return Finding("fine", title, "None was found.", "", {"pairs": files})
    todo = "At least one label of each pair is wrong. Let somebody who knows the cells decide."
    says = f"Yes. Pairs that show the same, one under one label and one under another: {len(files):,}."
    return Finding("look", title, says, todo, {"pairs": files}, examples[:EXAMPLES])


def _copies(seen: Audited) -> list[tuple[int, int]]:
    """Positions of pairs with the same bytes, then of those that were found to be copies."""
    from bloodcell.studies.audit.duplicates import same_bytes

    return [(one[0], other) for one in same_bytes(seen.looks) for other in one[1:]] + seen.pairs


def _known_conflicts(seen: Audited) -> list[list[int]]:
    """Photographs of one cell with two labels, from the lineage table: one image of each."""
    if (lineage := seen.data.lineage) is None:
        return []
    from bloodcell.data.lineage_table import conflicts

    index = seen.data.index
    pairs = [(pair.first, pair.second) for pair in conflicts(lineage)]
    found = [[np.flatnonzero(index.micrograph == name)[-1:] for name in pair] for pair in pairs]
    return [[int(one[0]), int(other[0])] for one, other in found if len(one) and len(other)]


def near_copies(seen: Audited) -> Finding:
    """Copies of one picture: from the lineage, or found by their bytes and pixels."""
    from bloodcell.studies.audit.duplicates import can_register

    apart = [pair for pair in _copies(seen) if seen.known and seen.named[pair[0]] != seen.named[pair[1]]]
    numbers = {
        "images": len(seen.group),
        "groups": len(np.unique(seen.group)),
        "pairs_found": len(seen.pairs),
        "pairs_in_two_known_groups": len(apart),
    }
    title = "Are images copies of one another?"
    said = f"{numbers['images']:,} images fall into {numbers['groups']:,} groups"
    if seen.known and not apart:
        says = f"{said}; which images belong together was known beforehand."
        return Finding("known", title, says, "Intervals must count groups, not images.", numbers)
    how = "flips, quarter turns and, registered by their pixels, rotated, shifted and sheared ones"
    if not can_register():
        how = "flips and quarter turns only; rotated copies need OpenCV: pip install opencv-python-headless"
    if not seen.pairs and not apart:
        return Finding("fine", title, f"None was found (looked for: {how}).", "", numbers)
    says = f"{said} of copies (looked for: {how})."
    todo = "What the search finds is a lower bound. Intervals must count groups, not images."
    if apart:
        says += f" Pairs of copies that were given two different groups: {len(apart):,}."
        todo = "Correct the groups: a split by them has copies on two sides."
    examples = [[int(seen.rows[one]), int(seen.rows[other])] for one, other in (apart or seen.pairs)[:EXAMPLES]]
    return Finding("look", title, says, todo, numbers, examples)


def give_aways(seen: Audited) -> Finding:
    """Whether the class can be guessed without looking at the cell."""
    whole = np.array([not look.error for look in seen.looks])
    labels = seen.data.index.label[seen.rows][whole]
    looks = [look for look in seen.looks if not look.error]
    modes = sorted({look.mode for look in looks})
    features = {
        "image size": np.array([look.shape for look in looks], float),
        "pixel format": np.array([[modes.index(look.mode)] for look in looks], float),
        "file size": np.array([[look.size] for look in looks], float),
        "border colour": np.array([look.border for look in looks], float),
    }
    title = "Could the class be guessed without looking at the cell?"
    if not looks:
        return Finding("known", title, "Not known: no file can be decoded.", "", {"guesses": {}})
    numbers: dict[str, Any] = {}
    for name, values in features.items():
        numbers[name] = _guess(values, labels, seen.group[whole])
    chance = 1 / len(np.unique(labels))
    telling = [name for name, one in numbers.items() if one and one["interval"][0] > chance + TELLING]
    said = ", ".join(
        f"{name} {one['balanced_acc']:.2f} ({one['interval'][0]:.2f}-{one['interval'][1]:.2f})"
        if one
        else f"{name} alike"
        for name, one in numbers.items()
    )
    says = f"Balanced accuracy of a small tree that sees one thing only, by group, chance {chance:.2f}: {said}."
    if not telling:
        return Finding("fine", title, f"No. {says}", "", {"guesses": numbers})
    todo = f"A net may learn {' and '.join(telling)} instead of the cell. See what differs between the classes there."
    return Finding("look", title, f"In part. {says}", todo, {"guesses": numbers})


def _guess(values: Any, labels: "IntArray", group: "StrArray") -> dict[str, Any]:
    """Cross-validated balanced accuracy of a tree of depth 3, with its interval; nothing if all values are alike."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    from bloodcell.evidence.intervals import bootstrap_intervals

    classes = np.unique(labels)
    fewest = min(len(np.unique(group[labels == k])) for k in classes) if len(classes) > 1 else 0
    if fewest < 2 or (values == values[0]).all():
        return {}
    folds = StratifiedGroupKFold(min(5, fewest), shuffle=True, random_state=0)
    tree = DecisionTreeClassifier(max_depth=3, class_weight="balanced", random_state=0)
    said = cross_val_predict(tree, values, labels, groups=group, cv=folds)
    one = bootstrap_intervals(labels, said, group, int(labels.max()) + 1)["balanced_acc"]
    return {"balanced_acc": one.value, "interval": [one.low, one.high], "groups": one.groups}


def balance(seen: Audited) -> Finding:
    """Images and groups of each class."""
    index = seen.data.index
    labels = index.label[seen.rows]
    table: dict[str, dict[str, list[int]]] = {name: {} for name in index.classes}
    for k, name in enumerate(index.classes):
        for side in ("train", "validation", "test"):
            these = (labels == k) & (seen.side == side)
            table[name][side] = [int(these.sum()), len(np.unique(seen.group[these]))]
    said = "; ".join(
        f"{name.lower()} " + ", ".join(f"{side} {one[0]:,} ({one[1]:,})" for side, one in sides.items() if one[0])
        for name, sides in table.items()
    )
    fewest = min(one["test"][1] for one in table.values()) if (seen.side == "test").any() else 0
    title = "How many are there of each class?"
    says = f"Images (groups): {said}."
    if fewest >= 10:
        return Finding("fine", title, says, "", {"images_and_groups": table})
    todo = f"A class is tested on {fewest:,} groups: its recall has a wide interval, whatever the number of images."
    return Finding("look", title, says, todo, {"images_and_groups": table})


def shapes(seen: Audited) -> Finding:
    """Sizes and modes that are not the commonest."""
    kinds = Counter((*look.shape, look.mode) for look in seen.looks if not look.error)
    words = [f"{number:,} of {width}x{height} {mode}" for (width, height, mode), number in kinds.most_common(8)]
    numbers = {"kinds": [[*kind, number] for kind, number in kinds.most_common()]}
    title = "Are all images of one size and format?"
    if len(kinds) <= 1:
        return Finding("fine", title, f"Yes: {', '.join(words) or 'none'}.", "", numbers)
    common = kinds.most_common(1)[0][0]
    whole = [(int(row), look) for row, look in zip(seen.rows, seen.looks, strict=True) if not look.error]
    odd = [row for row, look in whole if (*look.shape, look.mode) != common]
    todo = "Training resizes all and reads RGB: shapes are squeezed, transparency is dropped, 16 bits are clipped."
    return Finding("look", title, f"No: {', '.join(words)}.", todo, numbers, [[row] for row in odd[:EXAMPLES]])


def cut_off(seen: Audited) -> Finding:
    """White cells that lie outside the frame, where their place is known."""
    title = "Are cells cut off by the frame?"
    if (lineage := seen.data.lineage) is None:
        return Finding("known", title, "Not known: no table says where the cells are.", "", {})
    images = lineage.images
    inside = {
        int(row): images[name].cell_inside for row in seen.rows if (name := str(seen.data.index.file[row])) in images
    }
    less = sorted((row for row, share in inside.items() if share < 0.5), key=lambda row: inside[row])
    gone = sum(share == 0 for share in inside.values())
    unknown = sum(np.isnan(share) for share in inside.values())
    numbers = {"less_than_half": len(less), "none_at_all": gone, "place_unknown": int(unknown)}
    says = (
        f"{len(less):,} images show less than half of the white cell, {gone:,} none of it; {unknown:,} are not known."
    )
    todo = "The label of such an image is that of a cell that cannot be seen."
    return Finding(
        "look" if less else "fine", title, says, todo if less else "", numbers, [[row] for row in less[:EXAMPLES]]
    )


def _some(files: Sequence[str]) -> str:
    return ", ".join(map(readable, files[:5])) + (f" and {len(files) - 5:,} more" if len(files) > 5 else "")


def readable(name: str) -> str:
    """A name from a stranger's disk: control characters and broken encodings as escapes, so that it can be shown."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)
