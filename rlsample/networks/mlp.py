"""Multilayer perceptrons."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import keras

from rlsample.networks.base import DenseNetwork, inputs_of, registry
from rlsample.networks.flattening import flat


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class MLP(DenseNetwork):
    """A multilayer perceptron on the observation as one vector: categories as one-hots, several parts side by side.

    Examples:
        >>> space = gym.spaces.Tuple([gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Discrete(5)])
        >>> model = networks.model_of(networks.MLP(hidden_sizes=(64, 32)), space)
        >>> model((tf.zeros([2, 3]), tf.zeros([2], tf.int64))).shape
        TensorShape([2, 32])
    """

    name: ClassVar[str] = "mlp"

    def fitted(
        self, space: gym.Space, hidden_sizes: Sequence[int] = (64, 64), activation: str = "tanh", **defaults: Any
    ) -> MLP:
        """See `Network.fitted`."""
        return self._decided(hidden_sizes=tuple(hidden_sizes), activation=activation)

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        inputs = inputs_of(space)
        return keras.Model(inputs, self.fitted(space).dense(flat(inputs, space)))
