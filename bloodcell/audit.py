"""Look for what makes a number worth less than it seems: ``python -m bloodcell.audit [data=...] [KEY=VALUE]``."""

import base64
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bloodcell.cli import CONF, fail, run_command
from bloodcell.errors import InputError
from bloodcell.rundir import write_json, write_text

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    from bloodcell.data.datamodule import BloodCells
    from bloodcell.data.index import IntArray, StrArray
    from bloodcell.data.inspection import Look

TEMPLATE = Path(__file__).with_name("audit.html.j2")
# Worst first. A leak or a broken file makes the command exit with 1.
LEVELS = ("leak", "broken", "look", "known", "fine")
EXAMPLES = 6
THUMBNAIL = 200
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

    data: "BloodCells"
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


def audit(cfg: DictConfig, out: Path) -> list[Finding]:
    """Audit a data set and write the page.

    Args:
        cfg: The composed config (``conf/audit.yaml``).
        out: Folder for ``audit.html`` and ``audit.json``.

    Returns:
        The findings, worst first; without a leak that was waived.

    Raises:
        InputError: If the data cannot be found or split.
    """
    from bloodcell.build import build

    data: BloodCells = build(cfg.data, "data")
    seen = _look(data, _find(data))
    checks = (
        overlap, broken, validation, as_published, same_bytes_across, conflicting_labels, near_copies, give_aways,
        balance, shapes, cut_off,
    )  # fmt: skip
    findings = sorted((check(seen) for check in checks), key=lambda one: LEVELS.index(one.level))
    waived = bool(cfg.audit.allow_leak) and findings[0].level == "leak"
    content = {
        "data": _readable(str(data.index.root)),
        "protocol": data.split.protocol,
        "caveat": data.split.caveat,
        "images": {name: int((seen.side == name).sum()) for name in ("train", "validation", "test")},
        "groups_known": seen.known,
        "leak_waived": waived,
        "findings": [{"level": one.level, "title": one.title, "says": one.says, **one.numbers} for one in findings],
    }
    write_json(out / "audit.json", content)
    write_text(out / "audit.html", page(content, findings, seen))
    _print(findings, waived)
    print(f"page:    {out / 'audit.html'}\nnumbers: {out / 'audit.json'}", flush=True)
    return [one for one in findings if not (waived and one.level == "leak")]


def _find(data: "BloodCells") -> list[str]:
    """Index and split; what training would stop at, other files in class folders, is passed over and comes back."""
    root = Path(data.root or "")
    if data.source != "folder" or not root.is_dir():
        data.find()
        return []
    from bloodcell.data.index import with_groups
    from bloodcell.data.inspection import index_images

    subsets = [name for name in ("train", "val", "test") if (root / name).is_dir()] or [""]
    index, others = index_images(root, subsets)
    if not others:
        data.find()
        return []
    table = root / "groups.csv"
    data.index = with_groups(index, table if table.is_file() else None, data.group_pattern)
    data.split = data.cut(data.index)
    return others


def _look(data: "BloodCells", others: list[str]) -> Audited:
    from bloodcell.data.duplicates import copies, joined
    from bloodcell.data.fingerprint import progress_bar
    from bloodcell.data.inspection import inspect

    split, workers = data.split, os.cpu_count() or 1
    parts = {"train": split.train, "validation": split.val if split.choice else split.val[:0], "test": split.test}
    rows = np.concatenate(list(parts.values()))
    side = np.repeat(list(parts), [len(part) for part in parts.values()])
    with progress_bar() as progress:

        def steps(what: str, total: int) -> Callable[[], None]:
            task = progress.add_task(what, total=total)
            return lambda: progress.advance(task)

        looks = inspect(data.index, rows, workers, steps("looking at files", len(rows)))
        named = _named(data, rows, looks)
        # Groups that a user names say what belongs together; that nothing else does is to be seen.
        asked = np.arange(len(rows)) if data.source == "folder" else np.flatnonzero(named == "")
        pairs = copies(data.index, rows, looks, asked, workers, steps)
    return Audited(data, rows, side, looks, joined(named, looks, pairs), named, pairs, others)


