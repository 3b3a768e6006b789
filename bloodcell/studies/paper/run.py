"""The report: the paper's numbers beside ours, from committed results alone."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bloodcell.common.errors import InputError, holding
from bloodcell.common.files import below, read_csv, read_json, read_text, write_text
from bloodcell.evidence.pages import html_page, markdown_table
from bloodcell.studies.paper.argument import (
    abstract,
    both_readings,
    keras_text,
    percent,
    percent_interval,
    readings_text,
)

TEMPLATE = Path(__file__).with_name("report.md.j2")


def write_report(results: Path, html: Path) -> None:
    """Write ``report.md`` beside the results and one HTML page that needs no other file.

    Args:
        results: Folder with ``paper``, ``ladder``, ``lineage``, ``readings``, ``crops``, ``doubt`` and ``explain``.
        html: The page.

    Raises:
        InputError: If a result is missing.
    """
    from bloodcell.studies.ladder.run import write_table_and_figure
    from bloodcell.studies.net.section import draw_net_figures

    with holding(str(results), "results of this report", "put back the files as they were written"):
        draw_figures(results)
        draw_net_figures(results)
        write_table_and_figure(_read(results, "ladder/ladder.json"), results / "ladder")
        text = report_text(results)
    write_text(results / "report.md", text)
    write_text(html, html_page(text, results, os.path.relpath(results, html.parent)))


def draw_figures(results: Path) -> None:
    """Draw the paper's matrix, and our curves with the points that the paper states of its own."""
    from bloodcell.evidence import figures
    from bloodcell.studies.paper import stated as paper

    title = "redrawn from the paper's four sentences, 1,000 images"
    figures.save(
        figures.confusion_matrix(paper.CONFUSION, paper.CLASSES, title), results / "paper" / "paper_matrix.png"
    )
    epochs = _epochs(results)
    for quantity, key, stated in (("loss", "loss", paper.LOSS), ("accuracy", "acc", paper.ACCURACY)):
        train, test = ([float(row[f"{stage}/{key}"]) for row in epochs] for stage in ("train", "val"))
        figure = figures.curves(train, test, quantity, "test images", f"experiment=paper: {quantity} by epoch", stated)
        figures.save(figure, results / "paper" / f"{quantity}.png")


def report_text(results: Path) -> str:
    """Write the report as Markdown; every number is read from the results."""
    from jinja2 import Environment, StrictUndefined

    from bloodcell.evidence.intervals import confusion_scores
    from bloodcell.studies.ladder.order import order_text
    from bloodcell.studies.ladder.rows import drop_table, ladder_table
    from bloodcell.studies.net.section import maps_text
    from bloodcell.studies.paper import stated as paper

    ours, ladder = _read(results, "paper/metrics.json"), _read(results, "ladder/ladder.json")
    lineage = _read(results, "lineage/lineage.json")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    stated = {name: float(value) for name, value in confusion_scores(paper.CONFUSION.astype(np.float64)).items()}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        percent=percent,
        table=markdown_table,
        paper=stated,
        ours=ours,
        abstract=abstract(
            stated,
            paper.CLAIM,
            ours,
            ladder,
            _read(results, "ladder/trainings.json")["trainings"],
            _read(results, "crops/crops.json"),
        ),
        headline=_headline(ladder["rows"]),
        drop_table=drop_table(ladder["drop"]),
        order_text=order_text(ladder["by_number"], ladder["order"]),
        both_readings=both_readings(ladder),
        readings_text=readings_text(_read(results, "readings/runs.json")["runs"]),
        keras_text=keras_text(_read(results, "keras/keras.json")) if (results / "keras").is_dir() else "",
        by_class=_by_class(ours),
        protocol=_protocol(stated, ours),
        fits=_fits(stated, ours),
        points=_points(_epochs(results)),
        wider=_wider(results, ours),
        ladder=ladder | {"net": "`small_cnn`, 64x64"},
        ladder_table=ladder_table(ladder["rows"]),
        lineage_text=_lineage_text(lineage),
        maps_text=maps_text(results),
        doubt_text=read_text(below(results, "doubt/doubt.md")),
        photographs=sum(lineage["micrographs with copies"].values()),
        groups=lineage["groups of micrographs with copies"],
    )


def _read(results: Path, name: str) -> dict[str, Any]:
    if not (results / name).is_file():
        raise InputError(
            str(results / name),
            expected="a committed result",
            got="no such file",
            fix="see results/README.md for the command that makes it",
        )
    return read_json(results / name)


def _epochs(results: Path) -> list[dict[str, str]]:
    _read(results, "paper/metrics.json")
    return read_csv(results / "paper" / "metrics.csv")


def _headline(rows: Sequence[dict[str, Any]]) -> str:
    """The two ends of the ladder in two sentences."""
    from bloodcell.studies.ladder.controls import HISTOGRAM
    from bloodcell.studies.ladder.trainings import CNN

    found = {(row["model"], row["rung"]): row for row in rows}

    def said(model: str, rung: str, view: str) -> str:
        one = found[model, rung][view]["balanced_acc"]
        return percent_interval(one["mean"], one["interval"])

    return (
        "The same net with the same recipe and the same number of images reaches a balanced accuracy of "
        f"**{said(CNN, 'random', 'twin')}** on held-out copies when images are split at random, and "
        f"**{said(CNN, 'grouped', 'original')}** on originals when whole fields are held out (chance: 25 %). A "
        "nearest neighbour in colours, which sees no shape and learns nothing, reaches "
        f"{said(HISTOGRAM, 'random', 'twin')} at random and {said(HISTOGRAM, 'grouped', 'original')} by field. "
        "In brackets: 95 % intervals over field groups."
    )


