"""Rendered smears: stained blood fields with red cells, platelets and one white cell. Not real cells.

Light is absorbed: each thing multiplies what lies below it by its own colour.
"""

from bloodcell.data.synthetic.cells import CLASSES
from bloodcell.data.synthetic.field import render_smear
from bloodcell.data.synthetic.write import write_smears

__all__ = ["CLASSES", "VERSION", "render_smear", "write_smears"]

VERSION = 2  # changes whenever the pictures do
