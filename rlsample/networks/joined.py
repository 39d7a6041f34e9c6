"""Networks for observations of several parts, and the choice that depends on the parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import keras

from rlsample import checks
from rlsample.networks.base import DenseNetwork, Network, inputs_of, registry
from rlsample.networks.choice import for_array, only_vectors
from rlsample.networks.mlp import MLP
from rlsample.networks.modelling import features_of

HIDDEN_SIZES = (256,)


def kind_for(space: gym.Space) -> type[DenseNetwork]:
    """The kind of network for observations of a space: an `MLP` for vectors alone, a `Joined` for parts with images."""
    if isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple)):
        return MLP if only_vectors(space) else Joined
    return for_array(space)


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined(DenseNetwork):
    """An encoder for each part of a Dict or Tuple, their features side by side, then dense layers.

    Attributes:
        parts: network of each part by its key, or by its position in a Tuple: as `networks.create` takes it. A part
            that is not named gets the one that suits it, without dense layers.

    Examples:
        >>> picture, speed = gym.spaces.Box(0, 255, (84, 84, 3), np.uint8), gym.spaces.Box(-1.0, 1.0, (3,))
        >>> network = networks.Joined(hidden_sizes=(32,))
        >>> networks.model_of(network, gym.spaces.Dict({"camera": picture, "speed": speed})).output_shape
        (None, 32)
    """

    name: ClassVar[str] = "joined"

    parts: Mapping[str, Network] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.parts, Mapping):
            raise checks.invalid("parts to be a mapping of networks", parts=self.parts)
        built = {str(key): registry.create(network) for key, network in self.parts.items()}
        object.__setattr__(self, "parts", built)

    def fitted(self, space: gym.Space, **defaults: Any) -> Joined:
        """See `Network.fitted`."""
        parts = _parts_of(space)
        for key in self.parts:
            if key not in parts:
                raise checks.unknown("part of the observations", key, parts)
        chosen = {key: self.parts.get(key) or kind_for(part)(hidden_sizes=()) for key, part in parts.items()}
        fitted = {key: network.fitted(parts[key]) for key, network in chosen.items()}
        network = self._decided(hidden_sizes=HIDDEN_SIZES, activation="relu")
        return dataclasses.replace(network, parts=fitted)

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        network, inputs, parts = self.fitted(space), inputs_of(space), _parts_of(space)
        by_key = inputs if isinstance(inputs, dict) else {str(index): each for index, each in enumerate(inputs)}
        features = [features_of(network.parts[key], part, by_key[key]) for key, part in parts.items()]
        joined = keras.layers.Concatenate()(features) if len(features) > 1 else features[0]
        return keras.Model(inputs, network.dense(joined))


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Automatic(DenseNetwork):
    """The network that suits the observations; docs/own_network.md says which one that is.

    Examples:
        >>> networks.Automatic().fitted(gym.spaces.Box(-1.0, 1.0, (3,))).name
        'mlp'
        >>> networks.Automatic().fitted(gym.spaces.Box(0, 255, (84, 84, 3), np.uint8)).name
        'convolutional'
        >>> networks.Automatic().fitted(gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)).name  # MiniGrid's
        'grid'
    """

    name: ClassVar[str] = "automatic"

    def fitted(self, space: gym.Space, **defaults: Any) -> Network:
        """See `Network.fitted`."""
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return kind_for(space)(**options).fitted(space, **defaults)

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        return self.fitted(space).build(space)


def _parts_of(space: gym.Space) -> dict[str, gym.Space]:
    match space:
        case gym.spaces.Dict():
            return dict(space.spaces)
        case gym.spaces.Tuple():
            return {str(index): part for index, part in enumerate(space.spaces)}
    raise checks.invalid("observations of several parts: a Dict or a Tuple", observation=space)
