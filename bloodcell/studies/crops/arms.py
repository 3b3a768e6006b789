"""The arms side by side: nets on fields and crops, features, and what averages of them give."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np

from bloodcell.common.errors import InputError, holding, printable
from bloodcell.common.files import below, listed, read_json, write_json, write_text
from bloodcell.data.lineage_table import read_lineage
from bloodcell.evidence.comparison import group_difference, group_permutation
from bloodcell.evidence.intervals import Ints, recall_intervals
from bloodcell.evidence.repeats import holm, smallest_found, variance_parts
from bloodcell.studies.crops.arm_tables import arms_table
from bloodcell.studies.crops.finding import is_uncut
from bloodcell.tracking.cross_validations import (
    Repeats,
    averaged_arms,
    averaged_seeds,
    common_fold_seeds,
    read_repeats,
    repeated_scores,
    write_repeats,
)
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.predictions import Predictions, joined_predictions
from bloodcell.tracking.save import portable

NORMAL = 1.96  # half of a 95 % interval, in standard deviations
FEATURES, CHOSEN = "features", "chosen"
MOST_ARMS = 50


def with_averages(arms: Mapping[str, Repeats], ensembles: Sequence[str], averages: Sequence[str]) -> dict[str, Repeats]:
    """Add arms that are averages of others.

    Args:
        arms: By name.
        ensembles: Arms whose seeds are averaged, each a further arm, ``NAME ensemble``.
        averages: ``A+B``: further arms ``A + B``; an ensemble may be one of them.

    Raises:
        InputError: If there is no arm of that name, or two have nothing in common to average.
    """
    found = dict(arms)
    for name in ensembles:
        found[f"{name} ensemble"] = averaged_seeds(_named(found, name, f"--ensemble {name}"))
    for words in averages:
        one, _, other = (word.strip() for word in words.partition("+"))
        sides = [_named(found, name, f"--average {words}") for name in (one, other)]
        try:
            found[f"{one} + {other}"] = averaged_arms(*sides)
        except ValueError as error:
            fix = "give arms of the same fold seeds and seeds"
            raise InputError(f"--average {words}", expected="common repeats", got=str(error), fix=fix) from error
    return found


def _named(arms: Mapping[str, Repeats], name: str, where: str) -> Repeats:
    if name not in arms:
        raise InputError(where, expected=", ".join(arms), got=name or "nothing", fix="name one of these arms")
    return arms[name]


def write_arms(
    arms: Mapping[str, Repeats],
    sources: Mapping[str, Path],
    out: Path,
    choices: Mapping[str, Any] | None = None,
    against: Sequence[str] = (),
) -> None:
    """Write the predictions of all arms, the manifests of their runs, and the table.

    Args:
        arms: By name.
        sources: Where those come from that were read: folders of runs, or files of predictions.
        out: Folder for all.
        choices: What was chosen for the arm ``chosen``, and by which validation scores; ``None`` if there is none.
        against: Arms with which the others are compared; empty for the first.

    Raises:
        InputError: If an arm did not test the same photographs as one of these, or under none of its fold seeds.
    """
    against = against or [next(iter(arms))]
    for other in against:
        first = _named(arms, other, f"--against {other}")
        for name, repeats in arms.items():
            _check_same(name, repeats, other, first)
    for name, repeats in arms.items():
        write_repeats(out / f"{file_of(name)}.csv.gz", repeats)
    for name, source in sources.items():
        beside = source.with_name(source.name.removesuffix(".csv.gz") + ".json")
        if source.is_dir():
            write_json(out / f"{file_of(name)}.json", common_and_apart(_manifests(source)))
        elif beside.is_file():
            write_json(out / f"{file_of(name)}.json", read_json(beside))
    write_json(out / "manifest.json", portable(manifest({}, {})))
    write_json(out / "crops.json", {"arms": list(arms), "against": list(against), "selection": choices})
    write_again(out)


def write_again(folder: Path) -> None:
    """Compute ``crops.json`` and ``crops.md`` from the predictions beside them.

    Args:
        folder: With ``crops.json``, whose ``arms`` names them in order, and ``against`` those to compare with.
    """
    known = read_json(folder / "crops.json")
    with holding(str(folder / "crops.json"), "what crops arms writes", "give the folder of its results"):
        names = [printable(name) for name in dict.fromkeys(listed(known["arms"], MOST_ARMS))]
        against = [name for name in names if name in listed(known.get("against", names[:1]), MOST_ARMS)]
        arms = {name: read_repeats(below(folder, f"{file_of(name)}.csv.gz")) for name in names}
        content = scored_arms(arms, against)
        content["selection"] = known.get("selection")
        text = arms_table(content)
        write_json(folder / "crops.json", content)
        write_text(folder / "crops.md", text)


def scored_arms(arms: Mapping[str, Repeats], against: Sequence[str]) -> dict[str, Any]:
    """Compute ``crops.json``: the scores of each arm, and each against some.

    Args:
        arms: Predictions of the same photographs in the same order, by the arm's name.
        against: Names of those with which all others are compared.
    """
    return {
        "arms": list(arms),
        "classes": list(next(iter(next(iter(arms.values())).values())).classes),
        "rows": [arm_row(name, repeats) for name, repeats in arms.items()],
        "against": list(against),
        "pairs": [pair for other in against for pair in _pairs(arms, other)],
    }


def _pairs(arms: Mapping[str, Repeats], other: str) -> list[dict[str, Any]]:
    """Compare all arms with one; their p-values are corrected for the number of these comparisons."""
    pairs = [compared(name, repeats, other, arms[other]) for name, repeats in arms.items() if name != other]
    for score in ("balanced_acc", "macro_f1"):
        for pair, p in zip(pairs, holm([pair[score]["p"] for pair in pairs]), strict=True):
            pair[score]["p_holm"] = p
    return pairs


def arm_row(name: str, repeats: Repeats) -> dict[str, Any]:
    """Score an arm on all photographs, on those with a whole cell, and on those whose cell the frame cuts."""
    micrographs = read_lineage().micrographs
    numbers = next(iter(repeats.values())).photograph.tolist()
    places = [micrographs.get(number) for number in numbers]  # none of photographs of another set
    whole = np.array([place is not None and is_uncut(place) for place in places])
    known = np.array([place is not None and not np.isnan(place.cell_x) for place in places])
    parts = {"all": np.ones(len(numbers), bool), "whole": known & whole, "cut": known & ~whole}
    tables = list(repeats.values())
    scored = {
        part: _scores([table.take(np.flatnonzero(rows)) for table in tables]) if rows.any() else None
        for part, rows in parts.items()
    }
    return {"arm": name, "repeats": [repeat._asdict() for repeat in repeats], **scored, "spread": _spread(repeats)}


def _spread(repeats: Repeats) -> dict[str, float] | None:
    """What the balanced accuracy of all photographs varies with, as standard deviations; ``None`` for few repeats."""
    by_fold_seed: dict[int, list[float]] = defaultdict(list)
    for repeat, table in repeats.items():
        by_fold_seed[repeat.fold_seed].append(_accuracy(table))
    if len(by_fold_seed) < 2 or len(next(iter(by_fold_seed.values()))) < 2:
        return None
    mean = repeated_scores(list(repeats.values()))["balanced_acc"]
    photographs = (mean.high - mean.low) / (2 * NORMAL)
    return {
        "photographs": photographs,
        **variance_parts([np.array(values) for values in by_fold_seed.values()])._asdict(),
    }


def _scores(repeats: Sequence[Predictions]) -> dict[str, Any]:
    table, classes = joined_predictions(repeats), len(repeats[0].classes)
    recalls = recall_intervals(table.correct, table.predicted, table.group, classes)
    return {
        "photographs": len(repeats[0]),
        **{name: score._asdict() for name, score in repeated_scores(repeats).items()},
        "recall": [one._asdict() if one else None for one in recalls],
        # Of all repeats together.
        "confusion": [
            np.bincount(table.predicted[table.correct == k], minlength=classes).tolist() for k in range(classes)
        ],
    }


def compared(name: str, repeats: Repeats, other: str, first: Repeats) -> dict[str, Any]:
    """Compare an arm with another over field groups, under the fold seeds that both have, seeds averaged.

    Returns:
        For balanced accuracy and macro-F1 the difference and its p-value, not corrected; for the former its interval,
        the smallest difference that is found four times in five, and the difference of each repeat that both have.
    """
    shared = common_fold_seeds(repeats, first)
    mine, theirs = ([table for repeat, table in one.items() if repeat.fold_seed in shared] for one in (repeats, first))
    count = lcm(len(mine), len(theirs))
    said, against = (_tiled(tables, count) for tables in (mine, theirs))
    table, classes = joined_predictions(mine[:1] * count), len(mine[0].classes)
    mean = group_difference(table.correct, said, against, table.group, classes)
    tests = {
        score: group_permutation(table.correct, said, against, table.group, classes, statistic=score)
        for score in ("balanced_acc", "macro_f1")
    }
    both = [_accuracy(repeats[repeat]) - _accuracy(first[repeat]) for repeat in repeats if repeat in first]
    return {
        "arm": name,
        "against": other,
        "fold_seeds": shared,
        **{score: {"difference": found.difference, "p": found.p} for score, found in tests.items()},
        "interval": mean.interval,
        "smallest_found": smallest_found(mean) if mean.error else None,
        "each": both,
    }


def _tiled(tables: Sequence[Predictions], count: int) -> Ints:
    """The predictions of some repeats, so often that there are ``count``: each weighs the same."""
    return np.concatenate([table.predicted for table in [*tables] * (count // len(tables))])


def _accuracy(table: Predictions) -> float:
    return repeated_scores([table])["balanced_acc"].value


def _check_same(name: str, repeats: Repeats, other: str, first: Repeats) -> None:
    mine, theirs = next(iter(repeats.values())), next(iter(first.values()))
    if mine.file.tolist() != theirs.file.tolist() or mine.group.tolist() != theirs.group.tolist():
        expected = f"the {len(theirs)} photographs of {other}, in the same groups"
        raise InputError(name, expected=expected, got="others", fix="give arms of the same folds")
    if not common_fold_seeds(repeats, first):
        raise InputError(name, expected=f"a fold seed of {other}", got="none", fix="train one of the two again")


def _manifests(folder: Path) -> dict[str, Any]:
    found = sorted(path for path in folder.rglob("manifest.json") if "evaluations" not in path.parts)
    return {str(path.parent.relative_to(folder)): portable(read_json(path)) for path in found}


def common_and_apart(contents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write down once what several mappings have in common, and of each what it has apart.

    Args:
        contents: By name, at least one.
    """
    first, *others = contents.values()
    common = {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}
    inner = {
        key: common_and_apart({name: one[key] for name, one in contents.items()})
        for key in first
        if key not in common and all(isinstance(one.get(key), dict) for one in contents.values())
    }
    common |= {key: one["common"] for key, one in inner.items() if one["common"]}
    apart = {
        name: {
            key: inner[key]["apart"][name] if key in inner else value
            for key, value in one.items()
            if key in inner or key not in common
        }
        for name, one in contents.items()
    }
    return {"common": common, "apart": apart}


def file_of(arm: str) -> str:
    """Name the files of an arm."""
    return arm.replace(" + ", "_and_").replace(" ", "_")
