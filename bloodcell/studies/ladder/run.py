"""The ladder from its trainings to ``ladder.json``, its table and its figure."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.files import read_json, write_json, write_text
from bloodcell.studies.ladder.controls import neighbour_tests
from bloodcell.studies.ladder.rows import RUNG_NAMES, ladder_rows, ladder_table, read_tested
from bloodcell.studies.ladder.trainings import CNN, check_same_overrides, data_of, run_training, trainings


def run_ladder(words: Sequence[str], seeds: Sequence[int], out: Path) -> None:
    """Train what is missing, then write ``ladder.json``, ``ladder.md`` and ``ladder.png``.

    Args:
        words: Hydra overrides for all trainings.
        seeds: Seeds of the trainings.
        out: Folder for the runs and the results.

    Raises:
        InputError: If a training fails, or what is in ``out`` was made with other overrides.
    """
    todo = trainings(seeds)
    data = {one: data_of(one, words) for one in todo}
    smallest = min(len(one.split.train) for one in data.values())
    common = ["experiment=ladder", *words, f"data.train_images={smallest}"]
    check_same_overrides(out, common)
    with progress_bar() as progress:
        for one in progress.track(todo, description=f"training, {smallest:,} images each"):
            run_training(one, common, out / one.name)
    tested = [view for one in todo for view in read_tested(one, out / one.name)]
    tested += neighbour_tests({one: data[one] for one in todo if one.model == CNN and one.seed == seeds[0]})
    rows = ladder_rows(tested)
    manifest = read_json(out / todo[0].name / "manifest.json")
    write_json(out / "ladder.json", {"train_images": smallest, "seeds": list(seeds), "rows": rows})
    write_json(out / "manifest.json", {**manifest, "command": [Path(sys.argv[0]).name, *sys.argv[1:]]})
    write_table_and_figure(rows, out)
    print(ladder_table(rows))
    print(f"figure: {out / 'ladder.png'}\ntable:  {out / 'ladder.md'}")


def write_table_and_figure(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write ``ladder.md`` and ``ladder.png`` from the rows of ``ladder.json``."""
    from bloodcell.evidence.figures import save
    from bloodcell.studies.ladder.figure import ladder_figure

    write_text(out / "ladder.md", ladder_table(rows))
    save(ladder_figure(rows, RUNG_NAMES), out / "ladder.png")
