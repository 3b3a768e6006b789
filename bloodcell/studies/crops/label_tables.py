"""The tables of the labels in doubt."""

from collections.abc import Mapping, Sequence
from typing import Any

from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.crops.arm_tables import share_cell

Row = Mapping[str, Any]
MOST = 24  # photographs of the table


def labels_table(content: Row) -> str:
    """Write the labels in doubt as Markdown: what limits the arms, scores with and without them, the photographs.

    Args:
        content: Of ``labels.json``.
    """
    arms = content["arms"]
    by_arm = ", ".join(f"{name} {count}" for name, count in content["doubted_by"].items())
    said = (
        f"{len(arms)} arms ({', '.join(arms)}), each out of fold; the answer of an arm is the mean over its repeats. "
        "An arm doubts a label by confident learning (Northcutt et al. 2021): another class is likelier, and as likely "
        "as that class is on average in images of it. "
        f"Labels that all of them doubt: {content['in_doubt']} of {content['photographs']} (by arm: {by_arm})."
    )
    parts = [said, _ceiling(content["ceiling"], content["photographs"]), _two_labels(content["two_labels"])]
    return "\n\n".join([*parts, _scores(content["scores"]), _photographs(content["ranked"], len(arms))]) + "\n"


def _ceiling(one: Row, photographs: int) -> str:
    kinds = ", ".join(f"{count} {kind.lower()}" for kind, count in one["kinds"].items()) or "none"
    agreement = [value for row, values in enumerate(one["agreement"]) for value in values[row + 1 :]]
    between = f" Two arms answer alike on {min(agreement):.2f} to {max(agreement):.2f}." if agreement else ""
    return (
        f"All arms are wrong on {one['wrong_by_all']} of {photographs} photographs, and give the same wrong answer on "
        f"{one['wrong_by_all_alike']} of them ({kinds}); at least one is wrong on {one['wrong_by_some']}. "
        f"All answer alike on {one['all_answer_alike']:.2f} of the photographs.{between} Who always picked an arm that "
        "is right, where there is one, would have a balanced accuracy of "
        f"{share_cell(one['right_by_some'])}: no choice among these answers reaches more."
    )


def _two_labels(one: Row) -> str:
    share, low, high = one["share"]
    lines = [
        f"{one['pairs']} pairs of photographs show the same cell; the labels of {len(one['differ'])} differ: at least "
        f"one of the two is wrong in {share:.3f} ({low:.3f}-{high:.3f}) of such pairs."
    ]
    for pair in one["differ"]:
        answers = "; ".join(f"{arm} {' and '.join(said).lower()}" for arm, said in pair["answers"].items())
        which, labels = (" and ".join(pair[key]) for key in ("photographs", "labels"))
        lines.append(f"* {which}, labelled {labels.lower()}. Answers: {answers}.")
    return "\n".join(lines)


def _scores(rows: Sequence[Row]) -> str:
    names = {
        "all": "all",
        "without_doubted": "without those that all arms doubt",
        "without_doubted_by_others": "without those that all other arms doubt",
    }
    header = ["arm", "photographs", "number", "balanced accuracy", "macro-F1"]
    cells = []
    for row in rows:
        for part in (part for part in names if part in row):
            one = row[part]
            scores = [share_cell(one[score]) for score in ("balanced_acc", "macro_f1")]
            cells.append([row["arm"] if part == "all" else "", names[part], f"{one['photographs']}", *scores])
    said = (
        "Scores without what the arms contradict are no results: they say how much doubtful labels could cost at most. "
        "In the last row of each arm it had no part in the choice; but a cell that is hard to see is hard for all. "
        "Every other table has all photographs.\n\n"
    )
    return said + markdown_table(header, cells)


def _photographs(ranked: Sequence[Row], arms: int) -> str:
    header = ["photograph", "label", "its probability", "likeliest answer", "its probability", "wrong in", "doubted by"]
    cells = [
        [
            one["photograph"] + (" (cut)" if one["cut"] else ""),
            one["label"].lower(),
            f"{one['probability']:.2f}",
            one["answer"].lower(),
            f"{one['probability_of_answer']:.2f}",
            f"{one['wrong']} of {arms}",
            f"{one['doubted']} of {arms}",
        ]
        for one in ranked[:MOST]
    ]
    said = f"The labels that the arms find least probable on average, of {len(ranked)} that any is wrong on:"
    return f"{said}\n\n{markdown_table(header, cells)}"
