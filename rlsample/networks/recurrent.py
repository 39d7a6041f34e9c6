"""Networks with a memory: a recurrent cell on the features of the observation."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import gymnasium as gym
import keras

from rlsample import checks
from rlsample.networks.base import Network, inputs_of, registry
from rlsample.networks.joined import Automatic
from rlsample.networks.modelling import features_of
from rlsample.networks.recurrent_layers import CELLS, FirstColumns


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Recurrent(Network):
    """A recurrent cell on the features that another network gives; its own features are its hidden state.

    Attributes:
        cell: "gru", a gated recurrent unit, or "lstm", a long short-term memory, which remembers its cell state beside.
        units: H, the width of the features; it remembers as many numbers, as an LSTM twice as many.
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
        >>> networks.Recurrent(units=16, cell="lstm").state_size
        32
    """

    name: ClassVar[str] = "recurrent"

    cell: str = "gru"
    units: int = 64
    span: int = 32
    encoder: Network | None = None

    def __post_init__(self) -> None:
        if self.cell not in tuple(CELLS):
            raise checks.unknown("cell", self.cell, CELLS)
        checks.check_count("units", self.units)
        checks.check_count("span", self.span, minimum=2)
        if self.encoder is not None:
            object.__setattr__(self, "encoder", registry.create(self.encoder))

    @property
    def state_size(self) -> int:
        """See `Network.state_size`."""
        return CELLS[self.cell].parts * self.units

    def fitted(self, space: gym.Space, **defaults: Any) -> Recurrent:
        """See `Network.fitted`."""
        return dataclasses.replace(self, encoder=(self.encoder or Automatic()).fitted(space, **defaults))

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        inputs = inputs_of(space), keras.Input((self.state_size,)), keras.Input((None,), dtype="bool")
        encoder = (self.encoder or Automatic()).fitted(space)
        features = features_of(encoder, space, inputs[0])
        states = CELLS[self.cell](self.units, self.span)(features, *inputs[1:])
        return keras.Model(inputs, (FirstColumns(self.units)(states), states))
