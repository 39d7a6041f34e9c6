"""Statistics over seeds and tasks: interquartile mean, probability of improvement, their bootstrap intervals.

Each sample is what one variant reached on one task, a value for each seed. Intervals are of the stratified bootstrap:
seeds are drawn anew within each sample, never across. Agarwal et al. 2021, arXiv 2108.13264.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 9999
BATCH = 1000
"""Resamples at a time: all pairs of seeds of all of them at once would take much memory."""

Interval = tuple[float, float]


def interquartile_mean(*samples: np.ndarray) -> float:
    """The mean of the middle half of the values of all samples: robust as the median, and not as wasteful."""
    return float(_interquartile_mean(*(np.asarray(sample, float) for sample in samples)))


def interval(*samples: np.ndarray, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of the interquartile mean of all samples; the value twice where nothing varies."""
    return _bootstrap(samples, _interquartile_mean, confidence, seed)


def probability_of_improvement(ones: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """P(X > Y) + P(X = Y) / 2 for a run X of one variant and a run Y of another on the same task; mean over tasks.

    On one task it is the Mann-Whitney U statistic over the number of pairs.

    Args:
        ones: a sample for each task.
        others: likewise, in the same order.
    """
    return float(_improvement(*(np.asarray(sample, float) for sample in [*ones, *others])))


def improvement_interval(
    ones: Sequence[np.ndarray], others: Sequence[np.ndarray], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of the probability of improvement; the value twice where nothing varies."""
    return _bootstrap([*ones, *others], _improvement, confidence, seed)


def _interquartile_mean(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    from scipy import stats

    return stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis)


def _improvement(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    # The seeds are on the last axis, which is the one that scipy.stats.bootstrap asks for.
    half = len(samples) // 2
    means = []
    for ones, others in zip(samples[:half], samples[half:], strict=True):
        difference = np.sign(ones[..., :, None] - others[..., None, :])
        means.append(0.5 + 0.5 * difference.mean(axis=(-2, -1)))
    return np.mean(means, axis=0)


def _bootstrap(
    samples: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], confidence: float, seed: int
) -> Interval:
    from scipy import stats

    samples = [np.asarray(sample, float) for sample in samples]
    if any(len(sample) < 2 for sample in samples) or all(np.ptp(sample) == 0 for sample in samples):
        value = float(statistic(*samples))
        return value, value
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=BATCH,
        vectorized=True,
        axis=-1,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
