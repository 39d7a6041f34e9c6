"""Keras's convolutions inside of compiled training: the same values and gradients, by our operation."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample.networks.flat import FlatNetwork
from rlsample.networks.quick_convolutions import quick_convolutions

IMAGES = np.random.default_rng(0).normal(size=(3, 9, 8, 2)).astype(np.float32)


def model_of(*layers):
    return keras.Sequential([keras.Input(IMAGES.shape[1:]), *layers, keras.layers.Flatten(), keras.layers.Dense(3)])


def operations(model):
    """Names of the operations that the flat network of a model is made of."""
    network = FlatNetwork(model)
    graph = tf.function(network).get_concrete_function(network.weights(), tf.constant(IMAGES)).graph
    return {operation.type for operation in graph.get_operations()}


def gradients(function, inputs, weights):
    with tf.GradientTape() as tape:
        tape.watch((inputs, weights))
        loss = tf.reduce_sum(tf.sin(function(weights, inputs)))
    return loss, *tape.gradient(loss, (inputs, weights))


@pytest.mark.parametrize("inside", [False, True])
def test_values_and_gradients_are_keras_own(inside):
    layers = [keras.layers.Conv2D(4, 3, 2, "same", activation="tanh"), keras.layers.Conv2D(2, (2, 3), use_bias=False)]
    if inside:
        layers = [keras.Sequential([keras.Input(IMAGES.shape[1:]), *layers])]
    model = model_of(*layers)
    network, images = FlatNetwork(model), tf.constant(IMAGES)
    weights = network.weights()
    assert "Conv2D" not in operations(model)

    def plain(weights, images):
        return model.stateless_call(network.split(weights), [], images)[0]

    ours = tf.function(lambda: gradients(network, images, weights), jit_compile=True)()
    for one, other in zip(ours, gradients(plain, images, weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(4, 3, dilation_rate=2),
        keras.layers.Conv2D(4, 3, groups=2),
        keras.layers.DepthwiseConv2D(3),
    ],
    ids=["dilated", "grouped", "depthwise"],
)
def test_others_compute_as_ever(layer):
    model = model_of(layer)
    network = FlatNetwork(model)
    np.testing.assert_allclose(network(network.weights(), tf.constant(IMAGES)), model(IMAGES), rtol=1e-5, atol=1e-5)


def test_the_layers_are_what_they_were_afterwards(tmp_path):
    model = model_of(keras.layers.Conv2D(4, 3))
    before = dict(vars(model.layers[0]))
    with pytest.raises(KeyError), quick_convolutions(model):
        raise KeyError
    assert vars(model.layers[0]) == before
    operations(model)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(IMAGES), model(IMAGES))


def test_several_members_at_once():
    network, images = FlatNetwork(model_of(keras.layers.Conv2D(4, 3, 2))), tf.constant(IMAGES)
    weights = tf.stack([network.weights(), 2 * network.weights()])

    def function(weights):
        return gradients(network, images, weights)

    together = tf.function(
        lambda: tf.vectorized_map(function, weights, fallback_to_while_loop=False), jit_compile=True
    )()
    for member in range(2):
        for one, other in zip(together, function(weights[member]), strict=True):
            np.testing.assert_allclose(one[member], other, rtol=1e-3, atol=1e-3)
