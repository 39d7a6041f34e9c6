"""Features of like size, whatever the units of the environment."""

from __future__ import annotations

import keras
import tensorflow as tf

EPSILON = 1e-4
"""Added to the variance: features that hardly vary are not blown up."""


@keras.saving.register_keras_serializable(package="rlsample")
class RunningNormalization(keras.layers.Layer):
    """Centres and scales features by the mean and variance of all that it has been shown; the identity before that.

        y = clip((x - mean) / sqrt(variance + 1e-4), -limit, limit)

    Several models may share one layer, and then see the same features. Its statistics are weights that are not trained,
    so they are saved with the model; `update` works in eager, graph and XLA code.

    Args:
        limit: values further from 0 are clipped; there, no gradient flows.
        **kwargs: as of every Keras layer.
    """

    def __init__(self, limit: float = 10.0, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the statistics of features `[..., D]`."""
        self.count = self.add_weight(name="count", initializer="zeros", trainable=False)
        self.mean = self.add_weight(name="mean", shape=input_shape[-1:], initializer="zeros", trainable=False)
        self.variance = self.add_weight(name="variance", shape=input_shape[-1:], initializer="ones", trainable=False)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Normalises `[..., D]`."""
        scaled = (features - self.mean) * tf.math.rsqrt(self.variance + EPSILON)
        return tf.clip_by_value(scaled, -self.limit, self.limit)

    def update(self, features: tf.Tensor) -> None:
        """Takes `[..., D]` into the statistics, every row with equal weight.

        Source: Chan, Golub and LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample
        variances.
        """
        rows = tf.reshape(tf.stop_gradient(features), [-1, features.shape[-1]])
        mean, variance = tf.nn.moments(rows, 0)
        added = tf.cast(tf.shape(rows)[0], tf.float32)
        share = added / (self.count + added)
        difference = mean - self.mean
        self.variance.assign(
            (1 - share) * self.variance + share * variance + share * (1 - share) * tf.square(difference)
        )
        self.mean.assign_add(share * difference)
        self.count.assign_add(added)

    def get_config(self) -> dict[str, object]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "limit": self.limit}


def normalized(model: keras.Model, layer: RunningNormalization) -> keras.Model:
    """A model that sees its features `[B, D]` through the layer."""
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, model(layer(inputs)))
