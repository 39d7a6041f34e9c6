"""The four-way example, and the statistics, that the tests of unbiased samplers share."""

from __future__ import annotations

import keras
import numpy as np
import scipy.stats
import tensorflow as tf

from rlsample import samplers

SEED = tf.constant([3, 14])
FALSE_FAILURE_RATE = 1e-6
DRAWS = 100_000

# Four categories, and a fifth that is masked.
THETA = np.array([0.5, -1.0, 0.25, 1.0, 7.0])
WEIGHTS = np.array([1.0, -2.0, 0.5, 1.5, 100.0])
MASK = np.array([True, True, True, True, False])
PROBS = np.where(MASK, np.exp(THETA), 0) / np.exp(THETA[MASK]).sum()


def linear(one_hot):
    return tf.reduce_sum(one_hot * tf.constant(WEIGHTS, one_hot.dtype), -1)


def quadratic(one_hot):
    return linear(one_hot) ** 2


def cubic(one_hot):
    return linear(one_hot) ** 3


def black_box(one_hot):
    return tf.cast(tf.gather(tf.constant(WEIGHTS), tf.argmax(one_hot, -1)) > 0.7, tf.float32)


def network(units=8):
    layers = [keras.layers.Dense(units, activation="tanh"), keras.layers.Dense(1)]
    return keras.Sequential([keras.layers.Input([5]), *layers])


def control_variate(scale, log_temperature, free=None, dtype=None):
    layer = samplers.ControlVariate(free, dtype=dtype)
    layer.scale.assign(scale)
    layer.log_temperature.assign(log_temperature)
    return layer


def estimates(sampler, objective, logits, mask=None, seed=SEED, **options):
    """Value and gradient to the logits of every row."""

    # A plain graph: that XLA computes the same is tested by mode, and compiling costs more than running.
    @tf.function(autograph=False)
    def estimate(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = sampler.expectation(objective, logits, seed, mask=mask, **options)
        return value, tape.gradient(value, logits)

    value, gradient = estimate(tf.constant(logits, tf.float32))
    return value.numpy().astype(np.float64), gradient.numpy().astype(np.float64)


def rows(logits, number=DRAWS):
    return np.broadcast_to(logits, (number, *np.shape(logits)))


def assert_mean(draws, expected):
    """Each component's mean over the first axis, by a z-test; what does not vary must be there already."""
    expected = np.broadcast_to(expected, draws.shape[1:])
    error = np.abs(draws.mean(0) - expected)
    bound = scipy.stats.norm.isf(FALSE_FAILURE_RATE / 2 / max(expected.size, 1)) * draws.std(0) / len(draws) ** 0.5
    assert (error <= bound + 1e-6 * (1 + np.abs(expected))).all(), (draws.mean(0), expected, error / bound)


def trace_variance(gradients):
    """The trace of the covariance over rows, and its standard error."""
    squares = ((gradients - gradients.mean(0)) ** 2).reshape(len(gradients), -1).sum(1)
    return squares.mean(), squares.std() / len(squares) ** 0.5


keras.utils.set_random_seed(7)
UNBIASED = {
    "leave_one_out": samplers.create("leave_one_out"),
    "leave_one_out 3": samplers.create({"name": "leave_one_out", "num_samples": 3}),
    "rebar": samplers.create("rebar"),
    "rebar learned": samplers.create({"name": "rebar", "control_variate": control_variate(0.3, 0.7)}),
    "relax": samplers.create("relax"),
    "relax network": samplers.create({"name": "relax", "control_variate": network()}),
    "relax all": samplers.create({"name": "relax", "control_variate": control_variate(0.5, -0.2, network())}),
    "arsm": samplers.create("arsm"),
    "disarm": samplers.create("disarm"),
    "indecater": samplers.create("indecater"),
    "unordered_set": samplers.create("unordered_set"),
    "unordered_set 3": samplers.create({"name": "unordered_set", "num_samples": 3}),
}
