"""TODO studies/ladder/run.py."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.files import read_json, write_json, write_text
from bloodcell.studies.ladder.jobs import CNN, _check_same, _data, _train, jobs
from bloodcell.studies.ladder.table import RUNG_NAMES, Answers, _by_rung, _neighbours, _read_answers, _row, markdown


def run_ladder(words: list[str], seeds: Sequence[int], out: Path) -> None:
    """Train what is missing, then write ``ladder.json``, ``ladder.md`` and ``ladder.png``.

    Args:
        words: Hydra overrides for all trainings.
        seeds: Of the trainings.
        out: Folder for the runs and the results.

    Raises:
        InputError: If a training fails, or what is in ``out`` was made with other overrides.
    """
    todo = jobs(seeds)
    data = {job: _data(job, words) for job in todo}
    smallest = min(len(one.split.train) for one in data.values())
    common = ["experiment=ladder", *words, f"data.train_images={smallest}"]
    _check_same(out, common)
    with progress_bar() as progress:
        for job in progress.track(todo, description=f"training, {smallest:,} images each"):
            _train(job, common, out / job.name)
    answers = {(job.model, job.rung, job.seed): defaultdict[str, list[Answers]](list) for job in todo}
    for job in todo:
        for view, one in _read_answers(out / job.name, next(iter(data.values())).classes).items():
            answers[job.model, job.rung, job.seed][view].append(one)
    rows = [_row(model, rung, found) for (model, rung), found in _by_rung(answers).items()]
    rows += _neighbours({job: one for job, one in data.items() if job.model == CNN and job.seed == seeds[0]})
    manifest = read_json(out / todo[0].name / "manifest.json")
    write_json(out / "ladder.json", {"train_images": smallest, "seeds": list(seeds), "rows": rows})
    write_json(out / "manifest.json", {**manifest, "command": [Path(sys.argv[0]).name, *sys.argv[1:]]})
    _write_readable(rows, out)


def _write_readable(rows: list[dict[str, Any]], out: Path) -> None:
    """The table and the figure."""
    from bloodcell.evidence.figures import save
    from bloodcell.studies.ladder.figure import ladder

    text = markdown(rows)
    write_text(out / "ladder.md", text)
    save(ladder(rows, RUNG_NAMES), out / "ladder.png")
    print(text)
    print(f"figure: {out / 'ladder.png'}\ntable:  {out / 'ladder.md'}")
