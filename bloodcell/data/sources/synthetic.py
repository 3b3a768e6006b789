"""Rendered smears: not real cells."""

import os
from pathlib import Path
from typing import Unpack

from bloodcell.common.env import cache_dir
from bloodcell.data.datamodule import CellImages, Shared
from bloodcell.data.index import Index, index_folders
from bloodcell.data.ranges import check_data
from bloodcell.data.splits import Split, folder_split
from bloodcell.data.synthetic import VERSION, write_smears

SYNTHETIC = "SYNTHETIC smears, not real cells"


class Smears(CellImages):
    """Synthetic smears, rendered into the cache once; each image is a photograph of its own.

    Args:
        root: Folder with ``train``, ``val`` and ``test`` of rendered smears; ``None`` to render them into the cache.
        synthetic_per_class: Images of each class to render for each subset.
        **shared: See :class:`CellImages`.
    """

    source = SYNTHETIC
    synthetic = True

    def __init__(
        self, root: str | None = None, synthetic_per_class: dict[str, int] | None = None, **shared: Unpack[Shared]
    ) -> None:
        super().__init__(**shared)
        self.root = root
        self.synthetic_per_class = synthetic_per_class or {"train": 240, "val": 40, "test": 60}
        check_data("Smears", {"synthetic_per_class": self.synthetic_per_class})

    def find(self, others: list[str] | None = None) -> tuple[Index, Split]:
        """Render the smears unless they are there, and follow their folders."""
        root = Path(self.root) if self.root else self._render()
        index = index_folders(root, ["train", "val", "test"], independent=True, others=others)
        return index, folder_split(index, self.split_seed)

    def _render(self) -> Path:
        counts = "-".join(f"{name}{number}" for name, number in self.synthetic_per_class.items())
        root = cache_dir() / f"synthetic-v{VERSION}-{counts}-seed{self.split_seed}"
        if not root.is_dir():
            write_smears(root, self.synthetic_per_class, seed=self.split_seed, workers=os.cpu_count() or 1)
        return root
