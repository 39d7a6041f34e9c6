"""A Keras model as a pure function of one vector of weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rlsample.networks.quick_convolutions import quick_convolutions

LARGE = 2**18
"""Weights of a layer from which on it stands by itself: to copy it costs more than what one array saves."""


class FlatNetwork:
    """The computation of a model, with its trainable weights passed in as one vector.

    A vector rather than one tensor for each layer: the optimizer, the norm of the gradient and the compiler then have
    one array to deal with, which takes a tenth of the time of an update of a small network. A model with layers of
    `LARGE` weights or more has a list instead: the vector of all others, and those layers as they are. Weights that are
    not trained are read from the model.

    Attributes:
        model: whose layers compute; its own weights are as of the last `assign`.

    Args:
        model: a built model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        self._large = [math.prod(shape) >= LARGE for shape in shapes]
        self._shapes = [shape for shape, large in zip(shapes, self._large, strict=True) if not large]
        self._sizes = [math.prod(shape) for shape in self._shapes]

    def weights(self) -> Any:
        """The model's own weights: float32 `[P]`, or a list of such a vector and the large ones."""
        pairs = list(zip(map(np.asarray, self.model.trainable_variables), self._large, strict=True))
        vector = [np.zeros(0, np.float32), *(np.reshape(weight, -1) for weight, large in pairs if not large)]
        others = [tf.constant(weight) for weight, large in pairs if large]
        return [tf.constant(np.concatenate(vector)), *others] if others else tf.constant(np.concatenate(vector))

    def split(self, weights: Any) -> list[tf.Tensor]:
        """The weights of each layer, of what `weights` gave. To be done outside of a loop that does not change them."""
        vector, *others = weights if any(self._large) else [weights]
        return self._in_order(self._split(vector), others)

    def _in_order(self, small: Iterable[Any], others: Iterable[Any]) -> list[Any]:
        small, others = iter(small), iter(others)
        return [next(others) if large else next(small) for large in self._large]

    def _split(self, vector: tf.Tensor) -> list[tf.Tensor]:
        if tf.config.list_physical_devices("GPU"):
            return self._parts(vector)

        @tf.custom_gradient
        def parts(vector: tf.Tensor) -> Any:
            def gradient(*upstream: tf.Tensor) -> tf.Tensor:
                return tf.concat([_apart(each) for each in upstream], 0)

            return self._parts(vector), gradient

        return parts(vector)

    def _parts(self, vector: tf.Tensor) -> list[tf.Tensor]:
        parts = zip(tf.split(vector, self._sizes), self._shapes, strict=True)
        return [tf.reshape(part, shape) for part, shape in parts]

    def apply(self, layers: list[tf.Tensor], *inputs: Any) -> tf.Tensor:
        """The model's outputs, with the weights that `split` gave."""
        fixed = [variable.value for variable in self.model.non_trainable_variables]
        with quick_convolutions(self.model):
            return self.model.stateless_call(layers, fixed, *inputs)[0]

    def __call__(self, weights: Any, *inputs: Any) -> tf.Tensor:
        """The model's outputs, with what `weights` gave."""
        return self.apply(self.split(weights), *inputs)

    def at(self, weights: Any) -> Callable[..., tf.Tensor]:
        """The function of inputs alone that such weights make of the model."""
        layers = self.split(weights)
        return lambda *inputs: self.apply(layers, *inputs)

    def seeing(self, weights: Any, observation: Any) -> Callable[..., tf.Tensor]:
        """The function of other inputs alone that such weights and the first input make of the model."""
        layers = self.split(weights)
        return lambda *inputs: self.apply(layers, observation, *inputs)

    def assign(self, weights: Any) -> None:
        """Copies such weights into the model."""
        vector, *others = weights if any(self._large) else [weights]
        small = np.split(np.asarray(vector), np.cumsum(self._sizes)[:-1])
        for variable, part in zip(self.model.trainable_variables, self._in_order(small, others), strict=True):
            variable.value.assign(tf.reshape(part, variable.shape))  # half the time of Keras's own assign


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
