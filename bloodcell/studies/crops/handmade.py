"""A baseline that learns no picture: numbers for colour, lobes and granules of a crop, and a linear model of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage

from bloodcell.common.console import progress_bar
from bloodcell.data.crops.finder import NUCLEUS, purple_of
from bloodcell.data.micrographs import Pixels
from bloodcell.tracking.cross_validations import CrossValidation, Repeats, sorted_by_file
from bloodcell.tracking.predictions import Predictions, joined_predictions

if TYPE_CHECKING:
    from bloodcell.data.datamodule import CellImages

Floats = npt.NDArray[np.float64]

REDUCED = 2  # a crop of 280 pixels is looked at in 140
RINGS = ((1, 8), (9, 18))  # how far around the nucleus its cytoplasm is looked for, in reduced pixels
STRENGTHS = [0.003, 0.01, 0.03, 0.1, 0.3]  # of the inverse penalty: chosen by inner folds
INNER_FOLDS = 4


def cell_features(crop: Pixels) -> Floats:
    """Describe the cell in the middle of a crop by numbers.

    Args:
        crop: RGB, uint8, shape (S, S, 3), S 280 at the scale of a photograph.

    Returns:
        For the nucleus and two rings around it, the mean, spread and quantiles of optical densities, their ratios and
        their grain; then size, number of lobes and shape of the nucleus. float64, shape (84,).
    """
    small = np.asarray(Image.fromarray(crop).reduce(REDUCED))
    y, x = np.ogrid[: small.shape[0], : small.shape[1]]
    middle = (np.array(small.shape[:2]) - 1) / 2
    near = np.hypot(y - middle[0], x - middle[1]) < 0.43 * small.shape[0]
    nucleus = ndimage.binary_opening((purple_of(small) > NUCLEUS) & near)
    if nucleus.sum() < 20:
        nucleus = np.hypot(y - middle[0], x - middle[1]) < 20
    background = np.percentile(small.reshape(-1, 3), 90, axis=0)
    density = np.log10(np.maximum(background, 1) / np.maximum(small.astype(np.float64), 1))
    grain = density - ndimage.gaussian_filter(density, (2, 2, 0))
    outside = ndimage.distance_transform_edt(~nucleus)
    regions = [nucleus, *((outside >= first) & (outside <= last) for first, last in RINGS)]
    colours = [_colours(density[region], grain[region]) for region in regions]
    return np.concatenate([*colours, _shape(nucleus)])


def _colours(density: Floats, grain: Floats) -> Floats:
    red, green, blue = density.T
    total = np.maximum(density.sum(axis=1), 0.02)
    ratios = np.stack([red / total, green / total, blue / total], axis=1)
    hue = green - blue
    return np.concatenate(
        [
            density.mean(axis=0),
            density.std(axis=0),
            ratios.mean(axis=0),
            ratios.std(axis=0),
            grain.std(axis=0),
            np.percentile(hue, [5, 25, 50, 75, 95]),
            np.percentile(red - blue, [5, 50, 95]),
            np.percentile(blue, [50, 95]),
        ]
    )


def _shape(nucleus: npt.NDArray[np.bool_]) -> Floats:
    labels, count = ndimage.label(nucleus)
    areas = np.sort(np.bincount(labels.ravel())[1:])[::-1]
    area = float(areas.sum())
    lobes = int((areas > 0.05 * area).sum())
    depth = ndimage.distance_transform_edt(nucleus)
    _, parts = ndimage.label(depth > 0.6 * depth.max())
    edge = float((nucleus & ~ndimage.binary_erosion(nucleus)).sum())
    places = np.argwhere(nucleus)
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(places.T)), 1e-9))
    hull = float(np.prod(np.ptp(places, axis=0) + 1))
    return np.array(
        [
            np.log(area),
            areas[0] / area,
            lobes,
            min(count, 8),
            min(parts, 8),
            depth.max() / np.sqrt(area),
            edge / np.sqrt(area),
            spread[0] / spread[1],
            area / hull,
        ]
    )


def features_out_of_fold(folds: Mapping[int, Sequence["CellImages"]]) -> Repeats:
    """Predict every photograph by a logistic regression that has not seen its field group.

    Each fold's penalty is chosen by an inner cross-validation over its own training groups.

    Args:
        folds: The folds of a cross-validation for each fold seed, looked up, with ``data.view=crop`` and
            ``data.train_view=original``.
    """
    data = next(iter(folds.values()))[0]
    rows = np.flatnonzero(data.index.view == "original")
    features = dict(zip(rows.tolist(), _features_of(data, rows), strict=True))
    return {
        CrossValidation(fold_seed, ""): sorted_by_file(
            joined_predictions([_predicted(data, features) for data in each])
        )
        for fold_seed, each in folds.items()
    }


def _predicted(data: "CellImages", features: Mapping[int, Floats]) -> Predictions:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    index = data.index
    known, test = np.union1d(data.split.train, data.split.val), data.split.test
    model = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=3000)),
        {"logisticregression__C": STRENGTHS},
        scoring="balanced_accuracy",
        cv=StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=0),
    )
    model.fit([features[row] for row in known.tolist()], index.label[known], groups=index.group[known])
    probabilities = model.predict_proba([features[row] for row in test.tolist()])
    texts = (index.file[test], index.view[test], index.micrograph[test], index.group[test], index.label[test])
    return Predictions(index.classes, *texts, probabilities.argmax(axis=1), probabilities)


def _features_of(data: "CellImages", rows: npt.NDArray[np.int64]) -> list[Floats]:
    from bloodcell.data.pixels import Decoder

    assert data.crop is not None
    decoder = Decoder(data.index, (data.crop.side, data.crop.side), None, workers=1, crop=data.crop)
    with progress_bar() as progress:
        return [
            cell_features(decoder[torch.tensor([row])][0].permute(1, 2, 0).numpy())
            for row in progress.track(rows.tolist(), description="colours, lobes and granules")
        ]
