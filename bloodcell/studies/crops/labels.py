"""Labels in doubt: what several models contradict out of fold, and how far that limits what any of them can reach."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bloodcell.common.errors import InputError
from bloodcell.common.files import write_json, write_text
from bloodcell.data.crops.cut import Crop
from bloodcell.data.decode import open_picture
from bloodcell.data.kaggle import originals_of
from bloodcell.data.lineage_table import MicrographRow, conflicts, pairs_of_one_cell, read_lineage
from bloodcell.data.micrographs import COPY_SIZE, Pixels, brightened, micrograph_files
from bloodcell.evidence.intervals import Bools, Ints, wilson
from bloodcell.studies.crops.finding import CROP_SIDE, is_uncut
from bloodcell.studies.crops.label_tables import labels_table
from bloodcell.tracking.cross_validations import Repeats, average_of, repeated_scores
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.predictions import Predictions
from bloodcell.tracking.save import portable

SHOWN = 24  # photographs of the picture and of the table


def write_labels(content: Mapping[str, Any], images: Path, out: Path) -> None:
    """Write ``labels.json``, ``labels.md``, ``labels.jpg`` and the manifest.

    Args:
        content: Of :func:`label_doubts`.
        images: The folder of the Kaggle set that holds ``TRAIN`` and ``TEST``; the photographs lie beside it.
        out: Folder for all.
    """
    from bloodcell.evidence.figures import image_grid, save

    write_json(out / "labels.json", content)
    write_json(out / "manifest.json", portable(manifest({}, {})))
    write_text(out / "labels.md", labels_table(content))
    shown, files = content["ranked"][:SHOWN], micrograph_files(originals_of(images))
    rows = read_lineage().micrographs
    crops = [_crop(files[one["photograph"]], rows[one["photograph"]]) for one in shown]
    captions = [_caption(one, len(content["arms"])) for one in shown]
    save(image_grid(crops, captions, "the labels that the arms find least probable"), out / "labels.jpg")


def label_doubts(arms: Mapping[str, Repeats]) -> dict[str, Any]:
    """Compute ``labels.json``.

    An arm doubts a label by confident learning (Northcutt et al. 2021): it finds another class likelier, and as likely
    as it finds that class on average in images of it. A label is in doubt if all arms doubt it.

    Args:
        arms: Out-of-fold predictions of the same photographs, at least one arm.

    Raises:
        InputError: If the arms are of other photographs, or of another set, or cleanlab is not installed.
    """
    means = {name: average_of(list(repeats.values())) for name, repeats in arms.items()}
    first = next(iter(means.values()))
    for name, table in means.items():
        if table.file.tolist() != first.file.tolist() or table.correct.tolist() != first.correct.tolist():
            expected = f"the {len(first)} photographs of the first arm"
            raise InputError(name, expected=expected, got="others", fix="give arms of the same photographs")
    unknown = sorted(set(first.photograph.tolist()) - read_lineage().micrographs.keys())
    if unknown:
        expected, got = "photographs of the published set", f"{unknown[0][:40] or 'images'} of another"
        raise InputError("labels", expected=expected, got=got, fix="give arms of experiment=crops")
    doubts = np.array([doubtful(table) for table in means.values()])
    answers = np.array([table.predicted for table in means.values()])
    wrong = answers != first.correct
    return {
        "arms": list(arms),
        "classes": list(first.classes),
        "photographs": len(first),
        "in_doubt": int(doubts.all(axis=0).sum()),
        "doubted_by": dict(zip(arms, doubts.sum(axis=1).tolist(), strict=True)),
        "ranked": _ranked(list(means.values()), doubts, wrong),
        "ceiling": _ceiling(first, answers),
        "two_labels": _two_labels(means),
        "scores": [
            _with_and_without(name, repeats, doubts, place) for place, (name, repeats) in enumerate(arms.items())
        ],
    }


def doubtful(table: Predictions) -> Bools:
    """Tell which labels an arm doubts by confident learning, shape (N,).

    Raises:
        InputError: If cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise InputError(
            "labels", expected="the package cleanlab", got="none", fix='type pip install "bloodcell[labels]"'
        ) from error
    shares = table.probabilities / table.probabilities.sum(axis=1, keepdims=True)  # they have six decimals
    return np.asarray(find_label_issues(table.correct, shares, filter_by="confident_learning", n_jobs=1), bool)


