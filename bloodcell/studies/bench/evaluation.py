"""Evaluation alone: the paper's net over the training images in float32, as results are computed."""

import argparse
import json
import time
from pathlib import Path

import torch

from bloodcell.data.sources.folder import Folder
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.nets import paper_cnn
from bloodcell.studies.bench.work import BATCH, DENSE, MEAN, SIZE, STD, WIDTHS
from bloodcell.training.machine import keep_freed_memory


def evaluation_speed(root: Path) -> float:
    """Measure evaluation, in images a second."""
    keep_freed_memory()
    data = Folder(str(root), image_size=SIZE, batch_size=BATCH, mean=[MEAN] * 3, std=[STD] * 3)
    data.setup()
    classifier = CellClassifier(
        paper_cnn(len(data.classes), SIZE, WIDTHS, DENSE), data.classes, torch.optim.Adam
    ).eval()
    with torch.inference_mode():
        begun = time.perf_counter()
        for batch in data.batches(data.split.train, torch.device("cpu")):
            classifier(batch.images)
        return len(data.split.train) / (time.perf_counter() - begun)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    print(json.dumps(evaluation_speed(parser.parse_args().root)))
