"""A learning curve: how well a net does that has learnt from fewer photographs, and so what more would give."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bloodcell.common.errors import InputError, holding
from bloodcell.common.files import below, listed, read_json, write_json, write_text
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.crops.arm_tables import repeats_of, share_cell
from bloodcell.studies.crops.arms import arm_row, common_and_apart, compared
from bloodcell.tracking.cross_validations import read_repeats, repeats_of_runs, write_repeats
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.reader import Run, read_runs
from bloodcell.tracking.save import portable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SHARES = 50  # points of a curve


def write_curve(folder: Path, out: Path) -> None:
    """Write predictions, ``curve.json``, ``curve.md``, ``curve.png`` and the manifests.

    Args:
        folder: Runs for several values of ``data.train_share``, each with all folds and the same seeds.
        out: Folder for the results.

    Raises:
        InputError: If there are no runs of two shares, or some are missing.
    """
    by_share: dict[float, list[Run]] = defaultdict(list)
    for run in read_runs(folder):
        with holding(f"{run.path}: data.train_share", "a share of the photographs", "give runs of sweep=curve"):
            by_share[float(run.config.get("data.train_share") or 1)].append(run)
    if len(by_share) < 2:
        got = ", ".join(f"{share:g}" for share in by_share)
        fix = "make sweep SWEEP=curve ARGS=experiment=crops"
        raise InputError(str(folder), expected="runs of several values of data.train_share", got=got, fix=fix)
    points = []
    for share, runs in sorted(by_share.items()):
        file = f"share_{share:g}.csv.gz"
        write_repeats(out / file, repeats_of_runs(f"{folder}, data.train_share={share:g}", runs))
        with holding(str(folder), "manifests with the number of images", "train what lacks it again"):
            learnt = float(np.mean([run.part("data")["images"]["train"] for run in runs]))
        points.append({"share": share, "photographs": learnt, "file": file})
    manifests = {
        str(run.path.relative_to(folder)): portable(run.manifest) for runs in by_share.values() for run in runs
    }
    write_json(out / "runs.json", common_and_apart(manifests))
    write_json(out / "manifest.json", portable(manifest({}, {})))
    write_json(out / "curve.json", {"points": points})
    write_curve_again(out)


def write_curve_again(folder: Path) -> None:
    """Compute ``curve.json``, its table and its figure from the predictions beside it.

    Args:
        folder: With ``curve.json``, whose ``points`` name the files.
    """
    from bloodcell.evidence.figures import save

    names, content = ("share", "photographs", "file"), read_json(folder / "curve.json")
    with holding(str(folder / "curve.json"), "what crops curve writes", "give the folder of its results"):
        points = [{name: point[name] for name in names} for point in listed(content["points"], MOST_SHARES)]
        tables = [read_repeats(below(folder, point["file"])) for point in points]
        for point, repeats in zip(points, tables, strict=True):
            point |= arm_row(f"{point['share']:g}", repeats)
        for point, repeats in zip(points[:-1], tables[:-1], strict=True):
            point["less_than_all"] = compared("all", tables[-1], f"{point['share']:g}", repeats)
        classes = list(next(iter(tables[-1].values())).classes)
        write_json(folder / "curve.json", {"classes": classes, "points": points})
        write_text(folder / "curve.md", curve_table(points, classes))
        save(curve_figure(points, classes), folder / "curve.png")


def curve_table(points: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> str:
    """Write the points as Markdown.

    Args:
        points: Of ``curve.json``, by growing share.
        classes: Likewise.
    """
    header = ["photographs learnt", "repeats", "balanced accuracy", "macro-F1", "more with all of them"]
    header += [f"recall {name}" for name in classes]
    cells = []
    for point in points:
        one, less = point["all"], point.get("less_than_all")
        more = ""
        if less:
            ends = f" ({less['interval'][0]:+.3f} to {less['interval'][1]:+.3f})" if less["interval"] else ""
            more = f"{less['balanced_acc']['difference']:+.3f}{ends}"
        scores = [share_cell(one[name]) for name in ("balanced_acc", "macro_f1")]
        recalls = [f"{recall['value']:.3f}" if recall else "" for recall in one["recall"]]
        learnt = f"{point['photographs']:.0f} ({100 * point['share']:g} %)"
        cells.append([learnt, repeats_of(point["repeats"]), *scores, more, *recalls])
    said = (
        f"Every net is tested on all {points[0]['all']['photographs']} photographs, out of five folds, and has learnt "
        "from so many of the other folds, in as many steps: a share of the field groups of each class; a larger share "
        "holds every smaller one. Means over repeats (fold seeds x seeds, each of which draws other photographs); in "
        "brackets 95 % intervals over field groups, then the lowest and the highest repeat.\n\n"
    )
    return f"{said}{markdown_table(header, cells)}\n"


def curve_figure(points: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> "Figure":
    """Draw balanced accuracy with its interval and the recall of each class over the photographs learnt.

    Args:
        points: Of ``curve.json``, by growing share.
        classes: Likewise.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    learnt = [point["photographs"] for point in points]
    for number, name in enumerate(classes):
        recalls = [point["all"]["recall"][number] for point in points]
        values = [recall["value"] if recall else np.nan for recall in recalls]
        axes.plot(learnt, values, lw=1, marker=".", alpha=0.8, label=f"recall {name}")
    scores = [point["all"]["balanced_acc"] for point in points]
    ends = [[one["value"] - one["low"] for one in scores], [one["high"] - one["value"] for one in scores]]
    values = [one["value"] for one in scores]
    axes.errorbar(learnt, values, ends, color="black", lw=2, marker="o", ms=5, capsize=3, label="balanced accuracy")
    for place, one in zip(learnt, scores, strict=True):
        axes.plot([place] * len(one["repeats"]), one["repeats"], "_", color="black", ms=9)
    axes.axhline(1 / len(classes), color="grey", ls=":", lw=1)
    axes.text(learnt[0], 1 / len(classes) + 0.01, "chance", color="grey", fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks(learnt, [f"{number:.0f}" for number in learnt])
    axes.minorticks_off()
    axes.set(xlabel="photographs learnt (logarithmic)", ylabel="out of fold", ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    return figure
