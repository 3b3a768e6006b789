"""What a trained net says of another laboratory's cells, with none, some or many of these to look at before."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bloodcell.evidence.calibration import fit_temperature
from bloodcell.evidence.intervals import Floats, Ints
from bloodcell.studies.transfer.cutouts import CutSet
from bloodcell.studies.transfer.sets import FOLDS
from bloodcell.tracking.predictions import Predictions

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from bloodcell.training.trained import TrainedNet

# What is looked at of the target before, always in four folds of five: nothing; cells without their labels; and with.
NOTHING, UNLABELLED = "nothing", "cells without labels"
LABELLED = (5, 20, 100)
# Labelled cells of a class that a temperature is fitted on where the arm itself has none.
FOR_TEMPERATURE = 20
# Inverse penalty of the linear head, on standardised features.
PENALTY = 0.01
BATCH = 128
# A cell has no upper side: answers and features are means over these mirrored views.
VIEWS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
# Nothing that a table keeps six digits of is smaller.
LEAST = 1e-6


class Answer(NamedTuple):
    """What one net says of all cells of a target.

    Attributes:
        looked_at: What of the target was looked at before.
        predictions: A row a cell; the ``view`` is the fold that it was tested in, as ``fold 0``.
        temperatures: Of each fold: makes its probabilities calibrated, by labelled cells of the other folds.
        labelled: The fewest labelled cells of each class, over the folds; fewer than asked for where there are no more.
    """

    looked_at: str
    predictions: Predictions
    temperatures: tuple[float, ...]
    labelled: Mapping[str, int]


def labelled(number: int) -> str:
    """Name the arm with some labelled cells a class."""
    return f"{number} labelled cells a class"


def answers_of(run: Path, target: CutSet, seed: int) -> Iterator[Answer]:
    """Ask the net of a run about a target, in every way.

    Args:
        run: A run directory that has the crops of the target among its images.
        target: The set that its cells belong to.
        seed: Settles which cells are labelled.
    """
    from bloodcell.training.publish import opened_with_data

    trained, data = opened_with_data(run)
    row_of = {file: row for row, file in enumerate(data.index.file.tolist())}
    import torch

    pixels = data.gather(torch.tensor([row_of[file] for file in target.crop.tolist()]))
    yield from _answers(trained, pixels, target, seed)


def _answers(trained: "TrainedNet", pixels: "Tensor", target: CutSet, seed: int) -> Iterator[Answer]:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, images = trained.net.to(device), trained.images(pixels)
    plain, _ = _outputs(net, images, device)
    label, names = target.label, target.classes
    said = {looked_at: np.zeros_like(plain) for looked_at in (NOTHING, UNLABELLED, *map(labelled, LABELLED))}
    temperatures: dict[str, list[float]] = {looked_at: [] for looked_at in said}
    had = {looked_at: np.full(len(names), len(label)) for looked_at in said}
    for fold in range(FOLDS):
        others, own = np.flatnonzero(target.fold != fold), np.flatnonzero(target.fold == fold)
        adapted = adapted_to(net, images[torch.from_numpy(others)], device)
        probabilities, features = _outputs(adapted, images, device)
        features = (features - features[others].mean(axis=0)) / (features[others].std(axis=0) + LEAST)
        rng = np.random.default_rng([seed, fold])
        order = rng.permutation(others)
        some = _first(order, label, FOR_TEMPERATURE)
        for looked_at, all_of_them in ((NOTHING, plain), (UNLABELLED, probabilities)):
            said[looked_at][own] = all_of_them[own]
            temperatures[looked_at].append(fit_temperature(label[some], all_of_them[some]))
            had[looked_at] = np.zeros(len(names), dtype=np.int64)
        for number in LABELLED:
            known = _first(order, label, number)
            answers, temperature = _by_head(features, label, known, own, len(names))
            said[labelled(number)][own] = answers
            temperatures[labelled(number)].append(temperature)
            counts = np.bincount(label[known], minlength=len(names))
            had[labelled(number)] = np.minimum(had[labelled(number)], counts)
    for looked_at, answers in said.items():
        fewest = dict(zip(names, had[looked_at].tolist(), strict=True))
        yield Answer(looked_at, _table(target, answers), tuple(temperatures[looked_at]), fewest)


def adapted_to(net: "nn.Module", images: "Tensor", device: "torch.device") -> "nn.Module":
    """Copy a net, with the statistics of its batch normalisations counted anew on some images.

    No label and no weight has a part in it (Li et al. 2018, adaptive batch normalisation). A net without batch
    normalisation comes back as it was.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    copy = deepcopy(net).eval()
    counted = [module for module in copy.modules() if isinstance(module, _BatchNorm)]
    for module in counted:
        module.reset_running_stats()
        module.momentum = None  # a plain mean over the batches
        module.train()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    # Batches of about one size: a last one of a few images would weigh as much as a full one.
    with torch.inference_mode():
        for part in order.tensor_split(-(-len(order) // BATCH)) if counted else ():
            copy(images[part].to(device))
    return copy.eval()


def _outputs(net: "nn.Module", images: "Tensor", device: "torch.device") -> tuple[Floats, Floats]:
    """Probabilities and features of images, over mirrored views."""
    import torch

    from bloodcell.model.features import logits_and_features

    with torch.inference_mode():
        found = []
        for part in torch.split(images, BATCH):
            views = [logits_and_features(net, part.to(device).flip(sides)) for sides in VIEWS]
            shares, features = (torch.stack(each).float().cpu() for each in zip(*views, strict=True))
            found.append((shares.double().softmax(dim=2).mean(dim=0), features.double().mean(dim=0)))
    probabilities, points = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return probabilities, points


def _first(order: Ints, label: Ints, number: int) -> Ints:
    """The first cells of each class in some order."""
    return np.concatenate([order[label[order] == k][:number] for k in np.unique(label)])


def _by_head(features: Floats, label: Ints, known: Ints, own: Ints, classes: int) -> tuple[Floats, float]:
    """Answer by a linear head on features, fitted on known cells; and a temperature by cross-validation among these."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    head = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=3000)
    answers: Floats = head.fit(features[known], label[known]).predict_proba(features[own])
    parts = min(5, int(np.bincount(label[known], minlength=classes).min()))
    if parts < 2:
        return answers, 1.0
    cut = StratifiedKFold(parts, shuffle=True, random_state=0)
    inner = cross_val_predict(head, features[known], label[known], cv=cut, method="predict_proba")
    return answers, fit_temperature(label[known], inner)


def _table(target: CutSet, probabilities: Floats) -> Predictions:
    shares = probabilities.clip(LEAST, 1)
    return Predictions(
        classes=target.classes,
        file=target.file,
        view=np.char.add("fold ", target.fold.astype(np.str_)),
        photograph=target.photograph,
        group=target.group,
        correct=target.label,
        predicted=probabilities.argmax(axis=1),
        probabilities=shares / shares.sum(axis=1, keepdims=True),
    )
