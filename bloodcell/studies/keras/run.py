"""The paper's recipe in Keras under both splits: what is missing is trained, then one table from the predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import holding
from bloodcell.common.files import below, listed, read_json, write_json, write_text
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.ladder.rows import Tested, ladder_rows, ladder_table
from bloodcell.tracking.predictions import FILE, read_predictions, write_packed
from bloodcell.tracking.save import portable

NET = "Table 1 in Keras"
# Split, fold and seed: the paper's split with three seeds, fields held out with one. One of each comes first:
# a training takes hours, and whoever stops then has both numbers.
TRAININGS = [
    ("random", 0, 0),
    *(("grouped", fold, 0) for fold in range(5)),
    *(("random", 0, seed) for seed in (1, 2)),
]


def run_keras(epochs: int, protocols: Sequence[str], runs: Path, out: Path) -> None:
    """Train what is missing; after each training, write ``keras.json``, ``keras.md`` and the predictions of all done.

    Args:
        epochs: Epochs of each training; those of other lengths are kept apart.
        protocols: Those of ``TRAININGS`` that are run.
        runs: Folder of the trainings.
        out: Folder of the results.
    """
    import torchvision  # noqa: F401  # TensorFlow, loaded first, makes this import crash

    from bloodcell.studies.keras.fit import train_in_keras

    runs = runs / f"{epochs}-epochs"
    todo = [one for one in TRAININGS if one[0] in protocols]
    with progress_bar() as progress:
        for protocol, fold, seed in progress.track(todo, description=f"trainings of {epochs} epochs"):
            place = runs / _name(protocol, fold, seed)
            if not (place / "metrics.json").is_file():
                train_in_keras(protocol, fold, seed, epochs, place)
            _collect(runs, out)


def write_keras(out: Path) -> None:
    """Compute the rows of ``keras.json`` from the predictions beside it, and write its table."""
    content = read_json(out / "keras.json")
    tested = []
    with holding(str(out / "keras.json"), "what make keras writes", "give the folder of its results"):
        for one in listed(content["trainings"]):
            name = _name(one["protocol"], one["fold"], one["seed"])
            table = read_predictions(below(out, f"predictions/{name}.csv.gz"))
            views = dict.fromkeys(table.view.tolist())
            tested += [Tested(NET, one["protocol"], one["seed"], view, table.of_view(view)) for view in views]
        rows = ladder_rows(tested)
        said = "The rows rest on these trainings alone:"
        text = f"{ladder_table(rows)}\n{said}\n\n{_trains(content['trainings'])}\n"
        write_json(out / "keras.json", {**content, "rows": rows})
        write_text(out / "keras.md", text)


def _name(protocol: str, fold: int, seed: int) -> str:
    return f"{protocol}-fold{fold}-seed{seed}"


def _collect(runs: Path, out: Path) -> None:
    """Write the results of every training that is done, of whichever command."""
    trainings = []
    for name in (_name(*one) for one in TRAININGS):
        if (runs / name / "metrics.json").is_file():
            write_packed(out / "predictions" / f"{name}.csv.gz", read_predictions(runs / name / FILE))
            manifest = portable(read_json(runs / name / "manifest.json"))
            trainings.append({**read_json(runs / name / "metrics.json"), "manifest": manifest})
    write_json(out / "keras.json", {"trainings": trainings})
    write_keras(out)


def _trains(trainings: list[dict[str, Any]]) -> str:
    """Which of the trainings leave chance, and what the training loss comes to."""
    header = ["split", "fold", "seed", "leaves chance", "steps", "training loss of the last epoch", "its accuracy"]
    rows = [
        [
            one["protocol"],
            str(one["fold"]) if one["protocol"] == "grouped" else "",
            str(one["seed"]),
            "yes" if one["trains"] else "no",
            f"{one['steps']:.0f}",
            f"{one['history']['loss'][-1]:.3f}",
            f"{one['history']['accuracy'][-1]:.3f}",
        ]
        for one in trainings
    ]
    return markdown_table(header, rows)
