"""Features of like size, whatever the units of the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

EPSILON = 1e-4
"""Added to the variance: features that hardly vary are not blown up."""


LIMIT = 10.0
"""Normalised features further from 0 are clipped."""


class Statistics(NamedTuple):
    """What has been seen of observations of a shape.

    Attributes:
        count: float32 scalar, rows seen.
        mean: float32 `[*shape]`.
        variance: float32 `[*shape]`, of the population.

    Examples:
        >>> from rlsample.learning.normalization import start_statistics, update_statistics
        >>> statistics = update_statistics(start_statistics([1]), tf.constant([[1.0], [3.0]]))
        >>> float(statistics.count), statistics.mean.numpy(), statistics.variance.numpy()
        (2.0, array([2.], dtype=float32), array([1.], dtype=float32))
    """

    count: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor


def start_statistics(shape: Sequence[int]) -> Statistics:
    """The statistics before any row, under which `normalize` is the identity but for clipping.

    Examples:
        >>> from rlsample.learning.normalization import normalize, start_statistics
        >>> print(normalize(tf.constant([[1.0, -2.0]]), start_statistics([2])).numpy())
        [[ 1. -2.]]
    """
    return Statistics(tf.zeros([]), tf.zeros(shape), tf.ones(shape))


def normalize(features: tf.Tensor, statistics: Statistics, limit: float = LIMIT) -> tf.Tensor:
    """Centres and scales features `[..., *shape]`.

        y = clip((x - mean) / sqrt(variance + 1e-4), -limit, limit)

    Where a value is clipped no gradient flows.

    Examples:
        >>> from rlsample.learning.normalization import Statistics, normalize
        >>> statistics = Statistics(tf.constant(100.0), mean=tf.constant([5.0]), variance=tf.constant([4.0]))
        >>> print(normalize(tf.constant([[5.0], [7.0], [1e6]]), statistics).numpy().ravel())
        [ 0.  1. 10.]
    """
    scaled = (features - statistics.mean) * tf.math.rsqrt(statistics.variance + EPSILON)
    return tf.clip_by_value(scaled, -limit, limit)


def update_statistics(statistics: Statistics, features: tf.Tensor) -> Statistics:
    """Takes features `[..., *shape]` into the statistics, every row with equal weight.

    Source: Chan, Golub and LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample variances.

    Examples:
        >>> from rlsample.learning.normalization import start_statistics, update_statistics
        >>> statistics = start_statistics([1])
        >>> for batch in ([[1.0], [3.0]], [[5.0]]):
        ...     statistics = update_statistics(statistics, tf.constant(batch))
        >>> print(statistics.mean.numpy(), statistics.variance.numpy())
        [3.] [2.667]
    """
    rows = tf.reshape(tf.stop_gradient(features), [-1, *statistics.mean.shape])
    mean, variance = tf.nn.moments(rows, 0)
    added = tf.cast(tf.shape(rows)[0], tf.float32)
    share = added / (statistics.count + added)
    difference = mean - statistics.mean
    spread = (1 - share) * statistics.variance + share * variance + share * (1 - share) * tf.square(difference)
    return Statistics(statistics.count + added, statistics.mean + share * difference, spread)


@keras.saving.register_keras_serializable(package="rlsample")
class RunningNormalization(keras.layers.Layer):
    """`normalize` as a Keras layer, by the statistics of all that it has been shown.

    Several models may share one layer, and then see the same features. Its statistics are weights that are not trained,
    so they are saved with the model; `update` works in eager, graph and XLA code.

    Args:
        limit: values further from 0 are clipped; there, no gradient flows.
        **kwargs: as of every Keras layer.

    Examples:
        >>> from rlsample.learning.normalization import RunningNormalization
        >>> layer = RunningNormalization()
        >>> layer.build((None, 1))
        >>> layer.update(tf.constant([[4.0], [6.0]]))
        >>> print(layer(tf.constant([[5.0], [6.0]])).numpy().ravel())
        [0. 1.]
    """

    def __init__(self, limit: float = LIMIT, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the statistics of features `[B, *shape]`."""
        self.count = self.add_weight(name="count", initializer="zeros", trainable=False)
        self.mean = self.add_weight(name="mean", shape=input_shape[1:], initializer="zeros", trainable=False)
        self.variance = self.add_weight(name="variance", shape=input_shape[1:], initializer="ones", trainable=False)

    @property
    def statistics(self) -> Statistics:
        """The statistics as they are now."""
        return Statistics(*map(tf.convert_to_tensor, (self.count, self.mean, self.variance)))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Normalises `[B, *shape]`."""
        return normalize(features, self.statistics, self.limit)

    def update(self, features: tf.Tensor) -> None:
        """Takes `[..., *shape]` into the statistics; see `update_statistics`."""
        self.assign(update_statistics(self.statistics, features))

    def assign(self, statistics: Statistics) -> None:
        """Replaces the statistics."""
        for weight, value in zip((self.count, self.mean, self.variance), statistics, strict=True):
            weight.assign(value)

    def get_config(self) -> dict[str, object]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "limit": self.limit}


def normalized(model: keras.Model, layer: RunningNormalization) -> keras.Model:
    """A model that sees its observations, floats `[B, *shape]` and its first input, through the layer.

    Examples:
        >>> from rlsample.learning.normalization import RunningNormalization, normalized
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> normalized(model, RunningNormalization())(tf.ones([3, 4])).shape
        TensorShape([3, 2])
    """
    first, *others = (keras.Input(batch_shape=each.shape, dtype=each.dtype) for each in model.inputs)
    if others:
        return keras.Model((first, *others), model((layer(first), *others)))
    return keras.Model(first, model(layer(first)))
