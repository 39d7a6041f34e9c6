"""The gradient of a sampler's gradient is the difference quotient of it, at the same noise."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops, samplers
from tests.helpers import MODES

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
LOGITS = tf.constant([[0.2, -0.4, 0.0, -1e30], [-1.0, 0.0, -3.0, -0.3]], tf.float64)
WEIGHTS = tf.constant([[1.0, -2.0, 0.5, 3.0], [0.5, 1.5, -1.0, 2.0]], tf.float64)
SEED = (3, 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_second_derivative_of_a_draw(name, temperature, mode):
    sampler = samplers.create(name)

    def slope(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = tf.reduce_sum(WEIGHTS * sampler(logits, SEED, temperature=temperature).one_hot)
        return tape.gradient(value, logits)

    def curvature(logits, direction):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            along = tf.reduce_sum(slope(logits) * direction)
        return tape.gradient(along, logits)

    direction = tf.constant([[0.3, 1.0, -0.6, 0.8], [-1.0, 0.4, 0.7, 0.2]], tf.float64)
    found = MODES[mode](curvature)(LOGITS, direction).numpy()
    slopes, step = MODES[mode](slope), 1e-5
    for index in np.ndindex(*LOGITS.shape):
        change = np.zeros(LOGITS.shape)
        change[index] = step
        difference = slopes(LOGITS + change) - slopes(LOGITS - change)
        np.testing.assert_allclose(found[index], tf.reduce_sum(difference * direction) / (2 * step), atol=1e-8)
    assert np.abs(found).max() > 1e-2


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
