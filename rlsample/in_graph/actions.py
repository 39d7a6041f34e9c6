"""What in-graph environments do with actions: weights of categories, validity, and masks in Gymnasium's own form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks
from rlsample.spaces import Factors, factorise


def check_shape(action: Any, factors: Factors) -> tf.Tensor:
    """Returns the action as a tensor.

    Args:
        action: integer factor indices `[B]` or `[B, F]`, or a one-hot or relaxed float `[B, K]` or `[B, F, K]`.
        factors: of the action space.

    Raises:
        ValueError: wrong rank, number of factors or number of categories.

    Examples:
        >>> from rlsample.in_graph.actions import check_shape
        >>> factors = spaces.factorise(gym.spaces.Discrete(3))
        >>> check_shape(np.array([0, 2]), factors).shape, check_shape(tf.fill([2, 3], 1 / 3), factors).shape
        (TensorShape([2]), TensorShape([2, 3]))
    """
    action = tf.convert_to_tensor(action)
    event = factors.event_shape if action.dtype.is_floating else factors.action_shape
    if not action.shape.is_compatible_with([None, *event]):
        raise checks.invalid(f"a {action.dtype.name} action of shape {('B', *event)}", shape=tuple(action.shape))
    return action


def weights(action: tf.Tensor, factors: Factors, dtype: tf.DType) -> tf.Tensor:
    """Returns the weight of each category in an action: float `[B, K]`, or `[B, F, K]` for several factors.

    Args:
        action: as `check_shape` describes it.
        factors: of the action space.
        dtype: of the result.

    Returns:
        One-hots for integers, NaN where they are out of range; a float action itself, whatever it sums to.

    Raises:
        ValueError: as `check_shape` does.

    Examples:
        >>> from rlsample.in_graph.actions import weights
        >>> factors = spaces.factorise(gym.spaces.Discrete(3))
        >>> weights(tf.constant([0, 2, 7]), factors, tf.float32).numpy()
        array([[ 1.,  0.,  0.],
               [ 0.,  0.,  1.],
               [nan, nan, nan]], dtype=float32)
    """
    action = check_shape(action, factors)
    if action.dtype.is_floating:
        return tf.cast(action, dtype)
    one_hot = tf.one_hot(action, factors.num_categories, dtype=dtype)
    return tf.where(_inside(action, factors)[..., tf.newaxis], one_hot, tf.constant(np.nan, dtype))


def is_valid(action: tf.Tensor, factors: Factors) -> tf.Tensor:
    """Whether each environment's action is in range (integers) or finite (floats): bool `[B]`.

    Examples:
        >>> from rlsample.in_graph.actions import is_valid
        >>> is_valid(tf.constant([0, 2, 7]), spaces.factorise(gym.spaces.Discrete(3))).numpy()
        array([ True,  True, False])
    """
    valid = tf.math.is_finite(action) if action.dtype.is_floating else _inside(action, factors)
    return tf.reduce_all(valid, axis=list(range(1, valid.shape.rank)))


def mask_to_space(space: gym.Space, mask: np.ndarray) -> Any:
    """Turns one environment's mask, bool `[F, K]`, into the nested form that `space.sample(mask=...)` takes.

    Examples:
        >>> from rlsample.in_graph.actions import mask_to_space
        >>> space = gym.spaces.MultiDiscrete([2, 3])
        >>> mask_to_space(space, np.array([[True, False, False], [True, True, True]]))
        (array([1, 0], dtype=int8), array([1, 1, 1], dtype=int8))
    """
    if isinstance(space, spaces.Discrete):
        return mask[0, : space.n].astype(np.int8)
    if isinstance(space, spaces.MultiDiscrete):
        rows = [row[:size].astype(np.int8) for row, size in zip(mask, space.nvec.ravel(), strict=True)]
        return _nest(space.nvec, iter(rows))
    if isinstance(space, spaces.MultiBinary):
        # Gymnasium's code: 0 must stay 0, 1 must be 1, 2 is free.
        return np.where(mask[:, 0] & mask[:, 1], 2, mask[:, 1]).astype(np.int8).reshape(space.shape)
    parts = list(space.values() if isinstance(space, spaces.Dict) else space)
    ends = np.cumsum([factorise(part).num_factors for part in parts])
    nested = [mask_to_space(part, rows) for part, rows in zip(parts, np.split(mask, ends[:-1]), strict=True)]
    return dict(zip(space.keys(), nested, strict=True)) if isinstance(space, spaces.Dict) else tuple(nested)


def _nest(nvec: np.ndarray, rows: Iterator[np.ndarray]) -> Any:
    """One row for each entry of `nvec`, in tuples nested like its axes."""
    return tuple(_nest(each, rows) for each in nvec) if nvec.ndim else next(rows)


def _inside(action: tf.Tensor, factors: Factors) -> tf.Tensor:
    sizes = tf.constant(factors.sizes[0] if factors.single else factors.sizes, action.dtype)
    return (action >= 0) & (action < sizes)
