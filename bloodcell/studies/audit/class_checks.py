"""What tells the classes apart: how many there are of each, and whether anything but the cell gives one away."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bloodcell.studies.audit.findings import Audited, Finding

if TYPE_CHECKING:
    from bloodcell.data.index import IntArray, StrArray

# A guess this much better than chance, at the lower end of its interval, is worth a look.
TELLING = 0.05


def balance(seen: Audited) -> Finding:
    """Count images and groups of each class."""
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
    title = "How many images are there of each class?"
    says = f"Images (groups): {said}."
    if fewest >= 10:
        return Finding("fine", title, says, "", {"images_and_groups": table})
    todo = f"A class is tested on {fewest:,} groups: its recall has a wide interval, whatever the number of images."
    return Finding("look", title, says, todo, {"images_and_groups": table})


def give_aways(seen: Audited) -> Finding:
    """Test whether the class can be guessed without looking at the cell."""
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
    says = f"Balanced accuracy, over groups, of a small tree that sees one thing only (chance {chance:.2f}): {said}."
    if not telling:
        return Finding("fine", title, f"No. {says}", "", {"guesses": numbers})
    todo = f"A net may learn {' and '.join(telling)} instead of the cell. See what differs between the classes there."
    return Finding("look", title, f"In part. {says}", todo, {"guesses": numbers})


def _guess(values: Any, labels: "IntArray", group: "StrArray") -> dict[str, Any]:
    """Cross-validated balanced accuracy of a tree of depth 3, with its interval; nothing if all values are alike."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    from bloodcell.evidence.intervals import summary_intervals

    classes = np.unique(labels)
    fewest = min(len(np.unique(group[labels == k])) for k in classes) if len(classes) > 1 else 0
    if fewest < 2 or (values == values[0]).all():
        return {}
    folds = StratifiedGroupKFold(min(5, fewest), shuffle=True, random_state=0)
    tree = DecisionTreeClassifier(max_depth=3, class_weight="balanced", random_state=0)
    said = cross_val_predict(tree, values, labels, groups=group, cv=folds)
    one = summary_intervals(labels, said, group, int(labels.max()) + 1)["balanced_acc"]
    return {"balanced_acc": one.value, "interval": [one.low, one.high], "groups": one.groups}
