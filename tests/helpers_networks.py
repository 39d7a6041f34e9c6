"""The networks that contract tests run over, with observations they read, and an environment that shows these."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from rlsample.spaces import observations

BYTES = np.uint8


def own_model() -> keras.Model:
    """A model of somebody's own."""
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, "relu"), keras.layers.LayerNormalization()])


SMALL: dict[str, Any] = {"filters": [2], "kernel_sizes": [3], "hidden_sizes": [5]}

# One for each class in the registry, and for each way that observations take through it.
ALL_NETWORKS: dict[str, tuple[Any, gym.Space]] = {
    "mlp": ({"name": "mlp", "hidden_sizes": [5]}, Box(-1, 1, (3,))),
    "mlp, normalised": ({"name": "mlp", "layer_normalization": True, "activation": "elu"}, Discrete(4, start=2)),
    "mlp, parts": (
        {"name": "mlp"},
        Tuple((Discrete(3), MultiDiscrete([2, 3]), MultiBinary(2), Box(0, 255, (2,), BYTES))),
    ),
    "convolutional": ({"name": "convolutional", **SMALL}, Box(0, 255, (5, 6, 2), BYTES)),
    "convolutional, channels first": ({"name": "convolutional", **SMALL}, Box(0, 255, (2, 5, 6), BYTES)),
    "convolutional, flags": (
        {"name": "convolutional", **SMALL, "layer_normalization": True},
        Box(0, 1, (5, 5, 2), bool),
    ),
    "grid": ({"name": "grid", **SMALL}, Box(0, 255, (5, 5, 3), BYTES)),
    "grid, planes": ({"name": "grid", **SMALL}, Box(0, 4, (5, 5), np.int64)),
    "joined": (
        {"name": "joined", "hidden_sizes": [5], "parts": {"image": {"name": "convolutional", **SMALL}}},
        Dict(image=Box(0, 255, (5, 5, 1), BYTES), where=Tuple((Discrete(3), Box(-1, 1, (2,))))),
    ),
    "automatic": ({"hidden_sizes": [5]}, Box(-1, 1, (3,))),
    "keras_model": (own_model, Box(-1, 1, (3,))),
}


def network_and_space(name: str) -> tuple[Any, gym.Space]:
    """What `networks.create` takes, and a space that fits."""
    network, space = ALL_NETWORKS[name]
    return (network() if callable(network) else network), space


def batch_of(space: gym.Space, rows: int, seed: int = 0) -> Any:
    """Random observations `[rows, ...]` in tensors."""
    space.seed(seed)
    samples = [space.sample() for _ in range(rows)]
    batch = gym.vector.utils.concatenate(space, samples, gym.vector.utils.create_empty_array(space, rows))
    return tf.nest.map_structure(
        lambda spec, part: tf.constant(np.asarray(part).astype(spec.dtype.as_numpy_dtype)),
        observations.specs(space),
        dict(batch) if isinstance(batch, dict) else batch,
    )


class Shown(gym.Env):
    """Observations drawn from a space, episodes of three steps, and a reward for the second of two actions."""

    action_space = Discrete(2)

    def __init__(self, name: str = "mlp") -> None:
        self.observation_space = ALL_NETWORKS[name][1]
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.observation_space.sample(), float(action), self.steps == 3, False, {}


gym.register("Shown-v0", Shown)
