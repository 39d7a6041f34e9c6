"""Discrete action spaces as rows of factors: what Gymnasium hands over, and what an in-graph environment takes.

A factor is one choice among `size` categories. Discrete has one; MultiDiscrete one an entry; MultiBinary one of two
categories an entry; Tuple and Dict have those of their parts, in Gymnasium's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks


def factor_sizes(space: gym.Space) -> tuple[int, ...]:
    """Returns the number of categories of each factor of a space.

    Raises:
        ValueError: the space has a part that is not discrete.
    """
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.reshape(-1))
    if isinstance(space, spaces.MultiBinary):
        return (2,) * int(np.prod(space.shape))
    if isinstance(space, (spaces.Tuple, spaces.Dict)):
        return sum((factor_sizes(part) for part in _parts(space)), ())
    raise checks.invalid("an action space of Discrete, MultiDiscrete, MultiBinary, Tuple or Dict", space=space)


def to_factors(space: gym.Space, action: Any, num_envs: int | None = None) -> np.ndarray:
    """Turns an action of a Gymnasium space into category indices that count from 0.

    Args:
        space: of one environment.
        action: an element of the space, or of its batch if `num_envs` is given.
        num_envs: B, or None for a single action.

    Returns:
        int32 `[B]` for Discrete, `[B, F]` otherwise (B = 1 for a single action).

    Raises:
        ValueError: the action is not an element of the space.
    """
    lead = () if num_envs is None else (num_envs,)
    try:
        columns = [entry.reshape(num_envs or 1, -1) for entry in _entries(space, action, lead)]
    except (TypeError, KeyError, ValueError) as error:
        raise _not_contained(space, action, num_envs) from error
    indices = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    if (indices < 0).any() or (indices >= np.asarray(factor_sizes(space))).any():
        raise _not_contained(space, action, num_envs)
    return (indices[:, 0] if isinstance(space, spaces.Discrete) else indices).astype(np.int32)


def mask_to_space(space: gym.Space, mask: np.ndarray) -> Any:
    """Turns one environment's mask, bool `[F, K]`, into the nested form that `space.sample(mask=...)` takes."""
    if isinstance(space, spaces.Discrete):
        return mask[0, : space.n].astype(np.int8)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(row[:size].astype(np.int8) for row, size in zip(mask, space.nvec, strict=True))
    if isinstance(space, spaces.MultiBinary):
        # Gymnasium's code: 0 must stay 0, 1 must be 1, 2 is free.
        return np.where(mask[:, 0] & mask[:, 1], 2, mask[:, 1]).astype(np.int8).reshape(space.shape)
    bounds = np.cumsum([0] + [len(factor_sizes(part)) for part in _parts(space)])
    nested = [mask_to_space(part, mask[a:b]) for part, a, b in zip(_parts(space), bounds, bounds[1:], strict=False)]
    return dict(zip(space.keys(), nested, strict=True)) if isinstance(space, spaces.Dict) else tuple(nested)


def weights(action: tf.Tensor, sizes: tuple[int, ...], factored: bool, dtype: tf.DType) -> tf.Tensor:
    """Returns the weight of each category: float `[B, K]`, or `[B, F, K]` if factored; see `FunctionalEnv`."""
    action = tf.convert_to_tensor(action)
    shape = [None, len(sizes)] if factored else [None]
    if action.dtype.is_floating:
        shape = [*shape, max(sizes)]
    if not action.shape.is_compatible_with(shape):
        raise checks.invalid(f"an action of shape {shape} for {action.dtype.name}", shape=action.shape.as_list())
    if action.dtype.is_floating:
        return tf.cast(action, dtype)
    one_hot = tf.one_hot(action, max(sizes), dtype=dtype)
    bounds = tf.constant(sizes if factored else sizes[0], action.dtype)
    inside = (action >= 0) & (action < bounds)
    return tf.where(inside[..., tf.newaxis], one_hot, tf.constant(np.nan, dtype))


def is_valid(action: tf.Tensor, sizes: tuple[int, ...]) -> tf.Tensor:
    """Whether each environment's action is in range (integers) or finite (floats): bool `[B]`."""
    action = tf.convert_to_tensor(action)
    if action.dtype.is_floating:
        inside = tf.math.is_finite(action)
    else:
        bounds = tf.constant(sizes if action.shape.rank > 1 else sizes[0], action.dtype)
        inside = (action >= 0) & (action < bounds)
    return tf.reduce_all(inside, axis=list(range(1, inside.shape.rank)))


def _parts(space: gym.Space) -> Iterable[gym.Space]:
    return space.values() if isinstance(space, spaces.Dict) else space.spaces


def _entries(space: gym.Space, action: Any, lead: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yields the integers of each leaf space, counted from 0; raises TypeError, KeyError or ValueError otherwise."""
    if isinstance(space, (spaces.Tuple, spaces.Dict)):
        keys: Iterable[Any] = space.keys() if isinstance(space, spaces.Dict) else range(len(space.spaces))
        if len(action) != len(space.spaces):
            raise ValueError
        for key, part in zip(keys, _parts(space), strict=True):
            yield from _entries(part, action[key], lead)
        return
    entry = np.asarray(action)
    if entry.dtype.kind not in "iu" or entry.shape != (*lead, *space.shape):
        raise ValueError
    yield entry.astype(np.int64) - getattr(space, "start", 0)


def _not_contained(space: gym.Space, action: Any, num_envs: int | None) -> ValueError:
    whole = f"an element of {space}" if num_envs is None else f"a batch of {num_envs} elements of {space}"
    return checks.invalid(f"action to be {whole}", action=action)
