"""Adam as a function, against Keras's own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning.adam import Adam, global_norm, shortened

START = {"a": tf.constant([1.0, -2.0, 3.0]), "b": tf.constant(0.5)}


def gradients(step):
    return {"a": tf.random.stateless_normal([3], [step, 0]), "b": tf.random.stateless_normal([], [step, 1]) * 5}


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({}, {}),
        ({"epsilon": 1e-5, "beta_1": 0.8, "beta_2": 0.99}, {"epsilon": 1e-5, "beta_1": 0.8, "beta_2": 0.99}),
        ({"max_gradient_norm": 0.5}, {"global_clipnorm": 0.5}),
        ({"decay_steps": 7}, {"learning_rate": keras.optimizers.schedules.PolynomialDecay(0.1, 7, 0.0)}),
    ],
)
def test_it_steps_as_keras_does(options, theirs, jit_compile):
    ours, weights = Adam(**options), START
    state = ours.start(weights)
    step = tf.function(lambda g, s, w: ours.step(g, s, w, 0.1), jit_compile=jit_compile)
    variables = [tf.Variable(START["a"]), tf.Variable(START["b"])]
    optimizer = keras.optimizers.Adam(**({"learning_rate": 0.1} | theirs))
    optimizer.build(variables)
    for index in range(10):
        slopes = gradients(index)
        weights, state = step(slopes, state, weights)
        optimizer.apply([slopes["a"], slopes["b"]], variables)
    np.testing.assert_allclose(weights["a"], variables[0], rtol=2e-6)
    np.testing.assert_allclose(weights["b"], variables[1], rtol=2e-6)
    assert int(state.count) == 10


def test_gradients_are_shortened_together_or_left_alone():
    slopes = {"a": tf.constant([3.0, 0.0]), "b": tf.constant(4.0)}
    assert float(global_norm(slopes)) == 5.0
    np.testing.assert_allclose(shortened(slopes, 1.0)["a"], [0.6, 0.0])
    np.testing.assert_allclose(shortened(slopes, 1.0)["b"], 0.8)
    np.testing.assert_allclose(shortened(slopes, 10.0)["a"], [3.0, 0.0])


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"max_gradient_norm": -1.0}, {"decay_steps": 0}])
def test_bad_options(bad):
    with pytest.raises(ValueError, match=f"Expected {next(iter(bad))}"):
        Adam(**bad)