def _ranked(means: Sequence[Predictions], doubts: Bools, wrong: Bools) -> list[dict[str, Any]]:
    """Every photograph that an arm gets wrong, the one whose label is least probable first."""
    first, rows = means[0], read_lineage().micrographs
    mean = average_of(means)
    of_label = mean.probabilities[np.arange(len(mean)), mean.correct]
    return [
        {
            "photograph": str(first.photograph[row]),
            "label": first.classes[first.correct[row]],
            "probability": float(of_label[row]),
            "answer": first.classes[mean.predicted[row]],
            "probability_of_answer": float(mean.probabilities[row].max()),
            "wrong": int(wrong[:, row].sum()),
            "doubted": int(doubts[:, row].sum()),
            "cut": _cut(rows[str(first.photograph[row])]),
        }
        for row in np.argsort(of_label, kind="stable").tolist()
        if wrong[:, row].any()
    ]


def _ceiling(first: Predictions, answers: Ints) -> dict[str, Any]:
    """What all arms get wrong, and how alike they are.

    Args:
        first: The labels.
        answers: Of each arm, shape (arms, N).
    """
    wrong = answers != first.correct
    all_wrong, alike = wrong.all(axis=0), (answers == answers[0]).all(axis=0)
    names, same = np.array(first.classes), all_wrong & alike
    kinds = Counter(
        f"{label} as {answer}"
        for label, answer in zip(names[first.correct[same]], names[answers[0][same]], strict=True)
    )
    some_right = np.where(all_wrong, answers[0], first.correct)
    oracle = Predictions(
        first.classes,
        *(first.file, first.view, first.photograph, first.group, first.correct),
        some_right,
        np.eye(len(first.classes))[some_right],
    )
    return {
        "wrong_by_all": int(all_wrong.sum()),
        "wrong_by_all_alike": int(same.sum()),
        "kinds": dict(kinds.most_common()),
        "wrong_by_some": int(wrong.any(axis=0).sum()),
        "all_answer_alike": float(alike.mean()),
        "agreement": [[float((one == other).mean()) for other in answers] for one in answers],
        "right_by_some": repeated_scores([oracle])["balanced_acc"]._asdict(),
    }


def _two_labels(means: Mapping[str, Predictions]) -> dict[str, Any]:
    """Photographs of one cell: how many pairs there are, and what the arms say where their labels differ."""
    lineage, first = read_lineage(), next(iter(means.values()))
    places = {name: row for row, name in enumerate(first.photograph.tolist())}
    pairs = [one for one in pairs_of_one_cell(lineage) if one.first in places and one.second in places]
    differ = [one for one in conflicts(lineage) if one in pairs]
    low, high = wilson(len(differ), len(pairs)) if pairs else (0.0, 1.0)
    return {
        "pairs": len(pairs),
        "share": [len(differ) / max(len(pairs), 1), low, high],
        "differ": [
            {
                "photographs": [one.first, one.second],
                "labels": [lineage.micrographs[name].label for name in (one.first, one.second)],
                "answers": {
                    arm: [first.classes[table.predicted[places[name]]] for name in (one.first, one.second)]
                    for arm, table in means.items()
                },
            }
            for one in differ
        ],
    }


def _with_and_without(name: str, repeats: Repeats, doubts: Bools, place: int) -> dict[str, Any]:
    """Score an arm on all photographs, and without those that all arms, or all the other arms, doubt."""
    others = np.delete(doubts, place, axis=0)
    left_out = {"without_doubted": doubts.all(axis=0)}
    if len(others):
        left_out["without_doubted_by_others"] = others.all(axis=0)

    def scored(rows: Ints) -> dict[str, Any]:
        scores = repeated_scores([table.take(rows) for table in repeats.values()])
        return {"photographs": len(rows), **{key: scores[key]._asdict() for key in ("balanced_acc", "macro_f1")}}

    parts = {"all": np.zeros(doubts.shape[1], bool), **left_out}
    return {"arm": name, **{part: scored(np.flatnonzero(~out)) for part, out in parts.items()}}


def _cut(row: MicrographRow) -> bool:
    return not np.isnan(row.cell_x) and not is_uncut(row)


def _crop(path: Path, row: MicrographRow) -> Pixels:
    height, width = COPY_SIZE
    field = np.asarray(brightened(open_picture(path)))
    return Crop("annotated", CROP_SIDE).cut(field, (row.cell_x / width, row.cell_y / height))


def _caption(one: Mapping[str, Any], arms: int) -> str:
    label, answer = (one[key].lower() for key in ("label", "answer"))
    said = f"{answer}: {one['probability_of_answer']:.2f}, " if answer != label else ""
    return f"{one['photograph']}: {label} ({one['probability']:.2f})\n{said}wrong in {one['wrong']} of {arms} arms"
