"""The paper's recipe in Keras under both splits: what is missing is trained, then one table from the predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.files import read_json, write_json, write_text
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.ladder.rows import Tested, ladder_rows, ladder_table
from bloodcell.tracking.predictions import FILE, read_predictions, write_packed

NET = "Table 1 in Keras"
SEEDS, FOLDS = (0, 1, 2), (0, 1, 2, 3, 4)
# The paper's split with three seeds; fields held out with one.
TRAININGS = [*(("random", 0, seed) for seed in SEEDS), *(("grouped", fold, 0) for fold in FOLDS)]


def run_keras(epochs: int, protocols: Sequence[str], runs: Path, out: Path) -> None:
    """Train what is missing, then write ``keras.json``, ``keras.md`` and the predictions.

    Args:
        epochs: Epochs of each training.
        protocols: Those of ``TRAININGS`` that are run.
        runs: Folder of the trainings.
        out: Folder of the results.
    """
    import torchvision  # noqa: F401  # TensorFlow, loaded first, makes this import crash

    from bloodcell.studies.keras.fit import train_in_keras

    todo = [one for one in TRAININGS if one[0] in protocols]
    with progress_bar() as progress:
        for protocol, fold, seed in progress.track(todo, description=f"trainings of {epochs} epochs"):
            place = runs / f"{protocol}-fold{fold}-seed{seed}"
            if not (place / "metrics.json").is_file():
                train_in_keras(protocol, fold, seed, epochs, place)
    trainings = []
    for protocol, fold, seed in todo:
        place = runs / f"{protocol}-fold{fold}-seed{seed}"
        write_packed(out / "predictions" / f"{place.name}.csv.gz", read_predictions(place / FILE))
        trainings.append({**read_json(place / "metrics.json"), "manifest": read_json(place / "manifest.json")})
    write_json(out / "keras.json", {"trainings": trainings})
    write_keras(out)


def write_keras(out: Path) -> None:
    """Compute the rows of ``keras.json`` from the predictions beside it, and write its table."""
    content = read_json(out / "keras.json")
    tested = []
    for one in content["trainings"]:
        name = f"{one['protocol']}-fold{one['fold']}-seed{one['seed']}"
        table = read_predictions(out / "predictions" / f"{name}.csv.gz")
        views = dict.fromkeys(table.view.tolist())
        tested += [Tested(NET, one["protocol"], one["seed"], view, table.of_view(view)) for view in views]
    rows = ladder_rows(tested)
    write_json(out / "keras.json", {**content, "rows": rows})
    write_text(out / "keras.md", f"{ladder_table(rows)}\n{_trains(content['trainings'])}\n")


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
