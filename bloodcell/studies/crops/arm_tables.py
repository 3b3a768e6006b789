"""The tables of the arms."""

from collections.abc import Mapping, Sequence
from typing import Any

from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.crops.selection import choices_text

Row = Mapping[str, Any]


def arms_table(content: Row) -> str:
    """Write the arms as Markdown: all photographs, whole and cut cells apart, each arm against others.

    Args:
        content: Of ``crops.json``.
    """
    rows = content["rows"]
    said = (
        f"Each of the {rows[0]['all']['photographs']} photographs is predicted by a net (or model) that has seen "
        "nothing of its field group: five folds, repeated with so many fold seeds x seeds. Means over repeats; in "
        "brackets their 95 % intervals over field groups, which leave out what another seed would change, then the "
        "lowest and the highest repeat.\n\n"
    )
    parts = [said, _all_table(rows, content["classes"]), "\n\n", _parts_table(rows)]
    for other in content["against"]:
        pairs = [pair for pair in content["pairs"] if pair["against"] == other]
        parts += ["\n\n", _pairs_table(other, pairs)] if pairs else []
    if any(row["spread"] for row in rows):
        parts += ["\n\n", _spread_table(rows)]
    if content["selection"]:
        parts += [f"\n\nThe arm `chosen` takes {choices_text(content['selection']['choices'])}."]
    return "".join(parts) + "\n"


def _spread_table(rows: Sequence[Row]) -> str:
    header = ["standard deviation of the balanced accuracy", "other photographs", "other folds", "another seed"]
    cells = [
        [row["arm"], *(f"{row['spread'][name]:.3f}" for name in ("photographs", "folds", "seeds"))]
        for row in rows
        if row["spread"]
    ]
    said = (
        "What a single cross-validation would vary with, as standard deviations: other photographs (from the interval "
        "over field groups), other folds of the same photographs, another seed of the trainings.\n\n"
    )
    return said + markdown_table(header, cells)


def _all_table(rows: Sequence[Row], classes: Sequence[str]) -> str:
    header = ["arm", "repeats", "balanced accuracy", "macro-F1", "accuracy", *(f"recall {name}" for name in classes)]
    cells = []
    for row in rows:
        one = row["all"]
        scores = [share_cell(one[name]) for name in ("balanced_acc", "macro_f1", "acc")]
        recalls = [share_cell(recall) if recall else "" for recall in one["recall"]]
        cells.append([row["arm"], repeats_of(row["repeats"]), *scores, *recalls])
    return markdown_table(header, cells)


def _parts_table(rows: Sequence[Row]) -> str:
    names = {"whole": "whole cells", "cut": "cut cells"}
    scores = {"balanced_acc": "balanced accuracy", "macro_f1": "macro-F1"}
    header = ["arm", *(f"{words}, {score}" for words in names.values() for score in scores.values())]
    cells = [
        [row["arm"], *(share_cell(row[part][score]) if row[part] else "" for part in names for score in scores)]
        for row in rows
    ]
    counts = " and ".join(f"{(rows[0][part] or {}).get('photographs', 0)} {words}" for part, words in names.items())
    said = f"A cell is cut if the annotator's box comes within two pixels of the frame: {counts}.\n\n"
    return said + markdown_table(header, cells)


def _pairs_table(other: str, pairs: Sequence[Row]) -> str:
    header = [
        f"against {other}",
        "balanced accuracy",
        "p",
        f"p of {len(pairs)}",
        "smallest difference found",
        "macro-F1",
        "p",
        f"p of {len(pairs)}",
    ]
    cells = []
    for one in pairs:
        accuracy, f1 = one["balanced_acc"], one["macro_f1"]
        ends = f" ({one['interval'][0]:+.3f} to {one['interval'][1]:+.3f})" if one["interval"] else ""
        each = f"; {min(one['each']):+.3f} to {max(one['each']):+.3f}" if len(one["each"]) > 1 else ""
        shown = f"{accuracy['difference']:+.3f}{ends}{each}"
        least = f"{one['smallest_found']:.3f}" if one["smallest_found"] else ""
        tests = [_p(accuracy["p"]), _p(accuracy["p_holm"])], [_p(f1["p"]), _p(f1["p_holm"])]
        cells.append([one["arm"], shown, *tests[0], least, f"{f1['difference']:+.3f}", *tests[1]])
    said = (
        f"Differences to {other}, paired over field groups under the fold seeds that both have: a permutation of whole "
        f"groups; `p of {len(pairs)}` is corrected for their number (Holm). The smallest difference is one that such a "
        "comparison finds four times in five. After the interval: the lowest and highest repeat that both have.\n\n"
    )
    return said + markdown_table(header, cells)


def repeats_of(repeats: Sequence[Row]) -> str:
    """Say how many fold seeds and seeds there are, as ``3 x 3``."""
    fold_seeds = len({one["fold_seed"] for one in repeats})
    return f"{fold_seeds} x {len(repeats) // fold_seeds}"


def share_cell(one: Row) -> str:
    """Write a share with its interval and, of several repeats, the lowest and the highest."""
    several = len(one.get("repeats", ())) > 1
    each = f"; {min(one['repeats']):.3f} to {max(one['repeats']):.3f}" if several else ""
    return f"{one['value']:.3f} ({one['low']:.3f}-{one['high']:.3f}{each})"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
