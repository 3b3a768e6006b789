"""Sheets as files: CSV, Markdown, LaTeX, and one HTML page with the pictures inside."""

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bloodcell.common.files import write_csv, write_text
from bloodcell.evidence.pages import latex_table, markdown_table
from bloodcell.evidence.repeats import Mean
from bloodcell.tracking.reader import Run
from bloodcell.tracking.settings import Setting, folds_of, mean_of, value_of
from bloodcell.tracking.sheets import Sheet

BELOW_PICTURE = (
    "Each dot is a run. A bar is the mean of a level, with its 95 % interval over seeds or folds, over all other keys "
    "that were tried with it: where levels were tried with different others, the table says more. Bars may extend "
    "beyond the picture: two seeds tell little."
)


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Write a sheet as CSV, with every digit."""
    write_csv(path, sheet.numbers[0], sheet.numbers[1:])


def sheets_as_markdown(sheets: Sequence[Sheet], picture: str = "") -> str:
    """Write sheets as Markdown, one below the other.

    Args:
        sheets: The tables.
        picture: A file to show below the first; empty for none.
    """
    parts = ["# Runs"]
    for number, sheet in enumerate(sheets):
        parts.append(f"## {_plain(sheet.title)}")
        if sheet.rows:
            header, *rows = ([_plain(cell) for cell in line] for line in (sheet.header, *sheet.rows))
            parts.append(markdown_table(header, rows))
        if sheet.notes:
            parts.append("\n".join(f"* {_plain(note)}" for note in sheet.notes))
        if picture and number == 0:
            parts += [f"![what each key did]({picture})", BELOW_PICTURE]
    return "\n\n".join(parts) + "\n"


def sheets_as_latex(sheets: Sequence[Sheet]) -> str:
    """Write sheets as tables in LaTeX, with what must be said of them as comments."""
    parts = [r"% needs \usepackage{booktabs}"]
    for sheet in sheets:
        if sheet.rows:
            header, *rows = ([_one_line(cell) for cell in line] for line in (sheet.header, *sheet.rows))
            parts.append(latex_table(header, rows, sheet.title))
        parts.append("\n".join(f"% {_one_line(note)}" for note in sheet.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def write_sheets_page(path: Path, sheets: Sequence[Sheet], settings: Sequence[Setting], metric: str) -> None:
    """Write one HTML page that needs no other file.

    Args:
        path: Where it goes.
        sheets: The tables.
        settings: What the picture is drawn of.
        metric: What is on its vertical axis; empty for no picture.
    """
    from bloodcell.evidence.pages import html_page

    with tempfile.TemporaryDirectory() as name:
        drawn = draw_effects(Path(name) / "effects.png", settings, metric)
        text = sheets_as_markdown(sheets, "effects.png" if drawn else "")
        write_text(path, html_page(text, Path(name), "."))


def draw_effects(path: Path, settings: Sequence[Setting], metric: str) -> bool:
    """Draw what each key did to a metric.

    Args:
        path: The picture.
        settings: Whose runs are drawn.
        metric: On the vertical axis.

    Returns:
        Whether there was anything to draw: a key that varies, and runs that have the metric.
    """
    splits = Counter(setting.split for setting in settings for run in setting.done if metric in run.metrics)
    if not splits:
        return False
    # Means over several splits would be of different images, so only the split with most runs is drawn.
    drawn = [setting for setting in settings if setting.split == splits.most_common(1)[0][0]]
    done = [run for setting in drawn for run in setting.done if metric in run.metrics]
    keys = [key for key in settings[0].shown if len({value_of(run, key) for run in done}) > 1]
    if not keys:
        return False
    from bloodcell.evidence import figures
    from bloodcell.tracking import effects

    levels = {key: _levels(done, key) for key in keys}
    values = {
        key: {level: np.array([run.metrics[metric] for run in members]) for level, members in held.items()}
        for key, held in levels.items()
    }
    means = {
        key: {level: _level_mean(members, metric, settings[0].over) for level, members in held.items()}
        for key, held in levels.items()
    }
    only = f", {len(done)} runs of one split" if len(splits) > 1 else ""
    figures.save(effects.main_effects(values, means, metric, f"{metric}: what each key did{only}"), path)
    return True


def _levels(runs: Sequence[Run], key: str) -> dict[str, list[Run]]:
    levels: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        levels[value_of(run, key) or "(none)"].append(run)
    return dict(levels)


def _level_mean(runs: list[Run], metric: str, over: tuple[str, ...]) -> Mean:
    """A level's mean over repeats: within each, over all settings that were tried with the level."""
    return mean_of(Setting({}, runs, over).repeats(metric), folds_of(runs))


def _one_line(text: str) -> str:
    """A cell of two lines as one, the interval in brackets."""
    first, _, second = text.partition("\n")
    return f"{first} ({second})" if " to " in second else text.replace("\n", ", ")


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*|<\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", _one_line(text))
