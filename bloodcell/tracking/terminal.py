"""Sheets on the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bloodcell.common.errors import InputError
from bloodcell.tracking.query import choose_metrics, choose_order
from bloodcell.tracking.reader import Run
from bloodcell.tracking.sheets import Sheet, runs_sheet

# From this number of keys on, a row names only those whose value is not the usual one.
MANY_KEYS = 4


def print_runs(runs: Sequence[Run], metrics: Sequence[str] = ()) -> None:
    """Print a row per run: the keys that vary, state, time, metrics; below it why runs failed.

    Args:
        runs: In the order of the rows.
        metrics: Names of metrics; empty for the one that settings are chosen by and the tests'.

    Raises:
        InputError: If there is no run, or none has a metric that was asked for.
    """
    if not runs:
        raise InputError("runs", expected="at least one run", got="none", fix="train first")
    print_sheet(runs_sheet(runs, choose_metrics(runs, metrics, choose_order(runs, None))))


def print_sheet(sheet: Sheet) -> None:
    """Print a sheet as wide as the terminal, and its notes."""
    console = Console(highlight=False, markup=False)
    notes = sheet.notes
    if sheet.rows:
        table = _drawn(sheet.title, sheet.header, sheet.rows)
        wanted = Measurement.get(console, console.options.update(width=10_000), table).maximum
        if sheet.keys and wanted > console.width:
            usual = _usual(sheet)
            table = _drawn(sheet.title, *_narrow(sheet, usual))
            words = " ".join(f"{name}={value}" for name, value in usual.items())
            notes = [f"where a row does not say: {words}", *notes] if usual else notes
        console.print(table)
    else:
        console.print(f"{sheet.title}: nothing to show")
    for note in notes:
        console.print(Text(note))


def _drawn(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=any("\n" in cell for row in rows for cell in row))
    for name in header:
        table.add_column(Text(_broken(name)), overflow="fold", no_wrap="/" in name and "." not in name)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _usual(sheet: Sheet) -> dict[str, str]:
    """What most rows have, key by key, so that the others need not repeat it; nothing where few keys vary."""
    if sheet.keys < MANY_KEYS:
        return {}
    counted = {name: Counter(row[1 + k] for row in sheet.rows) for k, name in enumerate(_keys(sheet))}
    most = {name: values.most_common(1)[0] for name, values in counted.items()}
    return {name: value for name, (value, rows) in most.items() if value and 2 * rows > len(sheet.rows)}


def _narrow(sheet: Sheet, usual: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """The keys of a setting in one column, where they do not fit side by side."""
    rows = []
    for row in sheet.rows:
        held = zip(_keys(sheet), row[1:], strict=False)
        words = [f"{name}={value or '(none)'}" for name, value in held if value != usual.get(name, "")]
        rows.append([row[0], " ".join(words) or "(as below)", *row[1 + sheet.keys :]])
    return [sheet.header[0], "setting", *sheet.header[1 + sheet.keys :]], rows


def _keys(sheet: Sheet) -> list[str]:
    return sheet.header[1 : 1 + sheet.keys]


def _broken(name: str) -> str:
    """A long name in two lines: ``trainer.`` and ``max_epochs``, ``test/`` and ``balanced_acc``."""
    place = max(name.rfind("."), name.rfind("/")) + 1
    return name if len(name) <= 10 or not place else f"{name[:place]}\n{name[place:]}"
