"""What is said on a terminal: progress, durations, counts."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


class _Speed(ProgressColumn):
    """How many are done in a second."""

    def __init__(self, noun: str) -> None:
        super().__init__()
        self.noun = noun

    def render(self, task: Task) -> Text:
        """Write it."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} {self.noun}/s")


def progress_bar(noun: str = "") -> Progress:
    """Make a bar with the time left, on the terminal alone; it goes away at the end.

    Args:
        noun: What is counted, to show how many are done in a second; ``""`` not to.
    """
    speed = [_Speed(noun)] if noun else []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *speed, TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


def duration(seconds: float | None) -> str:
    """Write seconds as hours, minutes and seconds; nothing for ``None``."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 run``, ``2 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number_table(title: str, header: Sequence[str]) -> Table:
    """Make a table for the terminal: names on the left, and columns of numbers."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table
