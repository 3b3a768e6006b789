"""The metrics against scikit-learn and SciPy."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from bloodcell.evidence.calibration import probability_scores
from bloodcell.evidence.intervals import recall_intervals, wilson
from bloodcell.evidence.per_class import class_results
from bloodcell.evidence.scores import score
from bloodcell.model.classifier import class_metrics
from bloodcell.training.artefacts import worst_mistakes


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 203, p=[0.1, 0.2, 0.1, 0.6])
    logits = rng.normal(size=(203, 4)) + 1.5 * np.eye(4)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_batches_add_up_to_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, shares = answers
    said = shares.argmax(axis=1)
    metrics = class_metrics(4)
    for part in np.array_split(np.arange(203), 7):
        metrics.update(torch.tensor(shares[part]), torch.tensor(labels[part]))
    found = metrics.compute()
    assert np.array_equal(found["confusion"], reference.confusion_matrix(labels, said))
    assert found["acc"].item() == pytest.approx(reference.accuracy_score(labels, said))
    assert found["balanced_acc"].item() == pytest.approx(reference.balanced_accuracy_score(labels, said))
    for name in ("precision", "recall", "f1"):
        score = getattr(reference, f"{name}_score")
        assert found[f"macro_{name}"].item() == pytest.approx(score(labels, said, average="macro"), abs=1e-6)
        assert found[name].numpy() == pytest.approx(score(labels, said, average=None), abs=1e-6)


@pytest.mark.parametrize("absent", [[0], [3], [1, 2]])
def test_classes_without_images_are_left_out_of_the_mean(
    answers: tuple[np.ndarray, np.ndarray], absent: list[int]
) -> None:
    """What chooses an epoch is what is reported of it, though classes be predicted of which there is no image."""
    labels, shares = answers
    there = ~np.isin(labels, absent)
    labels, shares = labels[there], shares[there]
    said = shares.argmax(axis=1)
    assert set(said) & set(absent)
    metrics = class_metrics(4)
    metrics.update(torch.tensor(shares), torch.tensor(labels))
    found = metrics.compute()
    mean = reference.recall_score(labels, said, labels=np.unique(labels), average="macro")
    own = np.arange(len(labels)).astype(str)
    reported = score(labels, shares, own, list("abcd")).values["balanced_acc"]
    assert (
        found["balanced_acc"].item() == found["macro_recall"].item() == pytest.approx(mean) == pytest.approx(reported)
    )


def test_table_agrees_with_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, shares = answers
    said, own = shares.argmax(axis=1), np.arange(len(labels)).astype(str)
    rows = class_results(reference.confusion_matrix(labels, said), list("abcd"), recall_intervals(labels, said, own, 4))
    precision, recall, f1, images = reference.precision_recall_fscore_support(labels, said)
    assert [row.precision for row in rows] == pytest.approx(precision)
    assert [row.recall for row in rows] == pytest.approx(recall)
    assert [row.f1 for row in rows] == pytest.approx(f1)
    assert [row.images for row in rows] == list(images)
    for row in rows:
        assert row.interval is not None
        assert row.interval.low < row.recall < row.interval.high
        assert row.interval.groups == row.images


def test_without_groups_there_is_no_interval() -> None:
    rows = class_results(np.array([[3, 1], [0, 0]]), ["a", "b"])
    assert [row.interval for row in rows] == [None, None]
    assert rows[1].recall == 0


def test_wilson_is_wilsons() -> None:
    low, high = wilson(4, 4)
    assert (low, high) == (pytest.approx(0.5101, abs=1e-4), 1.0)
    # 66 of 71, as published: 84.6 to 97.0
    assert wilson(66, 71) == pytest.approx((0.846, 0.970), abs=5e-4)


def test_probability_scores(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, shares = answers
    scores = probability_scores(labels, shares)
    assert scores["log_loss"] == pytest.approx(reference.log_loss(labels, shares))
    one_hot = np.eye(4)[labels]
    brier = sum(reference.brier_score_loss(one_hot[:, k], shares[:, k]) for k in range(4))
    assert scores["brier"] == pytest.approx(brier)
    assert 0 <= scores["ece"] < 0.3


def test_calibration_error_sees_overconfidence() -> None:
    labels = np.array([0, 1] * 50)
    sure = np.tile([1.0, 0.0], (100, 1))
    assert probability_scores(labels, sure)["ece"] == pytest.approx(0.5)
    honest = np.tile([0.5000001, 0.4999999], (100, 1))
    assert probability_scores(labels, honest)["ece"] == pytest.approx(0, abs=1e-5)


def test_mistakes_shown_are_the_worst_and_no_copies_of_each_other() -> None:
    labels = np.array([0, 0, 1, 1, 0])
    first = np.array([0.9, 0.2, 0.85, 0.7, 0.1])
    probabilities = np.stack([first, 1 - first], axis=1)
    assert list(worst_mistakes(labels, probabilities, None)) == [4, 2, 1, 3]
    assert list(worst_mistakes(labels, probabilities, np.array(["a", "b", "c", "c", "b"]))) == [4, 2]
    assert not len(worst_mistakes(labels[:1], probabilities[:1], None))
