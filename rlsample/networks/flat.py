"""A Keras model as a pure function of one vector of weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rlsample.networks.quick_convolutions import quick_convolutions


class FlatNetwork:
    """The computation of a model, with its trainable weights passed in as one vector.

    A vector rather than one tensor for each layer: the optimizer, the norm of the gradient and the compiler then have
    one array to deal with, which takes a tenth of the time of an update of a small network. Weights that are not
    trained are read from the model.

    Attributes:
        model: whose layers compute; its own weights are as of the last `assign`.

    Args:
        model: a built model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]

    def weights(self) -> tf.Tensor:
        """The model's own weights: float32 `[P]`."""
        return tf.constant(np.concatenate([np.reshape(weight, -1) for weight in self.model.trainable_variables]))

    def split(self, weights: tf.Tensor) -> list[tf.Tensor]:
        """`[P]` -> the weights of each layer. To be done outside of a loop that does not change them."""
        if tf.config.list_physical_devices("GPU"):
            return self._parts(weights)

        @tf.custom_gradient
        def parts(weights: tf.Tensor) -> Any:
            def gradient(*upstream: tf.Tensor) -> tf.Tensor:
                return tf.concat([_apart(each) for each in upstream], 0)

            return self._parts(weights), gradient

        return parts(weights)

    def _parts(self, weights: tf.Tensor) -> list[tf.Tensor]:
        parts = zip(tf.split(weights, self._sizes), self._shapes, strict=True)
        return [tf.reshape(part, shape) for part, shape in parts]

    def apply(self, layers: list[tf.Tensor], *inputs: Any) -> tf.Tensor:
        """The model's outputs, with the weights that `split` gave."""
        fixed = [variable.value for variable in self.model.non_trainable_variables]
        with quick_convolutions(self.model):
            return self.model.stateless_call(layers, fixed, *inputs)[0]

    def __call__(self, weights: tf.Tensor, *inputs: Any) -> tf.Tensor:
        """The model's outputs, with weights `[P]`."""
        return self.apply(self.split(weights), *inputs)

    def at(self, weights: tf.Tensor) -> Callable[..., tf.Tensor]:
        """The function of inputs alone that `weights` `[P]` make of the model."""
        layers = self.split(weights)
        return lambda *inputs: self.apply(layers, *inputs)

    def assign(self, weights: tf.Tensor) -> None:
        """Copies weights `[P]` into the model."""
        parts = np.split(np.asarray(weights), np.cumsum(self._sizes)[:-1])
        for variable, part in zip(self.model.trainable_variables, parts, strict=True):
            variable.value.assign(part.reshape(variable.shape))  # half the time of Keras's own assign


def _apart(gradient: tf.Tensor) -> tf.Tensor:
    """The gradient of one layer's weights as a vector, which a compiler on a CPU computes by itself.

    That of a bias is a sum over rows. XLA would compute the sum inside of the kernel that writes the whole vector,
    which then takes several times as long as all else in an update of two layers of 256 units. It keeps matrix products
    apart, and 1 u + 1 0 is u, infinite and NaN too.
    """
    if gradient.shape.rank != 1:
        return tf.reshape(gradient, [-1])
    rows = tf.stack([gradient, tf.zeros_like(gradient)])
    return tf.reshape(tf.matmul(tf.ones([1, 2], gradient.dtype), rows), [-1])
