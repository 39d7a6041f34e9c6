"""The value of a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from rlsample import checks
from rlsample.heads.trunk import Trunk


@keras.saving.register_keras_serializable(package="rlsample")
class ValueHead(Trunk):
    """Features `[..., D]` -> value `[...]`, or several values `[..., n]` (one per action, critic or reward).

    Args:
        num_values: n; None for one value without an axis of its own.
        hidden_sizes: as in `PolicyHead`.
        activation: as in `PolicyHead`.
        kernel_gain: of the output layer's orthogonal kernel.
        **kwargs: as of every Keras layer.

    Examples:
        >>> heads.ValueHead(hidden_sizes=(16,))(tf.zeros([4, 8])).shape
        TensorShape([4])
        >>> heads.ValueHead(num_values=3)(tf.zeros([4, 8])).shape
        TensorShape([4, 3])
    """

    def __init__(
        self,
        num_values: int | None = None,
        *,
        hidden_sizes: Sequence[int] = (),
        activation: Any = "tanh",
        kernel_gain: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(hidden_sizes=hidden_sizes, activation=activation, kernel_gain=kernel_gain, **kwargs)
        self.num_values = None if num_values is None else checks.check_count("num_values", num_values)

    @property
    def units(self) -> int:
        """Width of the output layer."""
        return self.num_values or 1

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """The values, float32."""
        values = self.forward(features)
        return values[..., 0] if self.num_values is None else values

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`[...]` or `[..., n]`."""
        return (*input_shape[:-1], *([] if self.num_values is None else [self.num_values]))

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "num_values": self.num_values}
