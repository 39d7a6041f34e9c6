"""Our side of the Nature torso: forward, backward and a step, in a compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import networks
from rlsample.learning.loops import repeat
from rlsample.networks.flat import FlatNetwork


def prepare(rows: int, size: int, steps: int, convolution: str = "quick") -> Callable[[], None]:
    """One call makes `steps` steps of gradient descent on images `[rows, size, size, 4]`.

    Args:
        rows: of a batch.
        size: side of the images.
        steps: of the loop.
        convolution: "quick" for the library's, "plain" for TensorFlow's own gradient.
    """
    space = gym.spaces.Box(0.0, 1.0, (size, size, 4), np.float32)
    stack = {"filters": (32, 64, 64), "kernel_sizes": (8, 4, 3), "strides": (4, 2, 1), "hidden_sizes": (512,)}
    model = networks.model_of(networks.create({"name": "convolutional", **stack}), space)
    network = FlatNetwork(model)
    images = tf.constant(np.random.default_rng(0).random((rows, size, size, 4)), tf.float32)

    def features(weights: Any) -> tf.Tensor:
        if convolution == "quick":
            return network(weights, images)
        return model.stateless_call(network.split(weights), [], images)[0]

    def descend(index: tf.Tensor, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = tf.reduce_mean(tf.square(features(weights)))
        slope = tape.gradient(loss, weights)
        return tf.nest.map_structure(lambda weight, change: weight - 1e-3 * change, weights, slope)

    program = tf.function(lambda weights: repeat(descend, steps, weights), jit_compile=True, autograph=False)
    weights = network.weights()

    def run() -> None:
        for weight in tf.nest.flatten(program(weights)):
            np.asarray(weight)

    run()
    return run
