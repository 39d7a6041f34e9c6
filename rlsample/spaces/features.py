"""Observations of any kind as vectors of floats, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import tree as nest

from rlsample.spaces import observations


def described(space: gym.Space) -> list[dict[str, Any]]:
    """How each part of an observation becomes floats, in the order in which `tf.nest` flattens the tree.

    Returns:
        `{"sizes": [n, ...], "starts": [s, ...]}` for categories that count from s, which become one-hots;
        `{"scale": float, "size": D}` for numbers, which are multiplied: bytes are divided by the largest that their
        space declares.

    Raises:
        ValueError: a part of the space that is no array; names it.

    Examples:
        >>> from rlsample.spaces.features import described
        >>> described(gym.spaces.Dict(key=gym.spaces.Discrete(3), speed=gym.spaces.Box(-1, 1, (2,))))
        [{'sizes': [3], 'starts': [0]}, {'scale': 1.0, 'size': 2}]
    """
    return [_description(part) for part in observations.parts(space)]


def width(parts: Sequence[dict[str, Any]]) -> int:
    """D, of what `described` says.

    Examples:
        >>> from rlsample.spaces.features import described, width
        >>> width(described(gym.spaces.MultiDiscrete([3, 4])))
        7
    """
    return sum(part["size"] if "scale" in part else sum(part["sizes"]) for part in parts)


def flat(parts: Sequence[dict[str, Any]], observation: Any) -> np.ndarray:
    """Float32 `[B, D]`: the parts of an observation side by side.

    Args:
        parts: as `described` has them.
        observation: a tree of arrays `[B, ...]`.

    Examples:
        >>> from rlsample.spaces.features import described, flat
        >>> space = gym.spaces.Dict(key=gym.spaces.Discrete(3), speed=gym.spaces.Box(-1, 1, (2,)))
        >>> flat(described(space), {"key": np.array([2]), "speed": np.array([[0.5, -0.5]])})
        array([[ 0. ,  0. ,  1. ,  0.5, -0.5]], dtype=float32)
    """
    columns = []
    for part, values in zip(parts, nest.flatten(observation), strict=True):
        if "scale" in part:
            columns.append(values.reshape(-1, part["size"]).astype(np.float32) * np.float32(part["scale"]))
        else:
            indices = values.reshape(-1, len(part["sizes"])) - np.asarray(part["starts"], values.dtype)
            columns += [indices[:, [column]] == np.arange(size) for column, size in enumerate(part["sizes"])]
    return np.concatenate(columns, -1, dtype=np.float32)


def _description(part: gym.Space) -> dict[str, Any]:
    match part:
        case gym.spaces.Discrete():
            return {"sizes": [int(part.n)], "starts": [int(part.start)]}
        case gym.spaces.MultiDiscrete():
            return {"sizes": part.nvec.ravel().tolist(), "starts": part.start.ravel().tolist()}
    scale = 1.0 / max(int(part.high.max()), 1) if part.dtype == np.uint8 else 1.0
    return {"scale": scale, "size": math.prod(part.shape)}
