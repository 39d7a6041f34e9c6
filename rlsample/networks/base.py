"""What every network is: a frozen, validated config that builds a Keras model from observations to features."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import gymnasium as gym
import keras

from rlsample import checks
from rlsample.registry import Configurable, Registry
from rlsample.spaces import observations

ACTIVATIONS = ("elu", "gelu", "leaky_relu", "linear", "relu", "selu", "sigmoid", "silu", "softplus", "tanh")
"""Keras's names of the activations that a configuration may name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network(Configurable, abc.ABC):
    """Observations of a space -> features `[B, D]`, on which agents put their own output layers.

    A subclass is a frozen dataclass whose fields are its options, checked in `__post_init__`, and which implements
    `build`. Policy, critics and their averages each build a model of their own, with weights of their own.

    Examples:
        >>> space = gym.spaces.Dict({"speed": gym.spaces.Box(-1.0, 1.0, (3,)), "gear": gym.spaces.Discrete(5)})
        >>> network = networks.create("mlp").fitted(space)
        >>> isinstance(network, networks.Network), network.hidden_sizes
        (True, (64, 64))
    """

    def fitted(self, space: gym.Space, **defaults: Any) -> Network:
        """The same network with every option decided: what the configuration leaves open follows from the space.

        Args:
            space: of one observation.
            **defaults: what an agent would have its dense layers be: `hidden_sizes`, `activation`.

        Raises:
            ValueError: the network does not fit the observations.
        """
        return self

    @property
    def state_size(self) -> int:
        """S, how many numbers it remembers of each environment from step to step; 0 for a network without memory."""
        return 0

    @abc.abstractmethod
    def build(self, space: gym.Space) -> keras.Model:
        """A model with fresh weights.

        One with a memory takes (observations `[T * B, ...]`, state before the first step `[B, S]`, bool `[T, B]`:
        whether an episode begins at the step) and returns (features `[T * B, D]`, states after each step
        `[T * B, S]`), the B rows of a step one after another. A state of zeros remembers nothing.

        Args:
            space: of one observation.

        Returns:
            Observations as they are -> features, float `[B, D]`. An observation is an array with `B` in front, in the
            shape and dtype that `spaces.observations.specs` says; a tuple or dict of them for a Tuple or Dict space.
        """


registry: Registry[Network] = Registry("network", Network)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseNetwork(Network):
    """A network that ends in dense layers: base of those of the library.

    Attributes:
        hidden_sizes: widths of the dense layers; by default the agent's, or what suits the observations.
        activation: of all hidden layers, by its Keras name; by default the agent's, or relu with convolutions.
        layer_normalization: whether each hidden layer is normalised over its units before the activation.
    """

    hidden_sizes: tuple[int, ...] | None = None
    activation: str | None = None
    layer_normalization: bool = False

    def __post_init__(self) -> None:
        self._keep_sizes("hidden_sizes")
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise checks.unknown("activation", self.activation, ACTIVATIONS)
        if not isinstance(self.layer_normalization, bool):
            raise checks.invalid("layer_normalization to be true or false", value=self.layer_normalization)

    def _keep_sizes(self, name: str) -> None:
        """Checks an option that is a list of whole numbers or None, and keeps it as a tuple."""
        value = getattr(self, name)
        if value is None:
            return
        received: dict[str, Any] = {name: value}
        if not isinstance(value, (list, tuple)):
            raise checks.invalid(f"{name} to be a list of whole numbers", **received)
        object.__setattr__(self, name, tuple(checks.check_count(name, size) for size in value))

    def _decided(self, **values: Any) -> Any:
        """A copy in which options that are None have these values."""
        return dataclasses.replace(
            self, **{name: value for name, value in values.items() if getattr(self, name) is None}
        )

    def dense(self, features: Any) -> Any:
        """The dense layers, on features `[B, D]`."""
        layers = [
            keras.layers.Dense(size, kernel_initializer=keras.initializers.Orthogonal(2**0.5))
            for size in self.hidden_sizes or ()
        ]
        for layer in layers:
            features = self.activated(layer, features)
        return features

    def activated(self, layer: keras.layers.Layer, inputs: Any) -> Any:
        """A linear layer's outputs, normalised if that is asked for, through the activation."""
        if not self.layer_normalization:
            layer.activation = keras.activations.get(self.activation)
            return layer(inputs)
        return keras.layers.Activation(self.activation)(keras.layers.LayerNormalization()(layer(inputs)))


def inputs_of(space: gym.Space) -> Any:
    """The tree of Keras inputs for observations of a space."""
    specs = observations.specs(space)

    def made(spec: Any, name: str | None = None) -> Any:
        if isinstance(spec, dict):
            return {key: made(part) for key, part in spec.items()}
        if isinstance(spec, tuple):
            return tuple(made(part) for part in spec)
        if name is None:
            return keras.Input(tuple(spec.shape), dtype=spec.dtype.name)
        if not isinstance(name, str):
            raise checks.invalid("names as the keys of what is observed", key=name, hint=f"Such as {str(name)!r}.")
        one = keras.Input(tuple(spec.shape), dtype=spec.dtype.name, name=name.replace("/", "_"))
        # Keras wants the inputs of a dict to have the names of its keys, and its layers to have none with a slash.
        one.name = name
        return one

    return {key: made(spec, key) for key, spec in specs.items()} if isinstance(specs, dict) else made(specs)
