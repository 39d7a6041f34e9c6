"""scripts.statistics: against closed forms, scipy, and the formulas of Agarwal et al. (2021)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scripts import statistics

GENERATOR = np.random.default_rng(5)
ONES = [GENERATOR.normal(1.0, 1.0, 7), GENERATOR.normal(2.0, 3.0, 9)]
OTHERS = [GENERATOR.normal(0.5, 1.0, 8), GENERATOR.normal(2.5, 3.0, 6)]


def test_the_interquartile_mean_is_of_the_middle_half_of_all_runs():
    assert statistics.interquartile_mean(np.array([0.0, 10.0, 20.0, 100.0])) == 15.0
    expected = stats.trim_mean(np.concatenate(ONES), 0.25)
    assert statistics.interquartile_mean(*ONES) == pytest.approx(expected)


def test_the_probability_of_improvement_is_the_statistic_of_mann_and_whitney():
    shares = [
        stats.mannwhitneyu(one, other).statistic / len(one) / len(other)
        for one, other in zip(ONES, OTHERS, strict=True)
    ]
    assert statistics.probability_of_improvement(ONES, OTHERS) == pytest.approx(np.mean(shares))
    assert statistics.probability_of_improvement(OTHERS, ONES) == pytest.approx(1 - np.mean(shares))
    # Of 2 x 2 pairs one is a tie, and two are won.
    assert statistics.probability_of_improvement([np.array([1.0, 3.0])], [np.array([1.0, 2.0])]) == 2.5 / 4


def test_seeds_are_drawn_anew_within_each_task_and_not_across():
    """Two tasks that are constant each: across, the mean of the middle half would vary."""
    assert statistics.interval(np.zeros(5), np.ones(5)) == (0.5, 0.5)
    low, high = statistics.interval(np.array([0.0, 0.0, 0.0, 8.0]), np.array([20.0, 20.0, 20.0, 20.0]))
    assert low < high


def test_the_interval_is_that_of_a_bootstrap_written_out():
    """The ends are quantiles of 9,999 resamples, here as there; fails by chance in fewer than one case of 1e6."""
    generator = np.random.default_rng(11)
    drawn = [sample[generator.integers(len(sample), size=(9_999, len(sample)))] for sample in ONES]
    means = stats.trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    ends = statistics.interval(*ONES)
    # Standard error of a 2.5 % quantile of n normal draws: sqrt(p (1 - p) / n) / density.
    density = stats.norm.pdf(stats.norm.ppf(0.025)) / np.std(means)
    tolerance = 5.2 * math.sqrt(2 * 0.025 * 0.975 / 9_999) / density
    np.testing.assert_allclose(ends, [low, high], atol=tolerance)


def test_the_interval_of_an_improvement_has_the_spread_of_the_statistic():
    """One run against many: the probability is a share of a binomial, whose bootstrap is the binomial itself."""
    ones, others = np.full(2, 0.0), np.array([-1.0] * 30 + [1.0] * 10)
    low, high = statistics.improvement_interval([ones], [others])
    expected = stats.binom.ppf([0.025, 0.975], 40, 0.75) / 40
    np.testing.assert_allclose([low, high], expected, atol=1 / 40)


def test_what_does_not_vary_has_no_width():
    assert statistics.interval(np.array([3.0])) == (3.0, 3.0)
    assert statistics.interval(np.full(4, 3.0)) == (3.0, 3.0)
    assert statistics.improvement_interval([np.array([1.0])], [np.array([2.0, 0.0])]) == (0.5, 0.5)
