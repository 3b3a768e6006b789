"""Imported by the process that commands are forked from: what they import, look up and cache the first time."""

import gc
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

from bloodcell import search, train
from tests.fuzz import typed
from tests.helpers import TINY, write_cells

_here = Path.cwd()
with tempfile.TemporaryDirectory() as _folder, patch.dict(os.environ, {"BLOODCELL_CACHE": f"{_folder}/cache"}):
    os.chdir(_folder)
    _words = (*TINY, f"data.root={write_cells(Path('cells'), ('train', 'val', 'test'), 8)}", "trainer=smoke")
    _said = typed(train, *_words), typed(search, *_words, "optim.lr=interval(1e-3,1e-1)", "--trials", "2")
    assert _said == ("", ""), _said
    os.chdir(_here)
gc.collect()
gc.freeze()  # else every collection goes through the libraries, in pages that each process must copy for it