def _named(data: "BloodCells", rows: "IntArray", looks: "Sequence[Look]") -> "StrArray":
    """Groups known beforehand; the lineage table knows nothing of a file with other bytes than it saw."""
    if data.source != "blood_cells":
        return data.index.group[rows]
    from bloodcell.data.lineage import read_lineage

    images = read_lineage(data.tables).images
    files = [images.get(str(file)) for file in data.index.file[rows]]
    changed = [file is not None and file.sha256 != look.sha256 for file, look in zip(files, looks, strict=True)]
    return np.where(changed, "", data.index.group[rows])


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
        return Finding("fine", title, f"No: no {what} on two sides.", "", numbers)
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
    if seen.data.source != "blood_cells":
        return Finding("known", title, "There is no table for this folder.", "", {})
    from bloodcell.data.lineage import read_lineage

    images, index = read_lineage(seen.data.tables).images, seen.data.index
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
    from bloodcell.data.duplicates import same_bytes

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
    from bloodcell.data.duplicates import same_bytes

    return [(one[0], other) for one in same_bytes(seen.looks) for other in one[1:]] + seen.pairs


def _known_conflicts(seen: Audited) -> list[list[int]]:
    """Photographs of one cell with two labels, from the lineage table: one image of each."""
    if seen.data.source != "blood_cells":
        return []
    from bloodcell.data.lineage import read_lineage
    from bloodcell.lineage import conflicts

    index = seen.data.index
    pairs = [(pair.first, pair.second) for pair in conflicts(read_lineage(seen.data.tables))]
    found = [[np.flatnonzero(index.micrograph == name)[-1:] for name in pair] for pair in pairs]
    return [[int(one[0]), int(other[0])] for one, other in found if len(one) and len(other)]


def near_copies(seen: Audited) -> Finding:
    """Copies of one picture: from the lineage, or found by their bytes and pixels."""
    from bloodcell.data.duplicates import can_register

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
    table = {
        name: {
            side: [int(((labels == k) & (seen.side == side)).sum()),
                   len(np.unique(seen.group[(labels == k) & (seen.side == side)]))]
            for side in ("train", "validation", "test")
        }
        for k, name in enumerate(index.classes)
    }  # fmt: skip
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
    odd = [int(row) for row, look in zip(seen.rows, seen.looks, strict=True)
           if not look.error and (*look.shape, look.mode) != common]  # fmt: skip
    todo = "Training resizes all and reads RGB: shapes are squeezed, transparency is dropped, 16 bits are clipped."
    return Finding("look", title, f"No: {', '.join(words)}.", todo, numbers, [[row] for row in odd[:EXAMPLES]])


def cut_off(seen: Audited) -> Finding:
    """White cells that lie outside the frame, where their place is known."""
    title = "Are cells cut off by the frame?"
    if seen.data.source != "blood_cells":
        return Finding("known", title, "Not known: no table says where the cells are.", "", {})
    from bloodcell.data.lineage import read_lineage

    images = read_lineage(seen.data.tables).images
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


def page(content: dict[str, Any], findings: Sequence[Finding], seen: Audited) -> str:
    """One HTML page that needs no other file; names from files are escaped."""
    from jinja2 import Environment, StrictUndefined

    index = seen.data.index
    shown = [
        [[(_thumbnail(index.path(row)), _readable(str(index.file[row]))) for row in rows] for rows in one.examples]
        for one in findings
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(content=content, findings=list(zip(findings, shown, strict=True)))


def _thumbnail(path: Path) -> str:
    """A small JPEG as a data URI; nothing for a file that cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
    except Exception:  # decoders raise what they like; the finding says so elsewhere
        return ""
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()


def _some(files: Sequence[str]) -> str:
    return ", ".join(map(_readable, files[:5])) + (f" and {len(files) - 5:,} more" if len(files) > 5 else "")


def _readable(name: str) -> str:
    """A name from a stranger's disk: control characters and broken encodings as escapes, so that it can be shown."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


def _print(findings: Sequence[Finding], waived: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"leak": "bold red", "broken": "bold red", "look": "yellow", "known": "cyan", "fine": "green"}
    table = Table("", "question", "answer", title="audit", title_justify="left", show_lines=True)
    for one in findings:
        table.add_row(f"[{colours[one.level]}]{one.level}[/]", one.title, escape(one.says))
    Console().print(table)
    if waived:
        print("the overlap between test and training data is WAIVED by audit.allow_leak=true")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="audit")
def job(cfg: DictConfig) -> None:
    """One audit."""
    findings = audit(cfg, Path(HydraConfig.get().runtime.output_dir))
    for one in findings:
        if one.level in ("leak", "broken"):
            wanted = "no group on two sides" if one.level == "leak" else "files that can be decoded"
            fix = "split by group, or waive it with audit.allow_leak=true" if one.level == "leak" else "see the page"
            fail(InputError("audit", expected=wanted, got=one.says.removesuffix("."), fix=fix))


def main() -> None:
    """The command."""
    run_command(job)


if __name__ == "__main__":
    main()
