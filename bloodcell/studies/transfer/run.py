"""The study from sets of cells to ``transfer.json``, its table and its figure; and from its predictions again."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import holding
from bloodcell.common.files import below, listed, read_json, write_json, write_text
from bloodcell.studies.ladder.trainings import check_same_overrides, run_sweep
from bloodcell.studies.transfer.cutouts import CutSet, read_crops
from bloodcell.studies.transfer.directions import Crossing, transfer_rows, transfer_table
from bloodcell.studies.transfer.source_runs import SourceSweep, source_sweeps
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.predictions import read_predictions, write_packed
from bloodcell.tracking.reader import Run
from bloodcell.tracking.save import evidence_of, portable

PREDICTIONS = "predictions"
ASKED = "asked"  # which of them are there, of which weights


def run_transfer(words: Sequence[str], stains: Sequence[str], seeds: Sequence[int], crops: Path, out: Path) -> None:
    """Train what is missing, and test each net on the sets that it has not learnt from.

    Args:
        words: Hydra overrides for all trainings.
        stains: Ways of colours.
        seeds: Of the trainings.
        crops: What :func:`cut_crops` has made.
        out: Folder for runs and results.

    Raises:
        InputError: If there are no crops, a training fails, or what is in ``out`` was made otherwise.
    """
    sets = read_crops(crops)
    for one in sets:
        print(f"{one.name}: {len(one):,} cells{'; ' * bool(one.said)}{one.said}")
    check_same_overrides(out, [*words, *(f"{one.name}:{one.digest[:16]}" for one in sets)])
    todo = source_sweeps(sets, stains, seeds, crops, out)
    runs = _train(todo, words, out)
    trainings = [{"sweep": sweep.name, **evidence_of(run)} for sweep in todo for run in runs[sweep.name]]
    write_json(out / "trainings.json", {"trainings": trainings})
    write_json(out / "manifest.json", portable(manifest({}, {})))
    write_json(
        out / "transfer.json",
        {
            "classes": list(sets[0].classes),
            "sets": {one.name: _about(one) for one in sets},
            "seeds": list(seeds),
            "predictions": _ask(todo, runs, sets, out),
        },
    )
    write_transfer(out)
    print((out / "transfer.md").read_text(encoding="utf-8"))
    print(f"figure: {out / 'transfer.png'}\ntable:  {out / 'transfer.md'}")


def _about(one: CutSet) -> dict[str, Any]:
    counts = np.bincount(one.label, minlength=len(one.classes)).tolist()
    return {
        "cells": len(one),
        "groups": len(np.unique(one.group)),
        "classes": dict(zip(one.classes, counts, strict=True)),
        "digest": one.digest,
        "red_cell": one.red_cell,
        "said": one.said,
    }


def _train(todo: Sequence[SourceSweep], words: Sequence[str], out: Path) -> dict[str, list[Run]]:
    """Run the trainings that are missing; the runs of each sweep."""
    runs = {}
    with progress_bar() as progress:
        task = progress.add_task("training", total=sum(one.jobs for one in todo))
        before = 0
        for one in todo:

            def seen(done: int, before: int = before) -> None:
                progress.update(task, completed=before + done)

            runs[one.name] = run_sweep(one, words, out, seen)
            before += one.jobs
    return runs


def _ask(
    todo: Sequence[SourceSweep], runs: Mapping[str, Sequence[Run]], sets: Sequence[CutSet], out: Path
) -> list[dict[str, Any]]:
    """Write what each net says of each set that it has not learnt from; list the files."""
    asked = [
        (sweep, run, target)
        for sweep in todo
        for run in runs[sweep.name]
        for target in sets
        if target.name not in sweep.source.split("+")
    ]
    with progress_bar() as progress:
        steps = progress.track(asked, description="asking about the other sets")
        return [answer for sweep, run, target in steps for answer in _answers(sweep, run, target, out)]


def _answers(sweep: SourceSweep, run: Run, target: CutSet, out: Path) -> list[dict[str, Any]]:
    """List the tables of what one net says of one set: those that are there already, else it is asked now."""
    from bloodcell.studies.transfer import asking

    way = sha256(Path(asking.__file__).read_bytes()).hexdigest()
    of = {"weights": run.record.get("weights"), "target": target.digest, "way": way}
    seed = int(str(run.config["seed"]))
    crossing = (sweep.source, "to", target.name, sweep.stain)
    noted = out / ASKED / f"{'-'.join((*crossing, 'seed', str(seed))).replace(' ', '-')}.json"
    before = read_json(noted) if noted.is_file() else {}
    if all(before.get(key) == value for key, value in of.items()):
        with holding(str(noted), "what make transfer writes", "remove it"):
            known: list[dict[str, Any]] = listed(before["answers"])
            if all(below(out, one["file"]).is_file() for one in known):
                return known
    answers = []
    for answer in asking.answers_of(run.path, target, seed):
        words = (*crossing, answer.looked_at, "seed", str(seed))
        file = f"{PREDICTIONS}/{'-'.join(words).replace(' ', '-')}.csv.gz"
        write_packed(out / file, answer.predictions)
        answers.append(
            {
                "file": file,
                "source": sweep.source,
                "target": target.name,
                "stain": sweep.stain,
                "looked_at": answer.looked_at,
                "seed": seed,
                "temperatures": list(answer.temperatures),
                "labelled": dict(answer.labelled),
            }
        )
    write_json(noted, {**of, "answers": answers})
    return answers


def write_transfer(folder: Path) -> None:
    """Compute the rows of ``transfer.json`` from the predictions beside it, and write its table and its figure.

    Args:
        folder: With ``transfer.json``, whose ``predictions`` name the tables.
    """
    from bloodcell.evidence.figures import save
    from bloodcell.studies.transfer.panels import transfer_figure

    content = read_json(folder / "transfer.json")
    with holding(str(folder / "transfer.json"), "what make transfer writes", "give the folder of its results"):
        tested = [
            Crossing(
                **{key: one[key] for key in Crossing._fields[:-1]},
                predictions=read_predictions(below(folder, one["file"])),
            )
            for one in listed(content["predictions"])
        ]
        order = {(row["source"], row["target"]): None for row in content["predictions"]}
        ranked = sorted(tested, key=lambda one: list(order).index((one.source, one.target)))
        content["rows"] = transfer_rows(ranked)
        text, figure = transfer_table(content), transfer_figure(content["rows"])
        write_json(folder / "transfer.json", content)
        write_text(folder / "transfer.md", text)
        save(figure, folder / "transfer.png")
