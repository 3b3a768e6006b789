"""Whether the sides of a split share pictures."""

from typing import TYPE_CHECKING

import numpy as np

from bloodcell.studies.audit.findings import EXAMPLES, Audited, Finding

if TYPE_CHECKING:
    from bloodcell.data.index import StrArray


def overlap(seen: Audited) -> Finding:
    """Look for groups on both sides: the gate."""
    test = seen.side == "test"
    learnt, tested = seen.group[~test], seen.group[test]
    shared = np.intersect1d(learnt, tested)
    images = int(np.isin(tested, shared).sum())
    what = "field groups" if seen.known else "pictures (copies counted once)"
    numbers = {"shared_groups": len(shared), "test_groups": len(np.unique(tested)), "test_images_in_them": images}
    title = "Do test data overlap training data?"
    if not len(shared):
        says = f"No: no {what} on both sides."
        if not seen.known:
            says += " Copies were searched for by their pixels; pictures that overlap only in part are not found."
        return Finding("fine", title, says, "", numbers)
    says = (
        f"Yes: {len(shared):,} of the {numbers['test_groups']:,} {what} of the test images are in the training images "
        f"too; {images:,} of {int(test.sum()):,} test images belong to them."
    )
    todo = (
        "A result on this split is partly memory. Split by group: data.protocol=grouped or official_strict for "
        "the Kaggle set, groups.csv and data.protocol=grouped for a folder. Left: training, right: test."
    )
    where = [side for side in ("train", "validation") if np.isin(shared, seen.group[seen.side == side]).any()]
    return Finding("leak", title, says, todo, numbers, _across(seen, shared, where[0], "test"))


def validation(seen: Audited) -> Finding:
    """Look for groups that a checkpoint would be both trained and chosen on."""
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
    todo = "Validation numbers flatter, and the checkpoint that they choose may be the one that remembers best."
    return Finding("look", title, says, todo, numbers, _across(seen, shared, "train", "validation"))


def _across(seen: Audited, shared: "StrArray", one: str, other: str) -> list[list[int]]:
    """Rows to show: of some groups, an image on the one side and an image on the other."""
    found = []
    for name in shared:
        first, second = (np.flatnonzero((seen.group == name) & (seen.side == side)) for side in (one, other))
        if len(first) and len(second):
            found.append([int(seen.rows[first[0]]), int(seen.rows[second[0]])])
    return found[:: max(1, len(found) // EXAMPLES)][:EXAMPLES]
