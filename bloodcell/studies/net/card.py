"""A model card for people, from the JSON beside a published net."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.errors import holding
from bloodcell.common.files import read_json, write_text
from bloodcell.evidence.pages import html_page, markdown_table

CALIBRATION = {"log_loss": "log loss", "brier": "Brier score", "ece": "calibration error (ECE)"}


def write_card(card: Path, html: Path) -> None:
    """Write a card as one page that needs no other file.

    Raises:
        InputError: If the file is no card of a net.
    """
    write_text(html, html_page(card_text(card), None, "."))


def card_text(path: Path) -> str:
    """Write a card as Markdown.

    Raises:
        InputError: If the file is no card of a net.
    """
    content = read_json(path)
    with holding(str(path), "the JSON card of a published net", "give NAME.json of a net"):
        if not isinstance(content["about"]["not_for"], list):
            raise TypeError("not_for is no list")
        return "\n\n".join(_parts(path, content, content["about"])) + "\n"


def _parts(path: Path, content: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    held, metrics, data = about["held_out"], about["metrics"], about["data"]
    classes, preparation = content["classes"], content["preparation"]
    looks = "a crop around each white cell" if preparation["view"] == "crop" else "the whole picture"
    height, width = preparation["image_size"]
    learnt = markdown_table(
        ["class", "photographs learnt"],
        [[name.lower(), f"{count:,}"] for name, count in data["training_images"].items()],
        1,
    )
    groups = f" in {held['groups']:,} field groups" if held["groups"] else ""
    of_folds = "folds" in held["by"]
    return [
        f"# Model card: {path.stem}",
        f"Tells {', '.join(name.lower() for name in classes)} apart. It looks at {looks}, reduced to {width}x{height} "
        "pixels. Research only: this is not a medical device.",
        "## For, and not for",
        f"For {about['for']}.",
        "Not for:\n\n" + "\n".join(f"* {one}" for one in about["not_for"]),
        "## What it is worth",
        f"Measured by {held['by']}, on {held['cells']:,} cells{groups} that "
        + ("nets of the same recipe" if of_folds else "the net")
        + " had not learnt."
        + (" The net itself has learnt all of them: what it says of them is memory." if of_folds else ""),
        _metrics_table(metrics),
        f"Calibrated at a temperature of {content['temperature']:.2f}: "
        + ", ".join(f"{name} {metrics[key]:.3f}" for key, name in CALIBRATION.items())
        + (" (each fold at the temperature of the others)." if of_folds else "."),
        "## When it doubts",
        _doubt(content, about["doubt"], metrics),
        "## What it has learnt",
        f"{data['source']}, protocol {data['protocol']}, fingerprint `{data['fingerprint']}`.",
        learnt,
        "## How it was made",
        f"{about['made'][:10]}, commit `{str(about['commit'])[:12]}`, "
        + ", ".join(f"{name} {value}" for name, value in about["run"]["seeds"].items())
        + "; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + ".",
        f"Net: `{content['model']}`.",
    ]


def _metrics_table(metrics: Mapping[str, Any]) -> str:
    rows = [
        [
            re.sub(r"\bacc\b", "accuracy", name.replace("_", " ").replace("/", ", ").lower()),
            f"{value[0]:.3f}",
            f"{value[1]:.3f} to {value[2]:.3f}",
            f"{value[3]:,}",
        ]
        for name, value in metrics.items()
        if isinstance(value, list)
    ]
    return markdown_table(["", "held out", "95 % interval", "field groups"], rows, 1)


def _doubt(content: Mapping[str, Any], doubt: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    limits: Sequence[float | None] | None = content["limits"]
    parts = [
        f"A picture is called unlike the learnt cells where it lies farther from them than all but "
        f"{doubt['false_alarms']:.0%} of the held-out cells."
    ]
    if "measured" in doubt:
        parts += _strangers(doubt)
    if limits is None:
        return "\n\n".join(parts)
    rows = [
        [name.lower(), "in every set: too few field groups" if limit is None else f"{limit:.3f}"]
        for name, limit in zip(content["classes"], limits, strict=True)
    ]
    rarest = min(one[3] for name, one in metrics.items() if name.startswith("recall/"))
    parts += [
        f"Prediction sets hold the true class of a cell of each class {doubt['sets']:.0%} of the time. "
        f"{rarest} field groups of the rarest class allow no more than {100 * rarest // (rarest + 1)}%.",
        markdown_table(["class", "least probability that keeps it in a set"], rows, 1),
    ]
    return "\n\n".join(parts)


def _strangers(doubt: Mapping[str, Any]) -> list[str]:
    """What nets of the same recipe doubt among pictures that are no such cells, or are of another laboratory."""
    rows = [
        [name, f"{one['pictures']}", *(_share(one.get(key)) for key in ("flagged", "auroc", "right"))]
        for name, one in doubt["measured"].items()
    ]
    header = ["pictures", "number", "called unlike", "area under the ROC curve", "called by their class"]
    return [
        f"Of held-out cells {_share(doubt['held-out cells flagged'])} are called so; of other pictures, by nets of the "
        "folds, with 95 % intervals:",
        markdown_table(header, rows, 1),
        "Expect of pictures from your laboratory what the table says of others' (microscope, camera and stain count as "
        "much as the cell): where nearly all are called unlike the learnt cells, this net refuses to answer there, and "
        "its classes are guesses. It takes a net that was trained on pictures like yours.",
    ]


def _share(estimate: Sequence[float] | None) -> str:
    return f"{estimate[0]:.3f} ({estimate[1]:.3f} to {estimate[2]:.3f})" if estimate else ""
