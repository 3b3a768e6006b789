"""The LightningDataModule: from a folder of images to batches."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError
from bloodcell.data.batches import Batch, Chosen, EpochSampler, Rows, Share, _as_is
from bloodcell.data.cache import mapped
from bloodcell.data.download import fetch
from bloodcell.data.groups import with_groups
from bloodcell.data.index import Index, IntArray, index_folders
from bloodcell.data.kaggle import find_images, locate
from bloodcell.data.lineage_table import SHIPPED, read_lineage
from bloodcell.data.masks import Mask, located
from bloodcell.data.pixels import Decoder
from bloodcell.data.sources.blood_cells import index_blood_cells
from bloodcell.data.splits import (
    PAPER_TEST_PER_CLASS,
    Split,
    all_test,
    fewer_training_images,
    folder_split,
    grouped_split,
    official_split,
    random_split,
)
from bloodcell.data.transforms import RandomView, scaling

# What each source can be split by.
PROTOCOLS: dict[str, tuple[str | None, ...]] = {
    "blood_cells": ("random", "official", "official_strict", "grouped"),
    "folder": (None, "grouped", "all_test"),
    "synthetic": (None, "random", "official", "official_strict", "grouped"),  # not used: the folders say
}


# Share of a device's free memory that pixels may take; the rest is for the net and its activations.
ROOM = 0.5


class BloodCells(L.LightningDataModule):
    """White blood cells from an ImageFolder tree, decoded once, gathered and augmented per sample on the device.

    ``source="blood_cells"`` reads the Kaggle set paultimothymooney/blood-cells as it comes; ``root`` may be
    any of the folders down to ``images``::

        blood-cells/
          dataset-master/dataset-master/            the 640x480 micrographs, boxes, labels.csv
          dataset2-master/dataset2-master/images/   320x240 copies of them, rotated, shifted, sheared, flipped
            TRAIN/{EOSINOPHIL,LYMPHOCYTE,MONOCYTE,NEUTROPHIL}/*.jpeg     9,957
            TEST/{...}/*.jpeg                                            2,487
            TEST_SIMPLE/{...}/*.jpeg                                     71, not used for training

    ``source="folder"`` reads any ImageFolder tree, with or without ``train/``, ``val/``, ``test/``::

        root/[train|val|test/]CLASS/*.{jpg,png,...}

    ``source="synthetic"`` renders smears into the cache and reads them as a folder: not real cells.

    Args:
        source: Which of the three.
        root: Where the images are; for ``blood_cells`` ``None`` means ``BLOODCELL_DATA``, then the cache.
        protocol: For ``blood_cells`` ``random`` (the paper's), ``official`` (TRAIN to TEST), ``official_strict``
            (TRAIN without the groups that touch TEST) or ``grouped`` (one fold of a cross-validation by field
            group); for ``folder`` ``None`` (follow the folders), ``grouped`` or ``all_test``.
        folds: Folds of ``grouped``.
        fold: Which of them to test on, 0 to folds - 1.
        fold_seed: Seeds the folds and nothing else.
        train_view: Whether ``grouped`` learns from the copies (``twin``) or from the ``original`` micrographs.
        train_images: Keep a stratified sample of so many training images; ``None`` for all.
        cache: Where decoded pixels are kept: in a file that all processes share (``disk``), in the memory of each
            (``ram``), or not at all (``none``: every epoch decodes every image again).
        mask: Hide the white cells (``background``), or everything but where they are (``geometry``): controls.
        lineage: Folder with lineage tables of another copy of the set; ``None`` for the shipped ones.
        group_pattern: For ``folder``: a regular expression whose first bracket, searched in the file's path,
            is the group (patient, slide). A file ``groups.csv`` (file, group) in the root does the same.
        split_seed: Seeds the cuts of the other protocols and nothing else.
        test_per_class: Test images of each class under ``random``.
        or_synthetic: Render smears where the real set can neither be found nor downloaded. Only the
            quick start sets it; experiments on real data stop instead.
        download_timeout: Seconds to wait for the server when ``or_synthetic`` is set.
        synthetic_per_class: Images of each class to render for each subset.
        image_size: Height and width in pixels that every image is resized to.
        batch_size: Images in a batch, over all processes if several train together.
        augment: Arguments of :class:`bloodcell.data.transforms.RandomView`, or ``None`` for none.
        mean: Per-channel mean to subtract from the [0, 1] values, or ``None``.
        std: Per-channel standard deviation to divide by, or ``None``.
        num_classes: What the user expects the number of classes to be; ``None`` for any.
        seed: Seeds the order and the augmentation.

    Raises:
        InputError: From ``setup``, if anything about the data is not as expected.
    """

    def __init__(
        self,
        source: Literal["blood_cells", "folder", "synthetic"],
        root: str | None = None,
        protocol: Literal["random", "official", "official_strict", "grouped", "all_test"] | None = None,
        folds: int = 5,
        fold: int = 0,
        fold_seed: int = 0,
        train_view: Literal["twin", "original"] = "twin",
        train_images: int | None = None,
        cache: Literal["disk", "ram", "none"] = "disk",
        mask: Mask | None = None,
        lineage: str | None = None,
        group_pattern: str | None = None,
        split_seed: int = 0,
        test_per_class: int = PAPER_TEST_PER_CLASS,
        or_synthetic: bool = False,
        download_timeout: float = 5.0,
        synthetic_per_class: dict[str, int] | None = None,
        image_size: Sequence[int] = (128, 128),
        batch_size: int = 32,
        augment: dict[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        num_classes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source, self.root, self.protocol = source, root, protocol
        self.split_seed, self.test_per_class = split_seed, test_per_class
        self.folds, self.fold, self.fold_seed, self.train_view = folds, fold, fold_seed, train_view
        self.train_images, self.mask, self.group_pattern = train_images, mask, group_pattern
        self.tables = Path(lineage) if lineage else SHIPPED
        self.or_synthetic, self.download_timeout = or_synthetic, download_timeout
        self.synthetic_per_class = synthetic_per_class or {"train": 240, "val": 40, "test": 60}
        self.image_size, self.batch_size, self.num_classes = image_size, batch_size, num_classes
        self.seed, self.cache = seed, cache
        self.view = RandomView(**augment) if augment else None
        self.scale = scaling(mean, std)
        self.index: Index
        self.split: Split
        self._pixels: Tensor | Decoder | None = None
        self._check_arguments()

    @property
    def synthetic(self) -> bool:
        """Whether the images are rendered; known after ``setup``."""
        return self.source == "synthetic"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names as their folders are called, in the order of the labels."""
        return self.index.classes

    def setup(self, stage: str | None = None) -> None:
        """Find, index, split and decode the images; does nothing the second time."""
        if self._pixels is not None:
            return
        self.find()
        height, width = self.image_size
        decoder = Decoder(self.index, (height, width), self.mask, workers=os.cpu_count() or 1)
        match self.cache:
            case "disk":
                self._pixels = mapped(decoder)
            case "ram":
                self._pixels = decoder.all()
            case "none":
                self._pixels = decoder
        self._labels = torch.from_numpy(self.index.label)

    def find(self, others: list[str] | None = None) -> None:
        """Find, index and split the images without looking into them.

        Args:
            others: Takes the files of a folder that are no images; ``None`` to stop at the first.
        """
        self.index, self.split = self._index_and_split(others)
        if self.train_images is not None:
            self.split = fewer_training_images(self.index, self.split, self.train_images, self.split_seed)
        if self.mask is not None:
            rows = self.split
            self.split = replace(
                rows,
                train=located(self.index, rows.train),
                val=located(self.index, rows.val),
                test=located(self.index, rows.test),
                test_beside=located(self.index, rows.test_beside),
                calibration=located(self.index, rows.calibration),
            )
        if not len(self.split.train) and self.split.protocol != "all_test":
            hidden = f" with data.mask={self.mask}: no place of a cell is known" if self.mask else ""
            raise InputError(
                f"data.root={self.index.root}",
                expected="training images",
                got=f"none{hidden}",
                fix="see `make lineage`" if self.mask else "add a folder train, or give the class folders alone",
            )
        if self.num_classes not in (None, len(self.classes)):
            raise InputError(
                f"data.num_classes={self.num_classes}",
                expected=f"{self.num_classes} class folders",
                got=f"{len(self.classes)} in {self.index.root} ({', '.join(self.classes)})",
                fix="check data.root, or set data.num_classes=null for any number",
            )

    def train_dataloader(self) -> DataLoader[Chosen]:
        """Shuffled batches of row numbers; a last incomplete batch is kept, as Keras does."""
        return self._shared(self.split.train, EpochSampler(len(self.split.train), self.seed))

    def val_dataloader(self) -> DataLoader[Chosen]:
        """Batches of the validation rows in the order of the index."""
        return self._shared(self.split.val)

    def test_dataloader(self) -> DataLoader[Chosen]:
        """Batches of the test rows in the order of the index."""
        return self._shared(self.split.test)

    def batches(self, rows: IntArray, device: torch.device) -> Iterator[Batch]:
        """Any rows of the index as a net sees them in evaluation, in batches on a device."""
        for chosen in self._loader(rows, batch_size=self.batch_size):
            yield self.prepare(chosen._replace(rows=chosen.rows.to(device)), epoch=0, training=False)

    def on_after_batch_transfer(self, batch: Chosen, dataloader_idx: int) -> Batch:
        """Gather, augment (in training only) and scale a batch on the device that its row numbers were moved to."""
        training = self.trainer is not None and bool(self.trainer.training)
        return self.prepare(batch, epoch=self.trainer.current_epoch if self.trainer else 0, training=training)

    def prepare(self, chosen: Chosen, *, epoch: int, training: bool) -> Batch:
        """Turn row numbers into the images that a net sees.

        Args:
            chosen: Row numbers, on the device that the images are wanted on.
            epoch: Epoch; with the seed and the first row it settles the draws of the augmentation.
            training: Whether to augment.

        Returns:
            Images, float32, in the memory layout that convolutions are fastest with; labels; rows.
        """
        images = self.gather(chosen.rows).float().div_(255)
        if training and self.view is not None:
            self.view.seed(self.seed, epoch, chosen.first)
            images = self.view(images)
        images = self.scale(images).contiguous(memory_format=torch.channels_last)
        return Batch(images, self._labels[chosen.rows], chosen.rows)

    def gather(self, rows: Tensor) -> Tensor:
        """Pixels of some rows, uint8, shape (N, 3, H, W), on the device of the row numbers."""
        assert self._pixels is not None
        if rows.device != self._labels.device:
            self._move(rows.device)
        if isinstance(self._pixels, Tensor) and self._pixels.device == rows.device:
            return self._pixels[rows]
        return self._pixels[rows.cpu()].to(rows.device)

    def _move(self, device: torch.device) -> None:
        """Put what batches are gathered from onto a device: the labels, and the pixels if it has room for them."""
        self._labels = self._labels.to(device)
        if isinstance(self._pixels, Tensor) and self._pixels.nbytes < ROOM * _free_memory(device):
            self._pixels = self._pixels.to(device)

    def _shared(self, rows: IntArray, sampler: EpochSampler | None = None) -> DataLoader[Chosen]:
        """Batches for the trainer: whole ones if it is one process, else this process's share of them."""
        if self.trainer is None or self.trainer.world_size == 1:
            return self._loader(rows, batch_size=self.batch_size, sampler=sampler)
        order = range(len(rows)) if sampler is None else sampler
        share = Share(order, self.batch_size, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(rows, batch_sampler=share)

    def _loader(self, rows: IntArray, **how: Any) -> DataLoader[Chosen]:
        # A generator of its own: a loader draws a seed whenever it is iterated over, and from the global
        # generator that would shift what dropout draws in the first epoch after a resumption.
        own = torch.Generator()
        return DataLoader(Rows(torch.from_numpy(rows)), collate_fn=_as_is, generator=own, **how)

    def _index_and_split(self, others: list[str] | None) -> tuple[Index, Split]:
        if self.source == "blood_cells":
            images = self._find_real()
            if images is not None:
                index = index_blood_cells(images, read_lineage(self.tables))
                return index, self._split(index)
            self.source, self.root = "synthetic", None
        if self.source == "synthetic":
            root = Path(self.root) if self.root else self._render()
            index = index_folders(root, ["train", "val", "test"], independent=True)
            return index, folder_split(index, self.split_seed)
        root = Path(self.root or "")
        subsets = [name for name in ("train", "val", "test") if (root / name).is_dir()]
        table = root / "groups.csv"
        index = with_groups(
            index_folders(root, subsets or [""], others=others), table if table.is_file() else None, self.group_pattern
        )
        return index, self._split(index)

    def _split(self, index: Index) -> Split:
        match self.protocol:
            case "random":
                return random_split(index, self.split_seed, self.test_per_class)
            case "official" | "official_strict":
                return official_split(index, self.split_seed, strict=self.protocol == "official_strict")
            case "grouped":
                return grouped_split(index, self.folds, self.fold, self.fold_seed, self.train_view)
            case "all_test":
                return all_test(index)
            case _:
                return folder_split(index, self.split_seed)

    def _find_real(self) -> Path | None:
        """The real images; ``None`` if they cannot be had and synthetic ones are allowed instead."""
        root = locate(self.root)
        if root is None and self.or_synthetic:
            try:
                root = fetch(None, self.download_timeout)
            except InputError as error:
                print(f"no real images: {error}")
                return None
        if root is None:
            raise InputError(
                "data=blood_cells",
                expected="the Kaggle set paultimothymooney/blood-cells at data.root, BLOODCELL_DATA or in the cache",
                got="none of them",
                fix="type `make data` to download it, or set BLOODCELL_DATA=/path/to/blood-cells",
            )
        return find_images(root)

    def _render(self) -> Path:
        from bloodcell.data.synthetic import VERSION, write_smears

        counts = "-".join(f"{name}{number}" for name, number in self.synthetic_per_class.items())
        root = cache_dir() / f"synthetic-v{VERSION}-{counts}-seed{self.split_seed}"
        if not root.is_dir():
            write_smears(root, self.synthetic_per_class, seed=self.split_seed, workers=os.cpu_count() or 1)
        return root

    def _check_arguments(self) -> None:
        rules: list[tuple[str, object, bool, str]] = [
            (
                "source",
                self.source,
                self.source in {"blood_cells", "folder", "synthetic"},
                "one of the sources",
            ),
            (
                "protocol",
                self.protocol,
                self.protocol in PROTOCOLS.get(self.source, (None,)),
                " or ".join(name or "null" for name in PROTOCOLS.get(self.source, (None,))),
            ),
            ("split_seed", self.split_seed, _seed(self.split_seed), "a whole number from 0"),
            ("fold_seed", self.fold_seed, _seed(self.fold_seed), "a whole number from 0"),
            (
                "train_images",
                self.train_images,
                self.train_images is None or _whole(self.train_images),
                "null or a number of images",
            ),
            (
                "group_pattern",
                self.group_pattern,
                self.group_pattern is None or isinstance(self.group_pattern, str),
                "null or a regular expression",
            ),
            ("folds", self.folds, _whole(self.folds) and self.folds > 1, "a whole number from 2"),
            ("train_view", self.train_view, self.train_view in {"twin", "original"}, "twin or original"),
            ("cache", self.cache, self.cache in {"disk", "ram", "none"}, "disk, ram or none"),
            ("mask", self.mask, self.mask in {None, "background", "geometry"}, "null, background or geometry"),
            ("root", self.root, self.source != "folder" or bool(self.root), "the path of a folder of images"),
            ("batch_size", self.batch_size, _whole(self.batch_size), "a positive whole number"),
            (
                "image_size",
                self.image_size,
                isinstance(self.image_size, list | tuple)
                and len(self.image_size) == 2
                and all(_whole(side) for side in self.image_size),
                "height and width in pixels",
            ),
        ]
        for key, value, good, expected in rules:
            if not good:
                raise InputError(f"data.{key}", expected=expected, got=repr(value), fix=f"set data.{key}=...")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def _free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; all that one may ask for where this cannot be told."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else sys.maxsize
