"""This project's step in a bare loop: the same batches, net and optimizer, but no Trainer, metrics or logging."""

from pathlib import Path

import torch
import torch.nn.functional as F

from bloodcell.data.batches import EpochSampler
from bloodcell.data.sources.folder import Folder
from bloodcell.model.nets import paper_cnn
from bloodcell.model.rewrites import faster
from bloodcell.studies.bench.work import (
    BATCH,
    DENSE,
    LEARNING_RATE,
    MEAN,
    ROTATION,
    SHIFT,
    SIZE,
    STD,
    WIDTHS,
    ZOOM,
    run_row,
    timed,
)
from bloodcell.training.machine import keep_freed_memory


def epochs(root: Path, count: int, bf16: bool) -> tuple[int, list[float]]:
    """Train; return the number of training images, and the seconds of each epoch."""
    keep_freed_memory()
    data = Folder(
        str(root),
        image_size=SIZE,
        batch_size=BATCH,
        augment={"rotation": ROTATION, "zoom": ZOOM, "shift": SHIFT, "flip": True},
        mean=[MEAN] * 3,
        std=[STD] * 3,
    )
    data.setup()
    net = paper_cnn(len(data.classes), SIZE, WIDTHS, DENSE).to(memory_format=torch.channels_last)
    fast = faster(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    loader = data.train_dataloader()
    assert isinstance(loader.sampler, EpochSampler)
    sampler = loader.sampler

    def epoch(number: int) -> None:
        sampler.set_epoch(number)
        for chosen in loader:
            batch = data.prepare(chosen, epoch=number, training=True)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = fast(batch.images)
            loss = F.cross_entropy(logits.float(), batch.labels)
            torch.autograd.backward(loss)
            optimizer.step()

    return len(data.split.train), timed(count, epoch)


if __name__ == "__main__":
    run_row(__doc__, epochs)
