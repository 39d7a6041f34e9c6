"""Several members in one compiled program: the same network and the same update for each, with weights of its own.

S members with E environments each are stepped as S * E environments, those of the first member first. A single member
costs nothing: its axis is taken off before, and put on again after, every computation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rlsample import checks


class StackedModel:
    """S models of one architecture, with all their weights in one variable.

    One variable rather than one for each layer: the optimizer, the norm of the gradient and the compiler then have one
    array to deal with, a tenth of the time of an update of small networks.

    Attributes:
        models: the models; their own weights are as of the last `publish`.
        size: S.
        weights: float32 `[S, P]`, the trainable weights of each model, flattened one after another.

    Args:
        models: built models. The first one's layers compute for all, and its weights that are not trained count for
            all.

    Raises:
        ValueError: no models, or models of different shapes.
    """

    def __init__(self, models: Sequence[keras.Model]) -> None:
        shapes = [[tuple(weight.shape) for weight in model.trainable_variables] for model in models]
        if not models or any(other != shapes[0] for other in shapes):
            raise checks.invalid("at least one model, all of one architecture", shapes=shapes)
        self.models = list(models)
        self.size = len(models)
        self.weights = tf.Variable(
            [np.concatenate([weight.numpy().reshape(-1) for weight in model.trainable_variables]) for model in models]
        )
        self._shapes = shapes[0]
        self._sizes = [math.prod(shape) for shape in self._shapes]

    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        """Every member's model on the rows of its own environments: `[T, S * E, D]` -> `[T, S * E, ...]`."""
        return self.snapshot()(features)

    def snapshot(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The function that calling is, with the weights as they are now.

        For a loop that does not change them: taking the weights apart there would be repeated at every turn.
        """
        layers = self._split(tf.convert_to_tensor(self.weights))

        def apply(features: tf.Tensor) -> tf.Tensor:
            rows = for_each_member(self._apply, self.size)(layers, split_rows(features, self.size))
            return join_rows(rows, features.shape[0])

        return apply

    def member(self, weights: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """One member's model as a pure function of its weights `[P]`: features `[n, D]` -> `[n, ...]`."""
        return self._apply(self._split(weights), features)

    def _apply(self, layers: list[tf.Tensor], features: tf.Tensor) -> tf.Tensor:
        fixed = [variable.value for variable in self.models[0].non_trainable_variables]
        return self.models[0].stateless_call(layers, fixed, features)[0]

    def _split(self, weights: tf.Tensor) -> list[tf.Tensor]:
        """`[..., P]` -> the weights of each layer, `[..., *shape]`."""
        parts = zip(tf.split(weights, self._sizes, -1), self._shapes, strict=True)
        return [tf.reshape(part, [*weights.shape[:-1], *shape]) for part, shape in parts]

    def publish(self) -> None:
        """Copies the weights into the models."""
        ends = np.cumsum(self._sizes)[:-1]
        for model, weights in zip(self.models, self.weights.numpy(), strict=True):
            for variable, value in zip(model.trainable_variables, np.split(weights, ends), strict=True):
                variable.value.assign(value.reshape(variable.shape))  # half the time of Keras's own assign


def for_each_member(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Makes a function of one member's tensors into one of all members', stacked along a first axis.

    Args:
        function: structures of tensors -> a structure of tensors; pure, and without random numbers of its own.
        size: S.

    Returns:
        The function of structures of tensors (or variables) `[S, ...]` that returns one of tensors `[S, ...]`.
    """

    def several(*stacked: Any) -> Any:
        return tf.vectorized_map(lambda member: function(*member), _tensors(stacked), fallback_to_while_loop=False)

    def single(*stacked: Any) -> Any:
        result = function(*tf.nest.map_structure(lambda tensor: tf.squeeze(tensor, 0), _tensors(stacked)))
        return tf.nest.map_structure(lambda tensor: tensor[None], result)

    return several if checks.check_count("size", size) > 1 else single


def split_rows(tensor: tf.Tensor, size: int) -> tf.Tensor:
    """`[T, S * E, ...]` -> `[S, T * E, ...]`: rows of each member."""
    steps, envs, *event = tensor.shape
    members = tf.reshape(tensor, [steps, size, envs // size, *event])
    return tf.reshape(_swap(members), [size, steps * envs // size, *event])


def join_rows(tensor: tf.Tensor, steps: int) -> tf.Tensor:
    """`[S, T * E, ...]` -> `[T, S * E, ...]`: the inverse of `split_rows`."""
    size, rows, *event = tensor.shape
    members = tf.reshape(tensor, [size, steps, rows // steps, *event])
    return tf.reshape(_swap(members), [steps, size * rows // steps, *event])


def _swap(tensor: tf.Tensor) -> tf.Tensor:
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def _tensors(stacked: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, stacked)
