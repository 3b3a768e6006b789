"""Intervals, comparisons and calibration against SciPy, scikit-learn, statsmodels and exhaustive enumeration."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from bloodcell.evidence import calibration, comparison, figures, intervals


def answers(seed: int, images: int = 120, classes: int = 3, groups: int = 40) -> tuple[np.ndarray, ...]:
    """Labels, two models' predictions (the first better) and groups that may hold several classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, images, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    models = [np.where(rng.random(images) < share, labels, rng.integers(0, classes, images)) for share in (0.8, 0.5)]
    return labels, *models, rng.permutation([f"g{i % groups}" for i in range(images)])


@pytest.fixture
def spoken() -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the honest probabilities that they were drawn from."""
    rng = np.random.default_rng(2)
    logits = 2 * rng.normal(size=(1500, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.array([rng.choice(4, p=row) for row in shares]), shares


# The first test to need statsmodels waits for its import, and other work may slow any: no deadlines.
# --- intervals ---


@settings(deadline=None)
@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_agrees_with_scipy(trials: int, share: float) -> None:
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    low, high = intervals.wilson(successes, trials)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= successes / trials <= high <= 1


@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_the_exact_interval_agrees_with_scipy(trials: int, share: float) -> None:
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(method="exact")
    low, high = intervals.exact_interval(successes, trials)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= successes / trials <= high <= 1


def test_the_exact_interval_takes_fractions() -> None:
    one, between, two = (intervals.exact_interval(successes, 7) for successes in (3, 3.5, 4))
    assert one[0] < between[0] < two[0]
    assert between[0] == pytest.approx(1 - between[1])


@pytest.mark.parametrize("interval", [intervals.wilson, intervals.exact_interval])
def test_there_are_no_more_successes_than_trials(interval: Callable[..., object]) -> None:
    for successes, trials in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="successes"):
            interval(successes, trials)


def test_recalls_count_groups_and_not_images() -> None:
    # Four groups with ten copies each, all right; a class that nobody has; one right of two groups.
    labels = np.repeat([0, 0, 0, 0, 2, 2], 10)
    predictions = np.repeat([0, 0, 0, 0, 2, 1], 10)
    groups = np.repeat(list("abcdef"), 10)
    first, absent, last = intervals.recall_intervals(labels, predictions, groups, 3)
    assert absent is None
    assert first == pytest.approx((1, 0.3976, 1, 4), abs=1e-4)  # the fourth root of 0.025
    assert last == pytest.approx((0.5, *intervals.exact_interval(1, 2), 2))
    whole = intervals.share_interval(labels == predictions, groups)
    assert whole == pytest.approx((5 / 6, *intervals.exact_interval(5, 6), 6))
    with pytest.raises(ValueError, match="at least one"):
        intervals.share_interval(np.array([], bool), np.array([], str))


@pytest.mark.parametrize("classes", [3, 6])
def test_scores_are_scikit_learns(classes: int) -> None:
    # With six, three classes have neither images nor, but for one, predictions.
    labels, predictions, _, groups = answers(1)
    predictions[:2] = classes - 1
    found = intervals.confusion_scores(intervals.group_confusions(labels, predictions, groups, classes).sum(axis=0))
    assert found["acc"] == pytest.approx(reference.accuracy_score(labels, predictions))
    # Of a class without images nothing is known: what is wrongly said to be one counts in the others' recalls.
    f1 = reference.f1_score(labels, predictions, labels=[0, 1, 2], average="macro")
    precision = reference.precision_score(labels, predictions, labels=[0, 1, 2], average="macro", zero_division=0)
    recall = reference.recall_score(labels, predictions, labels=[0, 1, 2], average="macro")
    assert found["macro_f1"] == pytest.approx(f1)
    assert found["macro_precision"] == pytest.approx(precision)
    assert found["balanced_acc"] == pytest.approx(recall)


def test_groups_that_agree_count_as_kish_counts_them() -> None:
    sizes = np.array([1, 2, 3, 4, 10, 10, 20])
    groups, correct = np.repeat(np.arange(7), sizes), np.repeat([True, False, True, True, False, True, True], sizes)
    assert intervals.effective_trials(correct, groups) == pytest.approx(50**2 / (sizes**2).sum())
    # Of five groups nobody knows how alike their images are, and all alike say nothing of it either.
    few = groups < 5
    mixed = np.arange(20) % 2 == 0
    assert intervals.effective_trials(mixed, groups[few]) == pytest.approx(20**2 / (sizes[:5] ** 2).sum())
    assert intervals.effective_trials(np.ones(50, bool), groups) == pytest.approx(50**2 / (sizes**2).sum())


def test_images_that_are_alike_by_chance_count_nearly_one_by_one() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    by_image, by_group = rng.random(600) < 0.8, np.repeat(rng.random(60) < 0.8, 10)
    mixed = np.where(rng.random(600) < 0.5, by_image, by_group)
    trials = [intervals.effective_trials(correct, groups) for correct in (by_group, mixed, by_image)]
    assert trials[0] == pytest.approx(60)
    assert 100 < trials[1] < 250 < 300 < trials[2] <= 600
    assert intervals.effective_trials(by_image, np.arange(600)) == 600


def test_likeness_is_that_of_scipys_analysis_of_variance() -> None:
    rng = np.random.default_rng(1)
    hits = rng.binomial(8, rng.beta(4, 1, 30))
    correct = np.concatenate([np.arange(8) < hit for hit in hits])
    ratio = stats.f_oneway(*correct.reshape(30, 8).astype(float)).statistic / stats.f(29, 210).ppf(0.2)
    expected = 240 / (1 + 7 * (ratio - 1) / (ratio + 7))
    assert intervals.effective_trials(correct, np.repeat(np.arange(30), 8)) == pytest.approx(expected)


def test_summaries_have_the_values_of_their_scores() -> None:
    labels, predictions, _, groups = answers(1)
    found = intervals.summary_intervals(labels, predictions, groups, 4)
    scores = intervals.confusion_scores(intervals.group_confusions(labels, predictions, groups, 4).sum(axis=0))
    assert {name: one.value for name, one in found.items()} == pytest.approx({k: float(v) for k, v in scores.items()})
    assert {one.groups for one in found.values()} == {40}


def test_classes_of_one_size_have_one_interval_for_accuracy_and_balanced_accuracy() -> None:
    rng = np.random.default_rng(3)
    labels, groups = np.repeat([0, 1, 2], 50), np.repeat(np.arange(30), 5)
    found = intervals.summary_intervals(labels, np.where(rng.random(150) < 0.9, labels, 0), groups, 3)
    assert found["acc"] == pytest.approx(found["balanced_acc"])


def test_summaries_are_as_wide_as_the_variance_of_their_classes_makes_them() -> None:
    # One image a group: the variance of a mean of recalls is known.
    counts, shares = np.array([1000, 500, 300]), np.array([0.9, 0.8, 0.6])
    labels = np.repeat([0, 1, 2], counts)
    right = np.concatenate([np.arange(n) < share * n for n, share in zip(counts, shares, strict=True)])
    predictions, groups = np.where(right, labels, (labels + 1) % 3), np.arange(1800).astype(str)
    found = intervals.summary_intervals(labels, predictions, groups, 3)
    deviation = np.sqrt((shares * (1 - shares) / counts).sum()) / 3
    low, high = found["balanced_acc"].low, found["balanced_acc"].high
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.06)
    # Ten copies of each image say nothing new; taken for independent they would.
    ten = intervals.summary_intervals(*(np.repeat(a, 10) for a in (labels, predictions, groups)), 3)
    assert all(ten[name] == pytest.approx(found[name]) for name in found)


def test_a_class_that_is_all_correct_still_may_be_wrong() -> None:
    labels = np.repeat([0, 1], 20)
    found = intervals.summary_intervals(labels, labels, np.arange(40), 2)
    assert all(one.value == one.high == 1 and 0.8 < one.low < 0.95 for one in found.values())


def test_patients_whose_cells_fail_together_widen_the_interval() -> None:
    labels, groups = np.tile([0, 1], 60), np.repeat(np.arange(12), 10)
    ill = np.isin(groups, [0, 1, 2])
    together = np.where(ill, 1 - labels, labels)
    apart = np.where((ill & (labels == 0)) | (np.isin(groups, [3, 4, 5]) & (labels == 1)), 1 - labels, labels)
    one, two = (intervals.summary_intervals(labels, said, groups, 2)["acc"] for said in (together, apart))
    assert one.value == two.value == 0.75
    assert one.high - one.low > 1.3 * (two.high - two.low)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_intervals_do_not_see_the_order_of_rows(seed: int) -> None:
    labels, predictions, _, groups = answers(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    found = intervals.summary_intervals(labels, predictions, groups, 3)
    again = intervals.summary_intervals(labels[order], predictions[order], groups[order], 3)
    assert all(found[name] == pytest.approx(again[name]) for name in found)
    assert all(0 <= estimate.low <= estimate.high <= 1 for estimate in found.values())


def test_class_numbers_out_of_range_are_refused() -> None:
    labels, groups = np.array([0, 1]), np.array(["a", "b"])
    with pytest.raises(ValueError, match="0 to 1"):
        intervals.group_confusions(labels, np.array([0, 2]), groups, 2)
    with pytest.raises(ValueError, match="one length"):
        intervals.group_confusions(labels, np.array([0]), groups, 2)


# --- comparison ---


@settings(deadline=None)
@given(only_one=st.integers(0, 40), only_two=st.integers(0, 40), both=st.integers(0, 5))
def test_mcnemar_is_a_sign_test(only_one: int, only_two: int, both: int) -> None:
    one = np.array([True] * only_one + [False] * only_two + [True, False] * both, bool)
    two = np.array([False] * only_one + [True] * only_two + [True, False] * both, bool)
    p = stats.binomtest(only_one, only_one + only_two).pvalue if only_one + only_two else 1.0
    assert comparison.mcnemar(one, two) == (pytest.approx(p), only_one, only_two)


def test_mcnemar_wants_the_same_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        comparison.mcnemar(np.array([True]), np.array([True, False]))


@pytest.mark.parametrize("statistic", ["macro_f1", "balanced_acc"])
def test_permutation_agrees_with_every_exchange(statistic: str) -> None:
    labels, one, two, groups = answers(6, images=30, groups=8)

    def score(predictions: np.ndarray) -> float:
        if statistic == "macro_f1":
            return reference.f1_score(labels, predictions, average="macro")
        return reference.balanced_accuracy_score(labels, predictions)

    names = np.unique(groups)
    differences = []
    for exchanged in product([False, True], repeat=len(names)):
        rows = np.isin(groups, names[list(exchanged)])
        differences.append(score(np.where(rows, two, one)) - score(np.where(rows, one, two)))
    expected = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12)
    assert 0.01 < expected < 0.9
    found = comparison.group_permutation(labels, one, two, groups, 3, statistic=statistic)
    assert found.difference == pytest.approx(differences[0])
    assert found.p == pytest.approx(expected, abs=0.02)


def test_permutation_agrees_with_scipy() -> None:
    labels, one, two, _ = answers(3, images=60)
    two = np.where(np.arange(60) % 3 == 0, two, one)
    found = comparison.group_permutation(labels, one, two, np.arange(60).astype(str), 3, statistic="acc")
    expected = stats.permutation_test(
        (one == labels, two == labels),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    assert found.difference == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)


def test_permutation_counts_groups_and_not_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three groups, each better under the first model: no exchange of so few can be rare.
    labels = np.repeat([0, 1, 2], 50)
    groups = np.repeat(["a", "b", "c"], 50)
    two = np.where(np.arange(150) % 2, labels, (labels + 1) % 3)
    apart = comparison.group_permutation(labels, labels, two, groups, 3)
    assert apart.p == pytest.approx(2 / 8, abs=0.02)
    assert comparison.group_permutation(labels, labels, two, np.arange(150).astype(str), 3).p == 1e-4
    assert comparison.group_permutation(labels, two, labels, groups, 3).difference == -apart.difference
    assert comparison.group_permutation(labels, two, two, groups, 3) == (0, 1)
    monkeypatch.setattr(intervals, "DRAWN_AT_ONCE", 10)
    assert comparison.group_permutation(labels, labels, two, groups, 3).p == pytest.approx(2 / 8, abs=0.02)


def test_a_paired_difference_varies_as_resampled_groups_do() -> None:
    labels, one, two, groups = answers(4, images=400, groups=150)
    found = comparison.group_difference(labels, one, two, groups, 3)
    apart = [reference.balanced_accuracy_score(labels, said) for said in (one, two)]
    assert found.value == pytest.approx(apart[0] - apart[1])
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    rng = np.random.default_rng(0)
    drawn = [np.concatenate([rows[k] for k in rng.integers(0, 150, 150)]) for _ in range(400)]
    again = [comparison.group_difference(labels[k], one[k], two[k], groups[k], 3).value for k in drawn]
    assert found.error == pytest.approx(np.std(again), rel=0.1)
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]
    twice = comparison.group_difference(*(np.tile(column, 2) for column in (labels, one, two, groups)), 3)
    assert twice.error == pytest.approx(found.error)  # of several repeats: groups count, not predictions
    assert comparison.group_difference(labels, one, one, groups, 3).interval is None


# --- calibration ---


def test_log_loss_by_class(spoken: tuple[np.ndarray, np.ndarray]) -> None:
    labels, shares = spoken
    labels, shares = labels[labels != 2][:400], shares[labels != 2][:400]
    labels[:300][labels[:300] == 3] = 0
    weights = 1 / np.bincount(labels, minlength=4).clip(1)[labels]
    scores = calibration.probability_scores(labels, shares)
    expected = reference.log_loss(labels, shares, sample_weight=weights, labels=[0, 1, 2, 3])
    assert scores["log_loss_uniform"] == pytest.approx(expected)
    assert abs(scores["log_loss_uniform"] - scores["log_loss"]) > 0.01


def test_reliability_of_honest_probabilities(spoken: tuple[np.ndarray, np.ndarray]) -> None:
    labels, shares = spoken
    bins = calibration.reliability(labels, shares)
    assert [part.images for part in bins] == [150] * 10
    assert sum(part.correct.low <= part.confidence <= part.correct.high for part in bins) >= 8
    ece = sum(part.images * abs(part.confidence - part.correct.value) for part in bins) / len(labels)
    assert calibration.probability_scores(labels, shares)["ece"] == pytest.approx(ece)
    # The five of a group are right or wrong together.
    groups = np.empty(1500, dtype="<U4")
    groups[np.argsort(shares.argmax(axis=1) == labels, kind="stable")] = [f"g{i // 5}" for i in range(1500)]
    grouped = calibration.reliability(labels, shares, groups, bins=1)[0].correct
    plain = calibration.reliability(labels, shares, bins=1)[0].correct
    assert (grouped.groups, plain.groups) == (300, 1500)
    assert grouped.value == plain.value
    assert grouped.low < plain.low


@settings(max_examples=30, deadline=None)
@given(sure=st.lists(st.sampled_from([0.5, 0.6, 0.9, 1.0]), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_equally_sure_rows_share_a_bin(sure: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = np.stack([np.array(sure), 1 - np.array(sure)], axis=1)
    labels = rng.integers(0, 2, len(sure))
    order = rng.permutation(len(sure))
    bins = calibration.reliability(labels, shares)
    again = calibration.reliability(labels[order], shares[order])
    assert sum(part.images for part in bins) == len(sure)
    assert [(part.images, part.correct) for part in again] == [(part.images, part.correct) for part in bins]
    assert [part.confidence for part in again] == pytest.approx([part.confidence for part in bins])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(spoken: tuple[np.ndarray, np.ndarray], temperature: float) -> None:
    labels, shares = spoken
    honest = calibration.fit_temperature(labels, shares)
    assert honest == pytest.approx(1, abs=0.1)
    # What was heated by T is cooled by 1/T.
    heated = calibration.apply_temperature(shares, temperature)
    found = calibration.fit_temperature(labels, heated)
    assert found == pytest.approx(honest / temperature, rel=1e-3)
    losses = [
        reference.log_loss(labels, calibration.apply_temperature(heated, t))
        for t in (found, found * 0.98, found * 1.02)
    ]
    assert losses[0] == min(losses)


def test_temperature_stops_at_its_ends() -> None:
    labels = np.array([0, 1, 2] * 10)
    right = 0.7 * np.eye(3)[labels] + 0.1
    for separated in (right, np.eye(3)[labels], 0.999 * np.eye(3)[labels] + 0.001 / 3):
        assert calibration.fit_temperature(labels, separated) == calibration.LEAST_TEMPERATURE
    assert calibration.fit_temperature((labels + 1) % 3, right) == calibration.MOST_TEMPERATURE
    # One sure mistake among zeros: finite, and cooler.
    mistaken = np.eye(3)[labels]
    labels[0] = 1
    assert 1 < calibration.fit_temperature(labels, mistaken) <= calibration.MOST_TEMPERATURE


@settings(deadline=None)
@given(
    logits=st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=5),
    temperature=st.floats(0.1, 10),
)
def test_temperature_keeps_the_order(logits: list[list[float]], temperature: float) -> None:
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    cooled = calibration.apply_temperature(shares, temperature)
    assert cooled.sum(axis=1) == pytest.approx(1)
    rows = np.arange(len(shares))
    assert cooled[rows, shares.argmax(axis=1)] == pytest.approx(cooled.max(axis=1))
    assert calibration.apply_temperature(shares, 1.0) == pytest.approx(shares)
    # There and back, by way of the warmer: the colder end may be rounded to 0 and not come back.
    warmer = max(temperature, 1.0)
    back = calibration.apply_temperature(calibration.apply_temperature(shares, warmer), 1 / warmer)
    assert back == pytest.approx(shares)


def test_a_calibrated_net_shows_an_error_too_and_a_larger_one_on_fewer_groups(
    spoken: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, shares = spoken
    own = np.arange(1500).astype(str)
    many, few = calibration.expected_ece(shares, own), calibration.expected_ece(shares[:60], own[:60])
    # These labels were drawn from these probabilities.
    assert calibration.probability_scores(labels, shares)["ece"] == pytest.approx(many, abs=0.02)
    assert 0 < many < 0.04 < 0.08 < few < 0.2
    copies = calibration.expected_ece(np.repeat(shares[:60], 10, axis=0), np.repeat(own[:60], 10))
    assert copies == pytest.approx(few, abs=0.02)
    assert calibration.expected_ece(shares[:60], np.full(60, "")) == pytest.approx(few, abs=0.02)


def test_temperature_is_above_zero() -> None:
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            calibration.apply_temperature(np.eye(2), temperature)


def test_reliability_diagram_shows_every_bin(spoken: tuple[np.ndarray, np.ndarray]) -> None:
    bins = calibration.reliability(*spoken, bins=5)
    figure = figures.reliability_diagram(bins, "drawn at random")
    (axes,) = figure.axes
    points = axes.lines[-1].get_xydata()
    assert points == pytest.approx(np.array([(part.confidence, part.correct.value) for part in bins]))
    (bars,) = (c for c in axes.collections if hasattr(c, "get_segments"))
    assert [(low, high) for (_, low), (_, high) in bars.get_segments()] == [
        pytest.approx((part.correct.low, part.correct.high)) for part in bins
    ]
    assert axes.get_ylim()[0] < min(part.correct.low for part in bins)
