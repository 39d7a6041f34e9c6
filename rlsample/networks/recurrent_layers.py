"""The layers of networks with a memory: cells of Keras over the steps of rollouts, in which episodes begin and end."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from rlsample import ops


class OverSteps(keras.layers.Layer, abc.ABC):
    """A cell over T steps of B environments, each of which forgets where an episode begins.

    Attributes:
        cell: whose weights it uses.
        parts: arrays of H numbers that the cell remembers, the hidden state first; S = parts * H.

    Args:
        units: H.
        span: the steps after which the slowest unit has forgotten all but 1/e, before training, by the bias of its
            gates: Tallec and Ollivier (2018), Can recurrent neural networks warp time?, arXiv 1804.11188.
        **kwargs: as of every Keras layer.
    """

    cell: Any
    parts: ClassVar[int]

    def __init__(self, units: int, span: int, **kwargs: Any) -> None:
        # What is remembered is float32 whatever the features are: rounding errors would add up over an episode.
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.units, self.span = units, span

    @abc.abstractmethod
    def _once(self, features: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """The state `[B, S]` after a single step."""

    @abc.abstractmethod
    def _often(self, inputs: tf.Tensor, state: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        """The states `[T, B, S]` for the products of the features with the input kernel `[T, B, G H]`."""

    def first_bias(self) -> np.ndarray:
        """log(t_i - 1) `[H]`, with t_i from 2 to the span: unit i is to keep 1 - 1 / t_i of what it remembers."""
        return np.log(np.linspace(1, self.span - 1, self.units))

    def build(self, features: tuple[int | None, ...], *others: Any) -> None:
        """Makes the weights of the cell for features `[n, D]`."""
        self.cell.build(features)

    def call(self, features: tf.Tensor, state: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        """The state after every step.

        Args:
            features: float `[T * B, D]`, the B rows of the first step first. T known when traced.
            state: before the first step, float `[B, S]`.
            starts: bool `[T, B]`, whether an episode begins at the step.

        Returns:
            float `[T * B, S]`.
        """
        if starts.shape[0] == 1:
            return self._once(features, tf.where(starts[0][:, None], 0.0, state))
        inputs = tf.matmul(features, self.cell.kernel.value)
        inputs = tf.reshape(inputs, [starts.shape[0], -1, inputs.shape[-1]])
        return tf.reshape(self._often(inputs, state, starts), [-1, self.parts * self.units])

    def compute_output_spec(self, features: Any, state: Any, starts: Any) -> keras.KerasTensor:
        """Float `[T * B, S]`."""
        return keras.KerasTensor((features.shape[0], self.parts * self.units), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "units": self.units, "span": self.span}


@keras.saving.register_keras_serializable(package="rlsample")
class Recurrence(OverSteps):
    """A `keras.layers.GRUCell` over steps; the bias of its update gate is `first_bias`.

    Examples:
        >>> from rlsample.networks.recurrent_layers import Recurrence
        >>> layer, starts = Recurrence(units=3, span=12), tf.zeros([5, 2], tf.bool)
        >>> layer(tf.ones([5 * 2, 4]), tf.zeros([2, 3]), starts).shape  # 5 steps of 2 environments
        TensorShape([10, 3])
    """

    parts = 1

    def __init__(self, units: int, span: int, **kwargs: Any) -> None:
        super().__init__(units, span, **kwargs)
        self.cell = keras.layers.GRUCell(units, bias_initializer=self._initial, dtype=self.dtype_policy)

    def _initial(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        bias = np.zeros(shape)
        bias[0, : self.units] = self.first_bias()
        return tf.constant(bias, dtype)

    def _once(self, features: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        return self.cell(features, state)[0]

    def _often(self, inputs: tf.Tensor, state: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        bias, recurrent_bias = tf.unstack(self.cell.bias.value)
        return ops.gated_recurrence(inputs + bias, self.cell.recurrent_kernel.value, recurrent_bias, state, starts)


@keras.saving.register_keras_serializable(package="rlsample")
class LongShortTermMemory(OverSteps):
    """A `keras.layers.LSTMCell` over steps, which remembers its hidden state and, behind it, its cell state.

    The bias of its forget gate is `first_bias`, that of its input gate minus it.

    Examples:
        >>> from rlsample.networks.recurrent_layers import LongShortTermMemory
        >>> layer, starts = LongShortTermMemory(units=3, span=12), tf.zeros([5, 2], tf.bool)
        >>> layer(tf.ones([5 * 2, 4]), tf.zeros([2, 6]), starts).shape  # 5 steps of 2 environments
        TensorShape([10, 6])
    """

    parts = 2

    def __init__(self, units: int, span: int, **kwargs: Any) -> None:
        super().__init__(units, span, **kwargs)
        self.cell = keras.layers.LSTMCell(
            units, bias_initializer=self._initial, unit_forget_bias=False, dtype=self.dtype_policy
        )

    def _initial(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        keep = self.first_bias()
        return tf.constant(np.concatenate([-keep, keep, np.zeros(2 * self.units)]), dtype)

    def _once(self, features: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        return tf.concat(self.cell(features, tf.split(state, 2, -1))[1], -1)

    def _often(self, inputs: tf.Tensor, state: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        kernel, (hidden, cell) = self.cell.recurrent_kernel.value, tf.split(state, 2, -1)
        return tf.concat(ops.long_short_term_memory(inputs + self.cell.bias.value, kernel, hidden, cell, starts), -1)


@keras.saving.register_keras_serializable(package="rlsample")
class FirstColumns(keras.layers.Layer):
    """The first columns of an array: of what a network remembers, the part that its features are.

    Args:
        number: how many.
        **kwargs: as of every Keras layer.

    Examples:
        >>> from rlsample.networks.recurrent_layers import FirstColumns
        >>> FirstColumns(2)(tf.constant([[1.0, 2.0, 3.0, 4.0]])).numpy()
        array([[1., 2.]], dtype=float32)
    """

    def __init__(self, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """`[n, S]` -> `[n, number]`."""
        return values[:, : self.number]

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again."""
        return {**super().get_config(), "number": self.number}


CELLS: dict[str, type[OverSteps]] = {"gru": Recurrence, "lstm": LongShortTermMemory}
"""The layers by the names of their cells."""
