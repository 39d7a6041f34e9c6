"""What every head is made of: hidden layers and a linear output in float32."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from rlsample import checks, ops


class Trunk(keras.layers.Layer, abc.ABC):
    """Hidden layers and one linear output layer; base class of the heads.

    Matrix products run in the compute dtype of the layer's policy (bfloat16 under `mixed_bfloat16`); the output is
    widened to float32 (float64 for float64), since softmax and sampling need the precision.

    Args:
        hidden_sizes: widths of the hidden layers; none by default, the features then come from a network of your own.
        activation: of the hidden layers.
        kernel_gain: of the output layer's orthogonal kernel (the hidden ones have sqrt(2)); where it is small, the
            untrained policy is close to uniform.
        **kwargs: as of every Keras layer (`name`, `dtype`, `trainable`).
    """

    def __init__(
        self,
        *,
        hidden_sizes: Sequence[int] = (),
        activation: Any = "tanh",
        kernel_gain: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(hidden_sizes, (list, tuple)):
            raise checks.invalid("hidden_sizes to be a list of widths", hidden_sizes=hidden_sizes)
        self.hidden_sizes = tuple(checks.check_count("hidden_sizes", size) for size in hidden_sizes)
        self.activation = keras.activations.get(activation)
        self.kernel_gain = checks.check_positive("kernel_gain", kernel_gain)
        self._hidden = [
            keras.layers.Dense(
                size,
                self.activation,
                kernel_initializer=orthogonal(2**0.5),
                dtype=self.dtype_policy,
                name=f"hidden_{i}",
            )
            for i, size in enumerate(self.hidden_sizes)
        ]
        self._output: keras.layers.Dense | None = None

    @property
    @abc.abstractmethod
    def units(self) -> int:
        """Width of the output layer."""

    @property
    def output_gain(self) -> float:
        """Gain of the output layer's kernel."""
        return self.kernel_gain

    def build(self, input_shape: Any) -> None:
        """Builds the layers for features `[..., D]`."""
        if not input_shape or input_shape[-1] is None:
            raise checks.invalid("features of a known size", shape=input_shape)
        self._output = _Output(
            self.units, kernel_initializer=orthogonal(self.output_gain), dtype=self.dtype_policy, name="output"
        )
        for layer in (*self._hidden, self._output):
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        super().build(input_shape)

    def compute_output_spec(self, *inputs: Any) -> Any:
        """What Keras is told beforehand: the shape, and float32 whatever the compute dtype (float64 for float64)."""
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        return keras.KerasTensor(self.compute_output_shape(*(each.shape for each in inputs)), dtype)

    def forward(self, features: tf.Tensor) -> tf.Tensor:
        """The output layer's values `[..., units]`, float32 at least."""
        if not features.dtype.is_floating:
            # Keras casts floats to the compute dtype by itself, but not the integers of a discrete observation.
            features = tf.cast(features, self.compute_dtype)
        for layer in self._hidden:
            features = layer(features)
        return widen(self._output(features))  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {
            **super().get_config(),
            "hidden_sizes": list(self.hidden_sizes),
            "activation": keras.activations.serialize(self.activation),
            "kernel_gain": self.kernel_gain,
        }


class _Output(keras.layers.Dense):
    """A linear layer of few units, with the matrix product that is quick for few; see `ops.narrow_matmul`."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The values `[..., units]`."""
        return ops.narrow_matmul(inputs, self.kernel) + tf.convert_to_tensor(self.bias)


def widen(tensor: tf.Tensor) -> tf.Tensor:
    """Casts to float32; float64 stays."""
    return tf.cast(tensor, tf.float64 if tensor.dtype == tf.float64 else tf.float32)


def orthogonal(gain: float) -> Callable[..., tf.Tensor]:
    """An orthogonal initializer for any dtype: Keras's own knows no bfloat16."""
    initializer = keras.initializers.Orthogonal(gain)

    def initial(shape: Any, dtype: Any = None) -> tf.Tensor:
        exact = dtype if dtype in ("float32", "float64") else "float32"
        return tf.cast(initializer(shape, exact), dtype or exact)

    return initial
