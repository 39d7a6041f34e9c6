"""Observation space -> flat float32 features, for the networks of the example agents."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks


def feature_size(space: gym.Space, path: str = "observation space") -> int:
    """How many features `encode` makes of one observation.

    Raises:
        ValueError: part of the space is not an array, a discrete value or a Tuple or Dict of those; names the path.
    """
    match space:
        case gym.spaces.Box() | gym.spaces.MultiBinary():
            return int(np.prod(space.shape))
        case gym.spaces.Discrete():
            return int(space.n)
        case gym.spaces.MultiDiscrete():
            return int(np.sum(space.nvec))
        case gym.spaces.Tuple():
            return sum(feature_size(part, f"{path}[{i}]") for i, part in enumerate(space.spaces))
        case gym.spaces.Dict():
            return sum(feature_size(part, f"{path}[{key!r}]") for key, part in space.spaces.items())
    raise checks.invalid(
        "observations that are Box, Discrete, MultiDiscrete, MultiBinary, or a Tuple or Dict of these",
        hint="Wrap the environment with gymnasium.wrappers.TransformObservation.",
        **{path.replace(" ", "_"): space},
    )


def feature_bounds(space: gym.Space) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each feature that `encode` gives, by the space: float32 `[D]` each."""
    match space:
        case gym.spaces.Box():
            return space.low.reshape(-1).astype(np.float32), space.high.reshape(-1).astype(np.float32)
        case gym.spaces.Tuple() | gym.spaces.Dict():
            parts = space.spaces.values() if isinstance(space, gym.spaces.Dict) else space.spaces
            lows, highs = zip(*map(feature_bounds, parts), strict=True)
            return np.concatenate(lows), np.concatenate(highs)
    size = feature_size(space)
    return np.zeros(size, np.float32), np.ones(size, np.float32)


def encode(space: gym.Space, observations: Any) -> np.ndarray:
    """Flattens a batch of observations; discrete values become one-hots.

    Args:
        space: the space of one observation.
        observations: a batch, as a vector environment returns it.

    Returns:
        float32 `[B, feature_size(space)]`.

    Raises:
        ValueError: NaN or inf in an observation; names the row, before any network sees it.
    """
    features = _flatten(space, observations)
    if not (finite := np.isfinite(features)).all():
        row = int(np.flatnonzero(~finite.all(-1))[0])
        raise checks.invalid("finite observations", environment=row, features=features[row].tolist())
    return features


def _flatten(space: gym.Space, observations: Any) -> np.ndarray:
    match space:
        case gym.spaces.Discrete():
            return _one_hot(np.asarray(observations) - space.start, int(space.n))
        case gym.spaces.MultiDiscrete():
            values = np.asarray(observations) - space.start
            values = values.reshape(len(values), -1)
            columns = [_one_hot(values[:, i], int(n)) for i, n in enumerate(space.nvec.reshape(-1))]
            return np.concatenate(columns, -1)
        case gym.spaces.Tuple():
            return np.concatenate([_flatten(*pair) for pair in zip(space.spaces, observations, strict=True)], -1)
        case gym.spaces.Dict():
            return np.concatenate([_flatten(part, observations[key]) for key, part in space.spaces.items()], -1)
    values = np.asarray(observations, np.float32)
    return values.reshape(len(values), -1)


def _one_hot(values: np.ndarray, size: int) -> np.ndarray:
    return (values[:, None] == np.arange(size)).astype(np.float32)
