"""Networks with a memory: a gated recurrent unit on the features of the observation."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.networks.base import Network, inputs_of, registry
from rlsample.networks.joined import Automatic
from rlsample.networks.modelling import features_of


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Recurrent(Network):
    """A gated recurrent unit (GRU) on the features that another network gives; its state is the features.

    Attributes:
        units: H, numbers that it remembers.
        span: steps, at least 2. Before training the units forget at rates from one step to so many, evenly spread;
            what is to be remembered for longer is hard to learn.
        encoder: the network below it, as `networks.create` takes it; by default the one that suits the observations.

    Examples:
        >>> network = networks.Recurrent(units=16)
        >>> model = networks.recurrent_model_of(network, gym.spaces.Box(-1.0, 1.0, (3,)))
        >>> steps, envs = 5, 2
        >>> inputs = tf.zeros([steps * envs, 3]), tf.zeros([envs, 16]), tf.zeros([steps, envs], tf.bool)
        >>> features, states = model(inputs)
        >>> features.shape, states.shape
        (TensorShape([10, 16]), TensorShape([10, 16]))
    """

    name: ClassVar[str] = "recurrent"

    units: int = 64
    span: int = 32
    encoder: Network | None = None

    def __post_init__(self) -> None:
        checks.check_count("units", self.units)
        checks.check_count("span", self.span, minimum=2)
        if self.encoder is not None:
            object.__setattr__(self, "encoder", registry.create(self.encoder))

    @property
    def state_size(self) -> int:
        """See `Network.state_size`."""
        return self.units

    def fitted(self, space: gym.Space, **defaults: Any) -> Recurrent:
        """See `Network.fitted`."""
        return dataclasses.replace(self, encoder=(self.encoder or Automatic()).fitted(space, **defaults))

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        inputs = inputs_of(space), keras.Input((self.units,)), keras.Input((None,), dtype="bool")
        encoder = (self.encoder or Automatic()).fitted(space)
        features = features_of(encoder, space, inputs[0])
        states = Recurrence(self.units, self.span)(features, *inputs[1:])
        return keras.Model(inputs, (states, states))


@keras.saving.register_keras_serializable(package="rlsample")
class Recurrence(keras.layers.Layer):
    """A `keras.layers.GRUCell` over T steps of B environments, each of which forgets where an episode begins.

    Attributes:
        cell: whose weights it uses.

    Args:
        units: H.
        span: the steps after which the slowest unit has forgotten all but 1/e, before training. The bias of the update
            gate of unit i is log(t_i - 1), with t_i from 2 to the span: Tallec and Ollivier (2018), Can recurrent
            neural networks warp time?, arXiv 1804.11188.
        **kwargs: as of every Keras layer.
    """

    def __init__(self, units: int, span: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.span = span
        self.cell = keras.layers.GRUCell(units, bias_initializer=self._first_bias)

    def _first_bias(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        bias = np.zeros(shape)
        bias[0, : self.cell.units] = np.log(np.linspace(1, self.span - 1, self.cell.units))
        return tf.constant(bias, dtype)

    def build(self, features: tuple[int | None, ...], *others: Any) -> None:
        """Makes the weights of the cell for features `[n, D]`."""
        self.cell.build(features)

    def call(self, features: tf.Tensor, state: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        """The state after every step.

        Args:
            features: float `[T * B, D]`, the B rows of the first step first. T known when traced.
            state: before the first step, float `[B, H]`.
            starts: bool `[T, B]`, whether an episode begins at the step.

        Returns:
            float `[T * B, H]`.
        """
        if starts.shape[0] == 1:
            return self.cell(features, tf.where(starts[0][:, None], 0.0, state))[0]
        bias, recurrent_bias = tf.unstack(self.cell.bias.value)
        inputs = tf.matmul(features, self.cell.kernel.value) + bias
        inputs = tf.reshape(inputs, [starts.shape[0], -1, inputs.shape[-1]])
        states = ops.gated_recurrence(inputs, self.cell.recurrent_kernel.value, recurrent_bias, state, starts)
        return tf.reshape(states, [-1, self.cell.units])

    def compute_output_spec(self, features: Any, state: Any, starts: Any) -> keras.KerasTensor:
        """Float `[T * B, H]`."""
        return keras.KerasTensor((features.shape[0], self.cell.units), features.dtype)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "units": self.cell.units, "span": self.span}
