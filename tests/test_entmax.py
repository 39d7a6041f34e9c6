"""Sparse probabilities: alpha-entmax against its closed form, its equation and difference quotients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops, samplers
from rlsample.samplers import entmax
from tests.helpers import MODES

THETA = np.array([0.5, -1, 0.25, 1])
WEIGHTS = np.array([1, -2, 0.5, 1.5])
SEED = (1, 2)


@pytest.mark.parametrize(("alpha", "expected"), [(2.0, [0.25, 0, 0, 0.75]), (1.5, [0.26444, 0, 0.15151, 0.58406])])
def test_entmax_values(alpha, expected):
    sample = samplers.create({"name": "entmax", "alpha": alpha})(tf.constant(THETA), SEED)
    np.testing.assert_allclose(sample.one_hot, expected, atol=1e-5)
    assert (sample.one_hot.numpy() == 0).tolist() == (np.array(expected) == 0).tolist()


def entmax_by_sorting(logits, alpha):
    """The closed form for alpha 1.5 and 2: the threshold of the largest support that is consistent with its own."""
    scaled = (alpha - 1) * logits.astype(np.float64)
    descending = -np.sort(-scaled, -1)
    count = np.arange(1, scaled.shape[-1] + 1)
    mean, square = np.cumsum(descending, -1) / count, np.cumsum(descending**2, -1) / count
    root = np.sqrt(np.maximum(1 / count - (square - mean**2), 0))
    thresholds = mean - {2.0: 1 / count, 1.5: root}[alpha]
    size = (thresholds <= descending).sum(-1, keepdims=True)
    return np.maximum(scaled - np.take_along_axis(thresholds, size - 1, -1), 0) ** (1 / (alpha - 1))


ENTMAX_ROWS = {
    "normal": np.random.default_rng(0).normal(0, 3, (50, 12)),
    "narrow": np.random.default_rng(1).uniform(0, 1, (20, 2000)),
    "ties": np.round(np.random.default_rng(2).uniform(-2, 2, (50, 30))),
    "equal": np.zeros([2, 1000]),
    "nearly equal": np.random.default_rng(3).normal(0, 1e-6, (2, 100_000)),
    "illegal": np.where(np.random.default_rng(4).uniform(size=(50, 12)) < 0.2, 0.3, -3e38),
    "huge": np.random.default_rng(5).normal(0, 1e30, (50, 12)),
    # Supports that shrink by few categories a step.
    "crowded below": np.tile(-1 + 0.9 ** np.arange(200), [2, 1]),
    "crowded above": np.tile(-(0.9 ** np.arange(200)), [2, 1]),
    "two heights": np.repeat([0.0, -1e-3, -0.9], [1, 30_000, 30_000])[None],
    "alone": np.full([3, 1], 7.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [1.5, 2.0])
@pytest.mark.parametrize("rows", ENTMAX_ROWS)
@pytest.mark.thinned(3)
def test_entmax_is_its_closed_form(rows, alpha, dtype):
    logits = ENTMAX_ROWS[rows].astype(dtype)
    logits -= logits.max(-1, keepdims=True)
    for mode in MODES.values():
        probs = mode(lambda logits: entmax.entmax(logits, alpha))(tf.constant(logits))
        tolerance = 1e-6 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(probs, entmax_by_sorting(logits, alpha), rtol=0, atol=tolerance)
        # A sum of K equal numbers rounds by up to K epsilon.
        rounding = logits.shape[-1] * np.finfo(dtype).eps
        np.testing.assert_allclose(np.sum(probs, -1, np.float64), 1, rtol=tolerance + rounding)


@pytest.mark.parametrize("mode", MODES)
def test_entmax_of_a_row_of_nan_leaves_the_others_alone(mode):
    logits = tf.constant([[0.0, -1.0, -0.2], [np.nan, np.nan, np.nan], [0.0, -0.1, -0.3]])
    for alpha in (1.3, 1.5, 2.0):
        probs = MODES[mode](lambda logits, alpha=alpha: entmax.entmax(logits, alpha))(logits).numpy()
        assert np.isnan(probs[1]).all()
        np.testing.assert_allclose(probs[[0, 2]], entmax.entmax(tf.gather(logits, [0, 2]), alpha), rtol=1e-5)


@pytest.mark.parametrize("alpha", [1.1, 1.25, 1.5, 1.75, 2.0])
def test_entmax_solves_its_equation(alpha):
    logits = tf.constant(np.random.default_rng(1).normal(0, 2, (20, 9)))
    probs = entmax.entmax(logits - tf.reduce_max(logits, -1, keepdims=True), alpha).numpy()
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-12)
    # On the support (alpha - 1) logit - p^(alpha - 1) is the threshold, which no other logit exceeds.
    scaled = (alpha - 1) * logits.numpy()
    threshold = np.where(probs > 0, scaled - probs ** (alpha - 1), np.nan)
    np.testing.assert_allclose(np.nanmin(threshold, -1), np.nanmax(threshold, -1), atol=1e-9)
    assert (np.where(probs == 0, scaled, -np.inf).max(-1) <= np.nanmax(threshold, -1) + 1e-9).all()


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2.0])
def test_entmax_gradient_and_hessian_are_difference_quotients(alpha):
    # Away from the kinks where a category enters the support; the row's maximum is 0 and stays it.
    logits, weights = tf.constant([[-0.6, -2.0, -0.35, 0.0]], tf.float64), tf.constant(WEIGHTS)
    value = lambda logits: tf.reduce_sum(entmax.entmax(logits, alpha) * weights)  # noqa: E731

    def slope(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            result = value(logits)
        return tape.gradient(result, logits)

    for function in (value, slope):
        analytic, numeric = tf.test.compute_gradient(function, [logits], delta=1e-5)
        np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)


def test_entmax_law_speaks_of_its_support():
    sampler, logits = samplers.create({"name": "entmax", "alpha": 2.0}), tf.constant(THETA, tf.float32)
    np.testing.assert_allclose(sampler.drawn_logits(logits), [np.log(0.25), -np.inf, -np.inf, np.log(0.75)], rtol=1e-5)
    warm = sampler(logits, SEED, temperature=4.0).one_hot
    np.testing.assert_allclose(ops.softmax(sampler.drawn_logits(logits, temperature=4.0)), warm, rtol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = ops.log_prob(sampler.drawn_logits(logits), tf.constant(0))
    np.testing.assert_allclose(tape.gradient(log_prob, logits), [2, 0, 0, -2], atol=1e-5)  # d log p_0 = (1/2) / p_0
