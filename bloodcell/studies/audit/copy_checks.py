"""Whether pictures are there more than once: the same bytes, copies, one picture under two labels."""

import numpy as np

from bloodcell.studies.audit.duplicates import can_register, same_bytes
from bloodcell.studies.audit.findings import EXAMPLES, Audited, Finding


def same_bytes_across(seen: Audited) -> Finding:
    """Look for files with the same bytes."""
    found = same_bytes(seen.looks)
    across = [one for one in found if len(set(seen.side[one])) > 1]
    files = [[str(seen.data.index.file[seen.rows[position]]) for position in one] for one in found]
    numbers = {"sets": files, "sets_on_two_sides": len(across)}
    title = "Is any file there twice?"
    if not found:
        return Finding("fine", title, "No two files have the same bytes.", "", numbers)
    says = (
        f"Yes. Sets of files with the same bytes: {len(found):,}, of which on two sides of the split: {len(across):,}."
    )
    examples = [[int(seen.rows[position]) for position in one[:2]] for one in (across or found)[:EXAMPLES]]
    return Finding("look", title, says, "Keep one of each.", numbers, examples)


def near_copies(seen: Audited) -> Finding:
    """Look for copies of one picture: known from the lineage, or found by their bytes and pixels."""
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


def conflicting_labels(seen: Audited) -> Finding:
    """Look for a picture with two labels."""
    index = seen.data.index
    apart = [pair for pair in _copies(seen) if index.label[seen.rows[pair[0]]] != index.label[seen.rows[pair[1]]]]
    examples = [[int(seen.rows[one]), int(seen.rows[other])] for one, other in apart]
    examples += _known_conflicts(seen)
    files = [[str(index.file[row]) for row in pair] for pair in examples]
    title = "Does one picture have two labels?"
    if not examples:
        return Finding("fine", title, "None was found.", "", {"pairs": files})
    todo = "At least one label of each pair is wrong. Let somebody who knows the cells decide."
    says = f"Yes. Pairs of images that show the same under two labels: {len(files):,}."
    return Finding("look", title, says, todo, {"pairs": files}, examples[:EXAMPLES])


def _copies(seen: Audited) -> list[tuple[int, int]]:
    """Positions of pairs with the same bytes, then of those that were found to be copies."""
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
