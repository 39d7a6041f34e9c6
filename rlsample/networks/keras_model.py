"""A Keras model of one's own as a network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import keras

from rlsample import checks
from rlsample.networks.base import Network, registry


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class KerasModel(Network):
    """The architecture of a Keras model; each use of it has fresh weights.

    `networks.create(model)` makes one. It is saved with a run as Keras describes it, so it can be made again wherever
    its layers are known: Keras's own, and those decorated with `keras.saving.register_keras_serializable`.

    Attributes:
        architecture: the model, or what `model.to_json()` says of it as plain data.

    Examples:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16, "relu")])
        >>> network = networks.create(model)
        >>> networks.model_of(network, gym.spaces.Box(-1.0, 1.0, (3,))).output_shape
        (None, 16)
    """

    name: ClassVar[str] = "keras_model"

    architecture: Mapping[str, Any]

    def __post_init__(self) -> None:
        if isinstance(self.architecture, keras.Model):
            object.__setattr__(self, "architecture", _described(self.architecture))
        if not isinstance(self.architecture, Mapping):
            raise checks.invalid("architecture to be a Keras model, or what it is made of", value=self.architecture)

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        return _made(self.architecture)


def _described(model: keras.Model) -> dict[str, Any]:
    """The plain data that the model can be made of again; that it can is tried."""
    architecture = json.loads(model.to_json())
    _made(architecture)
    return architecture


def _made(architecture: Mapping[str, Any]) -> keras.Model:
    rule = "Expected a Keras model that can be made again from its description."
    hint = "Decorate layers of your own with keras.saving.register_keras_serializable, and import them."
    try:
        model = keras.models.model_from_json(json.dumps(architecture))
    except Exception as error:  # Keras has many kinds of them for this.
        raise ValueError(f"{rule} Received: {error}. {hint}") from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"{rule} Received: {architecture!s:.80}. {hint}")
    return model
