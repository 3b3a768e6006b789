"""Means over seeds and folds, and paired comparisons, against other implementations and by hand."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from bloodcell.data.cuts import VALIDATION_FOLDS
from bloodcell.evidence.repeats import equivalence, holm, over_folds, over_seeds, smallest_found, variance_parts
from bloodcell.tracking.settings import TRAINED_SHARE


def test_over_seeds_is_students_t() -> None:
    values = np.array([0.81, 0.84, 0.79, 0.86])
    found = over_seeds(values)
    assert found.value == pytest.approx(0.825)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.interval == pytest.approx(stats.t.interval(0.95, 3, values.mean(), stats.sem(values)))
    assert found.repeats == 4
    # With a seventh of the rest for validation the tested fold is 7/18 of what is trained on.
    less = over_folds([np.array([value]) for value in (0.8, 0.9, 0.7, 0.8)], 4, 6 / 7)
    half = 3.1824463 * np.sqrt(0.02 / 3 * (1 / 4 + 7 / 18))
    assert less.interval == pytest.approx((0.8 - half, 0.8 + half), abs=1e-6)


def test_over_seeds_of_differences_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.8, 0.02, 6), rng.normal(0.78, 0.02, 6)
    found, wanted = over_seeds(one - other), stats.ttest_rel(one, other)
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval()))


def test_equivalence_is_the_two_one_sided_tests_of_statsmodels() -> None:
    rng = np.random.default_rng(2)
    one = rng.normal(0.8, 0.02, 12)
    other = one + rng.normal(0.003, 0.01, 12)
    for margin in (0.001, 0.01, 0.03):
        wanted = ttost_paired(one, other, -margin, margin)[0]
        assert equivalence(over_seeds(one - other), margin) == pytest.approx(wanted)


def test_the_smallest_difference_that_is_found_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(3)
    found = over_seeds(rng.normal(0.0, 0.02, 6))
    smallest = smallest_found(found)
    drawn = rng.normal(smallest, found.error * np.sqrt(6), (20_000, 6))
    assert (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_over_folds_by_hand() -> None:
    # Fold means 0.8, 0.9, 0.7, 0.8 (the first of two seeds): mean 0.8, s^2 = 0.02 / 3. Four folds of four:
    # variance of the mean s^2 (1/4 + 1/3) = 0.0038889, its root 0.0623610; t(0.975; 3) = 3.1824463.
    found = over_folds([np.array([0.75, 0.85]), *(np.array([value]) for value in (0.9, 0.7, 0.8))], 4)
    assert found.value == pytest.approx(0.8)
    assert found.sd == pytest.approx(np.sqrt(0.02 / 3))
    assert found.interval == pytest.approx((0.8 - 3.1824463 * 0.0623610, 0.8 + 3.1824463 * 0.0623610), abs=1e-6)
    assert found.repeats == 4


def test_a_p_over_folds_is_that_of_the_corrected_statistic() -> None:
    differences = np.array([0.05, 0.02, 0.04, -0.01, 0.03])
    statistic = differences.mean() / np.sqrt(differences.var(ddof=1) * (1 / 5 + 1 / 4))
    found = over_folds([np.array([value]) for value in differences], 5)
    assert found.p == pytest.approx(2 * stats.t.sf(statistic, 4))
    plain = over_seeds(differences).p
    assert found.p is not None
    assert plain is not None
    assert found.p > plain, "folds share training images"


def test_what_does_not_vary_has_no_interval() -> None:
    assert over_seeds(np.array([0.8])) == (0.8, None, None, None, 1, None)
    same = over_seeds(np.array([0.1 + 0.2, 0.3, 0.3]))
    assert same.sd == 0
    assert same.interval is None
    assert same.p is None


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        over_seeds(np.array([]))
    with pytest.raises(ValueError, match="each with a value"):
        over_folds([np.array([0.8]), np.array([])], 5)


def test_holm_is_that_of_statsmodels() -> None:
    values = [0.04, 0.001, 0.03, 0.2]
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    # By hand: 0.001 x 4, 0.03 x 3, then 0.04 x 2 raised to the one before it, then 0.2.
    assert holm(values) == pytest.approx([0.09, 0.004, 0.09, 0.2])
    assert holm([]) == []


def test_the_share_that_is_trained_on_is_that_of_the_validation_cut() -> None:
    assert pytest.approx(1 - 1 / VALIDATION_FOLDS) == TRAINED_SHARE


def test_the_spread_is_shared_out_among_folds_and_seeds() -> None:
    # By hand: within 2e-4 in both rows; means 0.81 and 0.85 have variance 8e-4, less 2e-4 / 2 is 7e-4.
    found = variance_parts([np.array([0.80, 0.82]), np.array([0.84, 0.86])])
    assert found == pytest.approx((np.sqrt(7e-4), np.sqrt(2e-4)))
    assert variance_parts([np.array([0.8, 0.9]), np.array([0.9, 0.8])]).folds == 0.0
    with pytest.raises(ValueError, match="two fold seeds with two seeds"):
        variance_parts([np.array([0.8, 0.9])])
    rng = np.random.default_rng(4)
    drawn = rng.normal(0, 0.03, (400, 1)) + rng.normal(0, 0.01, (400, 5))
    assert variance_parts(list(drawn)) == pytest.approx((0.03, 0.01), rel=0.1)
