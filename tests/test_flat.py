"""A Keras model as a function of one vector of weights."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from rlsample.networks import flat
from rlsample.networks.flat import FlatNetwork


def small_model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(2)])


def test_it_computes_what_the_model_does_at_any_weights():
    model, other = small_model(), small_model()
    features = tf.random.stateless_normal([7, 3], [1, 2])
    network = FlatNetwork(model)
    theirs = FlatNetwork(other).weights()
    assert theirs.shape == (3 * 5 + 5 + 5 * 2 + 2,)
    for function in (network, tf.function(network, jit_compile=True)):
        np.testing.assert_allclose(function(network.weights(), features), model(features), atol=1e-6)
        np.testing.assert_allclose(function(theirs, features), other(features), atol=1e-6)
    np.testing.assert_allclose(network.at(theirs)(features), other(features), atol=1e-6)


def test_assign_copies_weights_into_the_model():
    network = FlatNetwork(small_model())
    weights = tf.range(32, dtype=tf.float32)
    network.assign(weights)
    np.testing.assert_array_equal(network.weights(), weights)
    np.testing.assert_array_equal(network.model.layers[0].kernel, tf.reshape(weights[:15], [3, 5]))


def test_large_layers_stand_by_themselves(monkeypatch):
    monkeypatch.setattr(flat, "LARGE", 15)
    model, other = small_model(), small_model()
    network, theirs = FlatNetwork(model), FlatNetwork(other).weights()
    assert [tuple(part.shape) for part in theirs] == [(5 + 10 + 2,), (3, 5)]
    features = tf.random.stateless_normal([7, 3], [1, 2])

    @tf.function(jit_compile=True)
    def gradient(weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = tf.reduce_sum(tf.sin(network(weights, features)))
        return tape.gradient(value, weights)

    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.sin(other(features)))
    kernel, *small = tape.gradient(value, other.trainable_variables)
    expected = [np.concatenate([np.reshape(each, -1) for each in small]), kernel]
    for mine, plain in zip(gradient(theirs), expected, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-5, atol=1e-6)
    network.assign(theirs)
    np.testing.assert_array_equal(model(features), other(features))


def test_the_gradient_of_a_bias_arrives_as_it_is():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(6)])
    network = FlatNetwork(model)
    upstream = np.array([1e30, -1e30, 1e-30, np.inf, -np.inf, np.nan], np.float32)
    weights = network.weights()

    @tf.function(jit_compile=True)
    def gradient(weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            outputs = network(weights, tf.zeros([1, 1]))
        return tape.gradient(outputs, weights, output_gradients=tf.constant(upstream[None]))

    np.testing.assert_array_equal(gradient(weights)[6:], upstream)
