"""Observation space -> flat float32 features, for the networks of the example agents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks
from rlsample.spaces.parts import as_array


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
    """Flattens one observation or a batch of them; discrete values become one-hots.

    Which of the two it is, is told by the shapes: a part `[*shape]` of the space has that shape in a single
    observation, and `[B, *shape]` in a batch. Parts of a Tuple or Dict must all be one or the other.

    Args:
        space: the space of one observation.
        observations: one observation of the space, or a batch, as a vector environment returns it.

    Returns:
        float32 `[B, feature_size(space)]`; `[feature_size(space)]` for one observation.

    Raises:
        ValueError: a part that is neither one observation nor a batch, or NaN or inf in one; names the part, or the
            row, before any network sees it.
    """
    features = _flatten(space, observations, "observation")
    if not (finite := np.isfinite(features)).all():
        if features.ndim == 1:
            raise checks.invalid("a finite observation", features=features.tolist())
        row = int(np.flatnonzero(~finite.all(-1))[0])
        raise checks.invalid("finite observations", environment=row, features=features[row].tolist())
    return features


def _flatten(space: gym.Space, observations: Any, path: str) -> np.ndarray:
    match space:
        case gym.spaces.Tuple():
            if not isinstance(observations, (tuple, list)) or len(observations) != len(space.spaces):
                rule = f"{path} to be a tuple of {len(space.spaces)} entries"
                raise checks.invalid(rule, **_described(observations))
            pairs = zip(space.spaces, observations, strict=True)
            return _joined(path, [(f"{path}[{i}]", *pair) for i, pair in enumerate(pairs)])
        case gym.spaces.Dict():
            if not isinstance(observations, Mapping) or not space.spaces.keys() <= observations.keys():
                raise checks.invalid(
                    f"{path} to be a dict with the keys {list(space.spaces)}", **_described(observations)
                )
            return _joined(path, [(f"{path}[{key!r}]", part, observations[key]) for key, part in space.spaces.items()])
    values = _rows(space, observations, path)
    match space:
        case gym.spaces.Discrete():
            return _one_hot(values, space.start, space.n)
        case gym.spaces.MultiDiscrete():
            sizes = zip(space.start.ravel(), space.nvec.ravel(), strict=True)
            return np.concatenate([_one_hot(values[..., i : i + 1], *size) for i, size in enumerate(sizes)], -1)
    return values.astype(np.float32, copy=False)


def _rows(space: gym.Space, observations: Any, path: str) -> np.ndarray:
    """An array of one observation, flat `[N]`, or of a batch, `[B, N]`."""
    values = as_array(observations, path)
    shape = space.shape or ()
    batch = values.shape[: values.ndim - len(shape)]
    if len(batch) > 1 or values.shape != (*batch, *shape):
        rows = f"({', '.join(['B', *map(str, shape)])}{'' if shape else ','})"
        raise checks.invalid(f"{path} to have shape {shape}, or {rows} in a batch", shape=values.shape, space=space)
    return values.reshape(*batch, math.prod(shape))


def _joined(path: str, entries: list[tuple[str, gym.Space, Any]]) -> np.ndarray:
    """The features of the parts (path, space, observations), one after another."""
    parts = {name: _flatten(part, observations, name) for name, part, observations in entries}
    batches: dict[str, Any] = {name: features.shape[:-1] for name, features in parts.items()}
    if len(set(batches.values())) > 1:
        raise checks.invalid(f"the parts of {path} to be all of one observation, or all of one batch", **batches)
    return np.concatenate(list(parts.values()), -1)


def _described(observations: Any) -> dict[str, Any]:
    """What an error says of something that has not the nesting of its space."""
    if isinstance(observations, Mapping):
        return {"keys": list(observations)}
    if isinstance(observations, (tuple, list)):
        return {"entries": len(observations)}
    return {"type": type(observations).__name__}


def _one_hot(values: np.ndarray, start: int, size: int) -> np.ndarray:
    """Integers `[..., 1]` counted from `start` -> float32 `[..., size]`."""
    return (values == start + np.arange(size)).astype(np.float32)
