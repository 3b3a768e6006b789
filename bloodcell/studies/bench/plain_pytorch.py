"""Plain PyTorch as its tutorials show it: ImageFolder, transforms of each image, DataLoader workers, a loop."""

import os
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

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


def epochs(root: Path, count: int, bf16: bool) -> tuple[int, list[float]]:
    """Train; return the number of training images, and the seconds of each epoch."""
    transform = transforms.Compose(
        [
            transforms.Resize(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomAffine(ROTATION, translate=(SHIFT, SHIFT), scale=(1 - ZOOM, 1 + ZOOM)),
            transforms.ToTensor(),
            transforms.Normalize([MEAN] * 3, [STD] * 3),
        ]
    )
    images = datasets.ImageFolder(str(root / "train"), transform)
    loader = DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=os.cpu_count() or 1)
    one, two, three = WIDTHS
    model = nn.Sequential(
        nn.Conv2d(3, one, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(one, two, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(two, three, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(DENSE),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(DENSE, len(images.classes)),
    )
    model(torch.zeros(1, 3, *SIZE))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def epoch(number: int) -> float:
        total, correct = 0.0, 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                outputs = model(inputs)
                loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            correct += int((outputs.argmax(1) == labels).sum())
        return total / len(loader)

    return len(images), timed(count, epoch)


if __name__ == "__main__":
    run_row(__doc__, epochs)
