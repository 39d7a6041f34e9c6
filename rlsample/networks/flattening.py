"""Observations of any kind side by side in one vector of floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample.spaces import features, observations


@keras.saving.register_keras_serializable(package="rlsample")
class Flattening(keras.layers.Layer):
    """A tree of observations -> float32 `[B, D]`, its parts side by side; each row flat.

    A categorical part, Discrete or MultiDiscrete, becomes one-hots. Numbers are taken as they are; bytes are divided by
    the largest that their space declares.

    Args:
        parts: what `spaces.features.described` says of the space.
        **kwargs: as of every Keras layer.
    """

    def __init__(self, parts: Sequence[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = [dict(part) for part in parts]

    @property
    def size(self) -> int:
        """D."""
        return features.width(self.parts)

    def build(self, input_shape: Any) -> None:
        """There are no weights."""

    def call(self, observation: Any) -> tf.Tensor:
        """The features."""
        flat = []
        for part, values in zip(self.parts, tf.nest.flatten(observation), strict=True):
            if "scale" in part:
                numbers = tf.cast(tf.reshape(values, [-1, part["size"]]), tf.float32)
                flat.append(numbers if part["scale"] == 1.0 else numbers * part["scale"])
            else:
                indices = tf.reshape(values, [-1, len(part["sizes"])]) - tf.constant(part["starts"], values.dtype)
                flat += [tf.one_hot(indices[:, column], size) for column, size in enumerate(part["sizes"])]
        return flat[0] if len(flat) == 1 else tf.concat(flat, -1)

    def in_numpy(self, observation: Any) -> np.ndarray:
        """The same of arrays, without TensorFlow."""
        return features.flat(self.parts, observation)

    def compute_output_spec(self, observation: Any) -> keras.KerasTensor:
        """Float32 `[B, D]`."""
        return keras.KerasTensor((keras.tree.flatten(observation)[0].shape[0], self.size), "float32")

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again."""
        return {**super().get_config(), "parts": self.parts}


def flat(inputs: Any, space: gym.Space) -> Any:
    """Features `[B, D]` of a tree of Keras inputs; a vector of floats is passed on as it is."""
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and observations.dtype_of(space) == np.float32:
        return inputs
    return flattening(space)(inputs)


def flattening(space: gym.Space) -> Flattening:
    """What makes features `[B, D]` of observations of a space.

    Raises:
        ValueError: a part of the space that is no array; names it.
    """
    return Flattening(features.described(space))
