"""The LightningDataModule that every data set shares: from an index and a split to batches on the device."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypedDict

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bloodcell.common.errors import InputError
from bloodcell.data.batches import Batch, Chosen, EpochSampler, Rows, Share, as_they_are
from bloodcell.data.cache import mapped
from bloodcell.data.crops.cut import Centre, Crop
from bloodcell.data.external import with_classes_of
from bloodcell.data.index import Index, IntArray
from bloodcell.data.lineage_table import Lineage
from bloodcell.data.masks import Mask
from bloodcell.data.pixels import Decoder, faint_pictures
from bloodcell.data.ranges import check_data
from bloodcell.data.scaling import Scaling
from bloodcell.data.splits import Split, all_test, fewer_training_groups, fewer_training_images
from bloodcell.data.transforms import RandomView

# Share of a device's free memory that pixels may take; the rest is for the net and its activations.
ROOM = 0.5

Rule = tuple[str, object, bool, str]  # key, value, whether it is good, and what is expected


class Shared(TypedDict, total=False):
    """The arguments that all sources share (``conf/data/_common.yaml``); see :class:`CellImages`."""

    view: Literal["field", "crop"]
    crop: Centre
    crop_side: int
    image_size: Sequence[int]
    batch_size: int
    cache: Literal["disk", "ram", "none"]
    augment: dict[str, Any] | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    num_classes: int | None
    train_images: int | None
    train_share: float | None
    split_seed: int
    seed: int


class CellImages(L.LightningDataModule, ABC):
    """Images of cells, decoded once, gathered and augmented per sample on the device that trains.

    A data set is a subclass in ``bloodcell/data/sources`` with one method, :meth:`find`.

    Args:
        view: Whether a net sees the whole ``field`` or a ``crop`` of its white cell.
        crop: The cell that a crop is cut around: the one that the finder has ``found``, or the ``annotated`` one.
        crop_side: Side of a crop, in pixels of a field whose shorter side is 480.
        image_size: Height and width in pixels that every image is resized to.
        batch_size: Images in a batch, over all processes if several train together.
        cache: Where decoded pixels are kept: in a file that all processes share (``disk``), in the memory of each
            (``ram``), or not at all (``none``: every epoch decodes every image again).
        augment: Arguments of :class:`bloodcell.data.transforms.RandomView`, or ``None`` for none.
        mean: Per-channel mean to subtract from the [0, 1] values, or ``None``.
        std: Per-channel standard deviation to divide by, or ``None``.
        num_classes: Number of classes that the user expects; ``None`` for any.
        train_images: Number of training images to keep, a stratified sample; ``None`` for all.
        train_share: Share of the training groups to learn from, above 0; ``None`` for all.
        split_seed: Seeds the cuts that no file settles, and nothing else.
        seed: Seeds the order and the augmentation.

    Attributes:
        source: Name of the data set wherever a result is read.
        synthetic: Whether the images are rendered.
        groups_complete: Whether images of different groups are known to share nothing.
        field_side: Shorter side of images whose frames differ although their scale does not; ``None`` for others.
        mask: Part of every image to hide, for controls; ``None`` for none.
        fold_seed: Seeds the folds of protocol ``grouped``.
        trained_on: Classes of the net that tests an external set; ``None`` for the set's own.
        index: One row per image; known after :meth:`look_up`.
        split: Rows to train, validate and test on; known after :meth:`look_up`.

    Raises:
        InputError: If an argument makes no sense; from ``setup``, if anything about the data is not as expected.
    """

    source: ClassVar[str]
    synthetic: ClassVar[bool] = False
    groups_complete: ClassVar[bool] = True
    field_side: ClassVar[int | None] = None
    mask: Mask | None = None
    fold_seed: int = 0
    trained_on: Sequence[str] | None = None

    def __init__(
        self,
        *,
        view: Literal["field", "crop"] = "field",
        crop: Centre = "found",
        crop_side: int = 280,
        image_size: Sequence[int] = (128, 128),
        batch_size: int = 32,
        cache: Literal["disk", "ram", "none"] = "disk",
        augment: dict[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        num_classes: int | None = None,
        train_images: int | None = None,
        train_share: float | None = None,
        split_seed: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.image_size, self.batch_size, self.cache = image_size, batch_size, cache
        self.num_classes, self.train_images, self.train_share = num_classes, train_images, train_share
        self.split_seed, self.seed = split_seed, seed
        self.crop = Crop(crop, crop_side, self.field_side) if view == "crop" else None
        self.augmentation = RandomView(**augment) if augment else None
        self.scale = Scaling(mean, std)
        self.index: Index
        self.split: Split
        self._pixels: Tensor | Decoder | None = None
        given = {"image_size": image_size, "batch_size": batch_size, "cache": cache, "num_classes": num_classes}
        given |= {"view": view, "crop": crop, "crop_side": crop_side}
        check_data("", {**given, "train_images": train_images, "train_share": train_share, "split_seed": split_seed})

    @abstractmethod
    def find(self, others: list[str] | None = None) -> tuple[Index, Split]:
        """Find, index and split the images without looking into them.

        Args:
            others: Takes the files of a folder that are no images; ``None`` to stop at the first.
        """

    @property
    def lineage(self) -> Lineage | None:
        """The table that ties a published set to its photographs; ``None`` for other sets."""
        return None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names as their folders are called, in the order of the labels."""
        return self.index.classes

    def setup(self, stage: str | None = None) -> None:
        """Find, index, split and decode the images; does nothing the second time."""
        if self._pixels is not None:
            return
        self.look_up()
        height, width = self.image_size
        decoder = Decoder(self.index, (height, width), self.mask, workers=os.cpu_count() or 1, crop=self.crop)
        match self.cache:
            case "disk":
                self._pixels = mapped(decoder)
            case "ram":
                self._pixels = decoder.all()
            case "none":
                self._pixels = decoder
        faint = faint_pictures(self._pixels, self.index)
        self.split = replace(self.split, caveat="; ".join(filter(None, [self.split.caveat, faint])))
        self._labels = torch.from_numpy(self.index.label)

    def look_up(self, others: list[str] | None = None) -> None:
        """Set ``index`` and ``split`` without looking into the images.

        Args:
            others: As of :meth:`find`.

        Raises:
            InputError: If there is nothing to train on, or another number of classes than expected.
        """
        self.index, self.split = self.find(others)
        if self.trained_on is not None and self.split.protocol == "all_test":
            self.index, said = with_classes_of(self.index, self.trained_on)
            self.split = replace(all_test(self.index), caveat=said)
        if self.crop and self.crop.centre == "annotated" and np.isnan(self.index.cell).all():
            raise InputError(
                "data.crop=annotated",
                expected="the places of cells",
                got="none for these images",
                fix="data.crop=found",
            )
        if self.train_share is not None:
            self.split = fewer_training_groups(self.index, self.split, self.train_share, self.split_seed)
        if self.train_images is not None:
            self.split = fewer_training_images(self.index, self.split, self.train_images, self.split_seed)
        if not len(self.split.train) and self.split.protocol != "all_test":
            raise InputError(
                f"data.root={self.index.root}",
                expected="training images",
                got="none",
                fix="add a folder train, or give the class folders alone",
            )
        if len(self.classes) == 1 and self.split.protocol != "all_test":
            raise InputError(
                f"data.root={self.index.root}",
                expected="two or more class folders",
                got=f"one ({self.classes[0]})",
                fix="if the classes are folders below or beside it, give data.root one folder lower or higher",
            )
        if self.num_classes not in (None, len(self.classes)):
            raise InputError(
                f"data.num_classes={self.num_classes}",
                expected=f"{self.num_classes} class folders",
                got=f"{len(self.classes)} in {self.index.root} ({', '.join(self.classes)})",
                fix="check data.root, or set data.num_classes=null for any number",
            )

    def train_dataloader(self) -> DataLoader[Chosen]:
        """Return shuffled batches of row numbers; a last incomplete batch is kept, as in Keras."""
        return self._shared(self.split.train, EpochSampler(len(self.split.train), self.seed))

    def val_dataloader(self) -> DataLoader[Chosen]:
        """Return batches of the validation rows in the order of the index."""
        return self._shared(self.split.val)

    def test_dataloader(self) -> DataLoader[Chosen]:
        """Return batches of the test rows in the order of the index."""
        return self._shared(self.split.test)

    def batches(self, rows: IntArray, device: torch.device) -> Iterator[Batch]:
        """Yield any rows of the index as a net sees them in evaluation, in batches on a device."""
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
        if training and self.augmentation is not None:
            self.augmentation.seed(self.seed, epoch, chosen.first)
            images = self.augmentation(images)
        images = self.scale(images).contiguous(memory_format=torch.channels_last)
        return Batch(images, self._labels[chosen.rows], chosen.rows)

    def gather(self, rows: Tensor) -> Tensor:
        """Gather the pixels of some rows, uint8, shape (N, 3, H, W), on the device of the row numbers."""
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
        """Load batches for the trainer: whole ones if it is one process, else the share of this process."""
        if self.trainer is None or self.trainer.world_size == 1:
            return self._loader(rows, batch_size=self.batch_size, sampler=sampler)
        order = range(len(rows)) if sampler is None else sampler
        share = Share(order, self.batch_size, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(rows, batch_sampler=share)

    def _loader(self, rows: IntArray, **how: Any) -> DataLoader[Chosen]:
        # A generator of its own: a loader draws a seed whenever it is iterated over, and from the global
        # generator that would shift what dropout draws in the first epoch after a resumption.
        own = torch.Generator()
        return DataLoader(Rows(torch.from_numpy(rows)), collate_fn=as_they_are, generator=own, **how)


def _free_memory(device: torch.device) -> int:
    """Count the free bytes of a device; without limit where this is not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else sys.maxsize
