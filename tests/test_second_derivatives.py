"""The gradient of a sampler's gradient is the difference quotient of it, at the same noise."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops, samplers
from tests.helpers import MODES, QUICK_MODES

# Those whose backward pass is one smooth function of the logits given the draw, none of them held fixed in it.
SMOOTH = (
    "decoupled_straight_through",
    "gumbel_softmax",
    "reinmax",
    "softmax",
    "straight_through",
    "straight_through_gumbel_softmax",
    "zgr",
)
# Two rows, each at two temperatures: rows do not depend on each other, so one program tells of all four.
LOGITS = tf.constant([[0.2, -0.4, 0.0, -1e30], [-1.0, 0.0, -3.0, -0.3]] * 2, tf.float64)
WEIGHTS = tf.constant([[1.0, -2.0, 0.5, 3.0], [0.5, 1.5, -1.0, 2.0]] * 2, tf.float64)
TEMPERATURE = tf.constant([1.0, 1.0, 0.7, 0.7])
SEED = (3, 4)


@pytest.mark.parametrize("mode", QUICK_MODES)
@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.thinned(2)
def test_the_second_derivative_of_a_draw(name, mode):
    sampler = samplers.create(name)

    @MODES[mode]
    def slope_and_curvature(logits, direction):
        with tf.GradientTape() as outer:
            outer.watch(logits)
            with tf.GradientTape() as inner:
                inner.watch(logits)
                value = tf.reduce_sum(WEIGHTS * sampler(logits, SEED, temperature=TEMPERATURE).one_hot)
            slope = inner.gradient(value, logits)
            along = tf.reduce_sum(slope * direction)
        return slope, outer.gradient(along, logits)

    direction = tf.constant([[0.3, 1.0, -0.6, 0.8], [-1.0, 0.4, 0.7, 0.2]] * 2, tf.float64)
    _, found = slope_and_curvature(LOGITS, direction)
    for column, step in enumerate(1e-5 * np.eye(LOGITS.shape[1])):
        above, _ = slope_and_curvature(LOGITS + step, direction)
        below, _ = slope_and_curvature(LOGITS - step, direction)
        expected = tf.reduce_sum((above - below) * direction, -1) / 2e-5
        np.testing.assert_allclose(found[:, column], expected, atol=1e-8)
    for temperature in np.split(found.numpy(), 2):
        assert np.abs(temperature).max() > 1e-2


@pytest.mark.parametrize("mode", MODES)
def test_a_value_with_the_gradient_of_a_softmax(mode):
    value = tf.constant([[np.inf, 1.0, -2.0], [0.0, np.nan, 1e30]], tf.float64)
    logits = tf.constant([[0.0, -1.0, -3e38], [-0.5, 0.0, -2.0]], tf.float64)
    upstream = tf.constant([[1.0, -2.0, 3.0], [0.5, 1.5, -1.0]], tf.float64)

    def run(value, logits):
        probs = ops.normalise(logits)
        with tf.GradientTape() as tape:
            tape.watch((value, logits, probs))
            result = ops.with_softmax_gradient(value, logits, probs)
        to_value, to_logits, to_probs = tape.gradient(result, (value, logits, probs), output_gradients=upstream)
        assert to_value is None
        assert to_probs is None
        return result, to_logits, probs

    result, to_logits, probs = MODES[mode](run)(value, logits)
    np.testing.assert_array_equal(result, value)
    np.testing.assert_allclose(to_logits, ops.softmax_vjp(probs, upstream), rtol=1e-12)
    np.testing.assert_allclose(probs, tf.nn.softmax(logits), rtol=1e-12)