def _by_class(ours: dict[str, Any]) -> list[list[str]]:
    from bloodcell.evidence.per_class import class_results
    from bloodcell.studies.paper import stated as paper

    rows = []
    for row in class_results(paper.CONFUSION, paper.CLASSES):
        low, high, groups = ours["intervals"][f"test/recall/{row.name}"]
        precision, recall, f1 = (ours[f"test/{key}/{row.name}"] for key in ("precision", "recall", "f1"))
        interval = f"{low:.3f}-{high:.3f} ({groups} groups)"
        name = row.name.lower()
        shares = [row.precision, precision, row.recall, recall, row.f1, f1]
        cells = [f"{share:.3f}" for share in shares]
        rows.append([name, *cells[:4], interval, *cells[4:]])
    return rows


def _protocol(stated: dict[str, float], ours: dict[str, Any]) -> list[list[str]]:
    from bloodcell.studies.paper import stated as paper

    rows = [
        ["the paper's claim", percent(paper.CLAIM), "", ""],
        ["the paper's matrix", percent(stated["acc"]), percent(stated["macro_f1"]), ""],
    ]
    for name, view in (
        ("ours, 1,000 test images", "test"),
        ("ours, the originals of the same photographs", "original"),
    ):
        cells = [
            percent_interval(ours[f"{view}/{key}"], ours["intervals"][f"{view}/{key}"]) for key in ("acc", "macro_f1")
        ]
        rows.append([name, *cells, f"{ours[f'{view}/log_loss']:.3f}"])
    return rows


def _fits(stated: dict[str, float], ours: dict[str, Any]) -> str:
    """Whether the reproduction reaches the paper's matrix, and where its mistakes are."""
    from bloodcell.studies.paper import stated as paper

    acc, matrix = ours["test/acc"], stated["acc"]
    low, high = ours["intervals"]["test/acc"][:2]
    held = "holds" if low <= matrix <= high else "does not hold"
    theirs = dict(zip((name.lower() for name in paper.CLASSES), paper.CONFUSION.diagonal() / 250, strict=True))
    recalls = ", ".join(
        f"{ours[f'test/recall/{name.upper()}']:.3f} for {name}s (paper: {share:.3f})" for name, share in theirs.items()
    )
    return (
        f"Ours reaches {percent(acc)}; its interval, {100 * low:.1f} to {100 * high:.1f}, {held} the "
        f"{percent(matrix)} of the paper's matrix. The mistakes are where the paper's are: recall is {recalls}."
    )


def _points(epochs: Sequence[dict[str, str]]) -> list[list[str]]:
    from bloodcell.studies.paper import stated as paper

    rows = []
    for name, key, stated in (("loss", "loss", paper.LOSS), ("accuracy", "acc", paper.ACCURACY)):
        for point in stated:
            row = epochs[point.epoch - 1]
            words = f"{name} {'under ' if point.bound else ''}{point.value} at epoch {point.epoch}"
            rows.append([words, f"{float(row[f'train/{key}']):.3f}", f"{float(row[f'val/{key}']):.3f}"])
    return rows


def _wider(results: Path, ours: dict[str, Any]) -> str:
    """What the wide reading adds, on the same split."""
    wide = _read(results, "paper_wide/metrics.json")
    return (
        "The wide reading (32, 64, 128 and a dense layer of 128, otherwise the same; `experiment=paper_adapted`) "
        f"reaches {percent_interval(wide['test/acc'], wide['intervals']['test/acc'])} on the same test images, the "
        f"narrow one that is reproduced here {percent_interval(ours['test/acc'], ours['intervals']['test/acc'])}."
    )


def _lineage_text(said: dict[str, Any]) -> str:
    sides, simple = said["micrographs with copies"], said["TEST_SIMPLE"]
    across, labels = said["pairs across TRAIN and TEST"], said["one cell with two labels"]
    alone = said["found by points alone"] + said["found by correlation alone"]
    other_class = len(said["other class than its micrograph"]) or "none"
    other_side = len(said["other side than its micrograph"]) or "none"
    return (
        f"Each of the {said['images']:,} published images was registered to the original photographs (SIFT, RANSAC, "
        f"among all of them, whatever its class or split): {said['placed']:,} are placed, with at least "
        f"{said['least inliers']} inliers and a pixel correlation of at least {said['least correlation']:.2f}. "
        f"Of them {other_class} has another class than its photograph, and {other_side} lies on another side of the "
        "published split than the one that can be recomputed from the labels alone. TRAIN is made of "
        f"{sides['TRAIN']} photographs and TEST of {sides['TEST']}; the {simple['files']} files of TEST_SIMPLE show "
        f"{simple['micrographs']}. {said['field pairs']} pairs of photographs overlap "
        f"({said['found by both searches']} are found by feature points that vote for a shift and by the correlation "
        f"at every shift, {', '.join(alone) or 'none'} by one of the two alone), which leaves "
        f"{said['groups of micrographs with copies']} field groups; {len(across)} of the pairs lie across TRAIN and "
        f"TEST ({', '.join(across)}). One cell has two labels in two photographs: {', '.join(labels)}."
    )
