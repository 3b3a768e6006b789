"""Batches: which rows of the index are drawn when, alone or by several processes that train together."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler


class Batch(NamedTuple):
    """Images (N, 3, H, W), labels (N,) int64, and the rows (N,) of the index that they come from."""

    images: Tensor
    labels: Tensor
    rows: Tensor


class Chosen(NamedTuple):
    """What a loader hands out: rows (N,) int64 of the index, and the first of them as a number."""

    rows: Tensor
    first: int


class Rows(Dataset[Chosen]):
    """Rows of the index to draw from; the pixels are gathered on the device that needs them."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> Chosen:
        return self.__getitems__([item])

    def __getitems__(self, items: list[int]) -> Chosen:
        """Return a batch; DataLoader calls this with all its row numbers."""
        rows = self.rows[items]
        return Chosen(rows, int(rows[0]))


class EpochSampler(Sampler[int]):
    """A permutation that depends on the seed and the epoch alone, so a resumed run sees the same one."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(torch.randperm(self.length, generator=generator).tolist())


class Share(Sampler[list[int]]):
    """The share of one process in every batch: all see the same batches, and of N processes each takes every Nth image.

    So all of them take the same number of steps, none waits for one that has finished, and no image is counted twice.
    A last batch with fewer images than processes would leave one of them without: it joins the batch before it.

    Args:
        sampler: The order of the images, the same in every process.
        batch_size: Images in a batch, over all processes.
        rank: Rank of this process, from 0.
        world: How many there are; at most ``batch_size``, and at most as many as there are images.
    """

    def __init__(self, sampler: EpochSampler | range, batch_size: int, rank: int, world: int) -> None:
        self.sampler, self.batch_size, self.rank, self.world = sampler, batch_size, rank, world

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest >= self.world)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        starts = [self.batch_size * number for number in range(len(self))]
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            yield order[start:end][self.rank :: self.world]


def as_they_are(batch: Any) -> Any:
    """Collate a batch that is one already."""
    return batch
