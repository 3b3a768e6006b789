"""The runs below a folder: read, grouped, compared, shown, and kept as evidence. ``python -m bloodcell.runs``."""

from bloodcell.runs.committed import ROOT, committed_table, save, write_readme
from bloodcell.runs.reader import Run, read_runs
from bloodcell.runs.terminal import print_runs

__all__ = ["ROOT", "Run", "committed_table", "print_runs", "read_runs", "save", "write_readme"]
