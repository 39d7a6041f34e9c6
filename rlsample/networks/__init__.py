"""Observation space -> Keras model: networks that are their own configuration.

network = networks.create("convolutional")  # or {"name": "mlp", "hidden_sizes": [64, 64]}, or a Keras model
model = networks.model_of(network, env.observation_space)  # observations as they are -> features [B, D]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from rlsample.networks.base import ACTIVATIONS, Network, registry
from rlsample.networks.convolutional import Convolutional
from rlsample.networks.grid import Grid
from rlsample.networks.joined import Automatic, Joined
from rlsample.networks.keras_model import KerasModel
from rlsample.networks.mlp import MLP
from rlsample.networks.modelling import model_of, on_features, recurrent_model_of, with_outputs
from rlsample.networks.recurrent import Recurrent

get, names, register = registry.get, registry.names, registry.register


def create(config: str | Mapping[str, Any] | Network | keras.Model | None = None) -> Network:
    """Builds a network from its name, from `{"name": ..., **options}`, or from a Keras model.

    Without a name, or from None, it is the one that suits the observations. A network is returned as it is.

    Raises:
        ValueError: an unknown name or option (with the nearest one suggested), or a value that the network refuses.

    Examples:
        >>> networks.create({"name": "mlp", "hidden_sizes": [64, 64]}).hidden_sizes
        (64, 64)
        >>> networks.create().name  # whatever suits the observations
        'automatic'
        >>> networks.create("convolutionl")
        Traceback (most recent call last):
            ...
        ValueError: Unknown network 'convolutionl'. Did you mean 'convolutional'? Choose one of: ...
    """
    if isinstance(config, keras.Model):
        return KerasModel(architecture=config)
    if config is None or (isinstance(config, Mapping) and "name" not in config):
        config = {"name": Automatic.name, **(config or {})}
    return registry.create(config)


__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Automatic",
    "Convolutional",
    "Grid",
    "Joined",
    "KerasModel",
    "Network",
    "Recurrent",
    "create",
    "get",
    "model_of",
    "names",
    "on_features",
    "recurrent_model_of",
    "register",
    "with_outputs",
]
