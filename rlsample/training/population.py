"""Several members in one compiled program: the same network and the same update for each, with weights of its own.

S members with E environments each are stepped as S * E environments, those of the first member first. A single member
costs nothing: its axis is taken off before, and put on again after, every computation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from rlsample import checks


class StackedModel:
    """S models of one architecture, with their weights stacked.

    Attributes:
        models: the models; their own weights are as of the last `publish`.
        size: S.
        trainable_variables: one variable `[S, ...]` for each weight of a model.

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
        columns = zip(*(model.trainable_variables for model in models), strict=True)
        self.trainable_variables = [
            tf.Variable(tf.stack([tf.convert_to_tensor(weight) for weight in column])) for column in columns
        ]

    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        """Every member's model on the rows of its own environments: `[T, S * E, D]` -> `[T, S * E, ...]`."""
        rows = for_each_member(self.member, self.size)(self.trainable_variables, split_rows(features, self.size))
        return join_rows(rows, features.shape[0])

    def member(self, weights: Sequence[tf.Tensor], features: tf.Tensor) -> tf.Tensor:
        """One member's model as a pure function of its weights: features `[n, D]` -> `[n, ...]`."""
        fixed = [variable.value for variable in self.models[0].non_trainable_variables]
        return self.models[0].stateless_call(weights, fixed, features)[0]

    def publish(self) -> None:
        """Copies the weights into the models."""
        for index, stacked in enumerate(self.trainable_variables):
            for value, model in zip(stacked.numpy(), self.models, strict=True):
                model.trainable_variables[index].assign(value)


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
