"""The ladder from its trainings to ``ladder.json``, its table and its figure; and from their predictions again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import holding
from bloodcell.common.files import below, listed, read_json, write_json, write_text
from bloodcell.studies.ladder.controls import neighbour_tests
from bloodcell.studies.ladder.order import order_effect, order_text, rows_by_number
from bloodcell.studies.ladder.rows import RUNG_NAMES, Tested, drop, drop_table, ladder_rows, ladder_table, read_tested
from bloodcell.studies.ladder.trainings import CNN, check_same_overrides, data_of, plain, run_sweep, sweeps
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.predictions import joined_predictions, read_predictions, write_packed
from bloodcell.tracking.save import evidence_of, portable

PREDICTIONS = "predictions"
# Of the smallest set of training images; so there are copies of photographs that were learnt, but not as they are.
TRAINED_ON = 0.9
WHAT_DROPS = (
    "What is lost on the way, in points of balanced accuracy, with 95 % intervals; the second and third row are of the "
    "same weights:"
)


def run_ladder(words: Sequence[str], seeds: Sequence[int], models: Sequence[str], out: Path) -> None:
    """Train what is missing, then write predictions, ``ladder.json``, ``ladder.md`` and ``ladder.png``.

    Args:
        words: Hydra overrides for all trainings.
        seeds: Seeds of the trainings.
        models: Nets and controls that see no cell; the controls that learn nothing come with ``CNN``.
        out: Folder for the runs and the results.

    Raises:
        InputError: If a training fails, or what is in ``out`` was made with other overrides.
    """
    todo = sweeps(seeds, models)
    data = {one.rung: [data_of(one, fold, words) for fold in one.folds] for one in sweeps(seeds, [CNN])}
    smallest = min(len(fold.split.train) for folds in data.values() for fold in folds)
    number = int(TRAINED_ON * smallest)
    common = [*words, f"data.train_images={number}"]
    check_same_overrides(out, common)
    tested: list[Tested] = []
    trainings: list[dict[str, Any]] = []
    with progress_bar() as progress:
        task = progress.add_task(f"training, {number:,} images each", total=sum(one.jobs for one in todo))
        before = 0
        for one in todo:

            def seen(done: int, before: int = before) -> None:
                progress.update(task, completed=before + done)

            runs = run_sweep(one, common, out, seen)
            tested += [view for run in runs for view in read_tested(one, run)]
            trainings += [{"sweep": one.name, **evidence_of(run)} for run in runs]
            before += one.jobs
    if CNN in models:
        tested += neighbour_tests(data, seeds[0])
    about = {"train_images": number, "seeds": list(seeds), "predictions": _write(tested, out)}
    write_json(out / "trainings.json", {"trainings": trainings})
    fingerprint = trainings[0]["manifest"]["data"]["fingerprint"]
    write_json(out / "manifest.json", portable(manifest({}, {"fingerprint": fingerprint})))
    write_json(out / "ladder.json", about)
    write_ladder(out)
    print((out / "ladder.md").read_text(encoding="utf-8"))
    print(f"figure: {out / 'ladder.png'}\ntable:  {out / 'ladder.md'}")


def _write(tested: Sequence[Tested], out: Path) -> list[dict[str, Any]]:
    """Write a table of predictions for each model, protocol and seed; list them."""
    listed = []
    for model, rung, seed in dict.fromkeys((one.model, one.rung, one.seed) for one in tested):
        name = plain(f"{model} {rung} seed {seed}")
        these = [one.predictions for one in tested if (one.model, one.rung, one.seed) == (model, rung, seed)]
        write_packed(out / PREDICTIONS / f"{name}.csv.gz", joined_predictions(these))
        listed.append({"file": f"{PREDICTIONS}/{name}.csv.gz", "model": model, "rung": rung, "seed": seed})
    return listed


def write_ladder(folder: Path) -> None:
    """Compute the rows of ``ladder.json`` from the predictions beside it, and write its table and its figure.

    Args:
        folder: With ``ladder.json``, whose ``predictions`` name the tables.
    """
    content = read_json(folder / "ladder.json")
    tested = []
    with holding(str(folder / "ladder.json"), "what make ladder writes", "give the folder of its results"):
        for one in listed(content["predictions"]):
            table = read_predictions(below(folder, one["file"]))
            views = dict.fromkeys(table.view.tolist())
            tested += [Tested(one["model"], one["rung"], one["seed"], view, table.of_view(view)) for view in views]
        rows = ladder_rows(tested)
        parts = {"drop": drop(rows), "by_number": rows_by_number(tested), "order": order_effect(rows)}
        write_json(folder / "ladder.json", {**content, "rows": rows, **parts})
        write_table_and_figure(read_json(folder / "ladder.json"), folder)


def write_table_and_figure(content: Mapping[str, Any], out: Path) -> None:
    """Write ``ladder.md`` and ``ladder.png`` from what ``ladder.json`` holds."""
    from bloodcell.evidence.figures import save
    from bloodcell.studies.ladder.figure import ladder_figure

    rows, drops, by_number = content["rows"], content.get("drop"), content.get("by_number")
    parts = [ladder_table(rows)]
    parts += [f"{WHAT_DROPS}\n\n{drop_table(drops)}"] if drops else []
    parts += [order_text(by_number, content["order"])] if by_number else []
    write_text(out / "ladder.md", "\n".join(parts))
    climbed = {row["rung"] for row in rows}
    save(ladder_figure(rows, {rung: name for rung, name in RUNG_NAMES.items() if rung in climbed}), out / "ladder.png")
