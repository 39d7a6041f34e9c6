"""The values that travel between the rooms, and the legend of their shapes.

Shapes, everywhere in the library:

    ...  any batch shape          B  batch            T  time
    K    categories               F  factors          N  samples

A seed is a stateless `int32[2]`. `action` is an integer; `one_hot` is a float that carries the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

TensorLike: TypeAlias = tf.Tensor | tf.Variable | np.ndarray | Sequence | float
Objective: TypeAlias = Callable[[tf.Tensor], tf.Tensor]


class Sample(NamedTuple):
    """A draw from a categorical policy.

    Attributes:
        action: int32 `[...]`, the category drawn; -1 marks a row whose logits were not usable (compiled code only:
            eager and graph code raise).
        one_hot: float `[..., K]` in the dtype of the logits: exactly one-hot for hard samplers, a point of the
            simplex for relaxed ones. Differentiable where the sampler is pathwise.

    Examples:
        >>> sample = samplers.create("straight_through")([[0.0, 1.0, 2.0]] * 2, seed=(0, 1))
        >>> sample.action.numpy(), sample.one_hot.shape
        (array([2, 2], dtype=int32), TensorShape([2, 3]))
    """

    action: tf.Tensor
    one_hot: tf.Tensor


class Rollout(NamedTuple):
    """T steps of B environments under one policy, whichever way they were collected.

    Attributes:
        observation: what was acted on: a tree of tensors `[T, B, ...]`.
        mask: bool `[T, B, K]` or `[T, B, F, K]`, what was legal there; None where everything always is.
        action: int32 `[T, B]` or `[T, B, F]`, factor indices.
        log_prob: float32 `[T, B]`, of the (joint) action when it was drawn.
        reward: float32 `[T, B]`.
        value: float32 `[T, B]`, of the observation.
        next_value: float32 `[T, B]`, of what the action led to: of the last observation of the episode where it ended,
            never of the next episode's first. Without meaning where terminated.
        terminated: bool `[T, B]`, the task ended: nothing more to earn.
        truncated: bool `[T, B]`, only the time did: the value of what follows counts.
        valid: bool `[T, B]`, False where the environment ignored the action to reset itself; None where all rows count.

    Examples:
        >>> from rlsample.types import Rollout
        >>> rows = tf.zeros([5, 8])
        >>> rollout = Rollout(*[rows] * 10)._replace(reward=rows + 1.0, terminated=rows > 0, mask=None, valid=None)
        >>> print(tf.reduce_sum(rollout.reward, 0).numpy())
        [5. 5. 5. 5. 5. 5. 5. 5.]
    """

    observation: tf.Tensor
    mask: tf.Tensor | None
    action: tf.Tensor
    log_prob: tf.Tensor
    reward: tf.Tensor
    value: tf.Tensor
    next_value: tf.Tensor
    terminated: tf.Tensor
    truncated: tf.Tensor
    valid: tf.Tensor | None
