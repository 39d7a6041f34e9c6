"""Returns and advantages of a rollout: pure functions of `[T, ...]` tensors, without a loop over time.

All of them are one recurrence, x_t = increment_t + decay_t x_{t+1}, which `backward_recurrence` solves in log2(T) steps
over whole arrays: under XLA far quicker than T steps over rows.

Ends of episodes: after a row that is `terminated` nothing more is earned; a row that is `truncated` goes on as if the
value of the observation it led to had been paid out. So `next_values` must be those of the final observation there,
not of the next episode's first one. The last row of a rollout bootstraps from its `next_values` too.
"""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

from rlsample import checks
from rlsample.ops.over_time import later
from rlsample.types import TensorLike

Number: TypeAlias = float | tf.Tensor


def backward_recurrence(increments: TensorLike, decays: TensorLike) -> tf.Tensor:
    """Solves x_t = increments_t + decays_t x_{t+1} backwards from x_T = 0.

    Args:
        increments: float `[T, ...]`; T known when traced.
        decays: float of the same shape; finite, usually in [0, 1].

    Returns:
        x, float `[T, ...]`. A NaN reaches all rows before it, whatever the decays between.

    Raises:
        ValueError: shapes that differ, or T not known.

    Source: Blelloch (1990), Prefix sums and their applications, section 1.4; the doubling is Hillis and Steele's.

    Examples:
        >>> from rlsample.learning.returns import backward_recurrence
        >>> print(backward_recurrence([1.0, 1.0, 1.0], [0.5, 0.5, 0.5]).numpy())
        [1.75 1.5  1.  ]
    """
    x = tf.convert_to_tensor(increments)
    decays = tf.convert_to_tensor(decays, x.dtype)
    if not x.shape.rank or x.shape[0] is None or not x.shape.is_compatible_with(decays.shape):
        raise checks.invalid(
            "increments and decays of one shape [T, ...], T known",
            increments=tuple(x.shape),
            decays=tuple(decays.shape),
        )
    # Before a round with shift s, x_t holds the sum of the s terms from t on, and decays_t the product of their decays.
    shift, length = 1, x.shape[0]
    while shift < length:
        x += decays * later(x, shift)
        decays *= later(decays, shift)
        shift *= 2
    return x


def discounted_returns(
    rewards: TensorLike, next_values: TensorLike, terminated: TensorLike, truncated: TensorLike, discount: Number
) -> tf.Tensor:
    """Discounted sums of rewards to the end of the episode, or to a bootstrap where the rollout or the time ends.

        G_t = r_t + gamma G_{t+1}

    Args:
        rewards: float `[T, ...]`.
        next_values: float `[T, ...]`, value of what each step led to; used in truncated rows and in the last one.
        terminated: bool `[T, ...]`.
        truncated: bool `[T, ...]`.
        discount: gamma, in [0, 1].

    Returns:
        float `[T, ...]`.

    Examples:
        >>> from rlsample.learning.returns import discounted_returns
        >>> never = [False, False, False]
        >>> print(discounted_returns([1.0, 1.0, 1.0], [0.0, 0.0, 8.0], never, never, 0.5).numpy())
        [2.75 3.5  5.  ]
        >>> print(discounted_returns([1.0, 1.0, 1.0], [0.0, 0.0, 8.0], [False, True, False], never, 0.5).numpy())
        [1.5 1.  5. ]
    """
    return lambda_returns(rewards, next_values, terminated, truncated, discount, 1.0)


def lambda_returns(
    rewards: TensorLike,
    next_values: TensorLike,
    terminated: TensorLike,
    truncated: TensorLike,
    discount: Number,
    trace_decay: Number,
) -> tf.Tensor:
    """The mix of all n-step returns with weights (1 - lambda) lambda^(n-1).

        G_t = r_t + gamma ((1 - lambda) v_{t+1} + lambda G_{t+1})

    Args:
        rewards: float `[T, ...]`.
        next_values: float `[T, ...]`, value of what each step led to.
        terminated: bool `[T, ...]`.
        truncated: bool `[T, ...]`.
        discount: gamma, in [0, 1].
        trace_decay: lambda, in [0, 1]: 0 is the one-step return, 1 the discounted sum.

    Returns:
        float `[T, ...]`.

    Source: Sutton and Barto (2018), Reinforcement learning: an introduction, section 12.1.

    Examples:
        >>> from rlsample.learning.returns import lambda_returns
        >>> never = [False, False, False]
        >>> for trace_decay in (0.0, 0.5, 1.0):
        ...     print(lambda_returns([1.0, 1.0, 1.0], [0.0, 0.0, 8.0], never, never, 0.5, trace_decay).numpy())
        [1. 1. 5.]
        [1.562 2.25  5.   ]
        [2.75 3.5  5.  ]
    """
    rewards = tf.convert_to_tensor(rewards)
    goes_on, bootstraps = continuation(rewards, terminated, truncated)
    next_values = tf.where(bootstraps, next_values, tf.zeros_like(rewards))
    # What does not go on as a return (an end, or the last row) counts as a value. Selected, not
    # multiplied by 0: a value that does not count may be NaN.
    weight = trace_decay * goes_on
    counted = tf.where(weight < 1, (1 - weight) * next_values, tf.zeros_like(rewards))
    return backward_recurrence(rewards + discount * counted, discount * weight)


def imagined_returns(
    rewards: tf.Tensor, next_values: tf.Tensor, goes_on: tf.Tensor, discount: Number, trace_decay: Number
) -> tf.Tensor:
    """`lambda_returns` where an episode only ends with some probability, as a model says: differentiable in it too.

        G_t = r_t + gamma c_t ((1 - lambda) v_{t+1} + lambda G_{t+1}),  G_T = v_T

    Args:
        rewards: float `[T, ...]`.
        next_values: float `[T, ...]`, value of what each step led to.
        goes_on: c, float `[T, ...]`, probability that the episode goes on after a step.
        discount: gamma, in [0, 1].
        trace_decay: lambda, in [0, 1].

    Returns:
        float `[T, ...]`.

    Source: Hafner et al. (2020), Dream to control, arXiv 1912.01603, equation 6; with c, Hafner et al. (2021), arXiv
    2010.02193, equation 4.

    Examples:
        >>> from rlsample.learning.returns import imagined_returns
        >>> rewards, next_values = tf.constant([1.0, 1.0, 1.0]), tf.constant([0.0, 0.0, 8.0])
        >>> print(imagined_returns(rewards, next_values, tf.constant([1.0, 0.5, 1.0]), 0.5, 1.0).numpy())
        [2.125 2.25  5.   ]
    """
    weight = tf.concat([tf.fill(tf.shape(goes_on[:-1]), trace_decay), tf.zeros_like(goes_on[-1:])], 0)
    decay = discount * goes_on
    return backward_recurrence(rewards + decay * (1 - weight) * next_values, decay * weight)


def leave_one_out_advantages(returns: tf.Tensor, size: int) -> tf.Tensor:
    """What each return has over the mean of the others of its group: independent rollouts from one state.

    Args:
        returns: float `[T, B]`; rows of the batch side by side make a group.
        size: rows in each, at least 2.

    Returns:
        float `[T, B]`.

    Source: Kool, van Hoof and Welling (2019), "Buy 4 REINFORCE samples, get a baseline for free!".

    Examples:
        >>> from rlsample.learning.returns import leave_one_out_advantages
        >>> print(leave_one_out_advantages(tf.constant([[1.0, 3.0, 10.0, 10.0]]), size=2).numpy())
        [[-2.  2.  0.  0.]]
    """
    groups = tf.reshape(returns, [returns.shape[0], -1, size])
    others = (tf.reduce_sum(groups, -1, keepdims=True) - groups) / (size - 1)
    return tf.reshape(groups - others, returns.shape)


def n_step_returns(
    rewards: TensorLike,
    next_values: TensorLike,
    terminated: TensorLike,
    truncated: TensorLike,
    discount: Number,
    num_steps: int,
) -> tf.Tensor:
    """Discounted sums of the next n rewards plus the value then; fewer where the episode or the rollout ends first.

        G_t = r_t + gamma r_{t+1} + ... + gamma^{n-1} r_{t+n-1} + gamma^n v_{t+n}

    Args:
        rewards: float `[T, ...]`.
        next_values: float `[T, ...]`, value of what each step led to.
        terminated: bool `[T, ...]`.
        truncated: bool `[T, ...]`.
        discount: gamma, in [0, 1].
        num_steps: n, at least 1.

    Returns:
        float `[T, ...]`.

    Source: Sutton and Barto (2018), Reinforcement learning: an introduction, section 7.1.

    Examples:
        >>> from rlsample.learning.returns import n_step_returns
        >>> never = [False, False, False]
        >>> print(n_step_returns([1.0, 1.0, 1.0], [4.0, 4.0, 8.0], never, never, 0.5, num_steps=2).numpy())
        [2.5 3.5 5. ]
    """
    rewards = tf.convert_to_tensor(rewards)
    goes_on, bootstraps = continuation(rewards, terminated, truncated)
    next_values = tf.where(bootstraps, next_values, tf.zeros_like(rewards))
    returns = rewards + discount * next_values
    for _ in range(checks.check_count("num_steps", num_steps) - 1):
        returns = rewards + discount * tf.where(goes_on > 0, later(returns, 1), next_values)
    return returns


def generalized_advantage_estimation(
    rewards: TensorLike,
    values: TensorLike,
    next_values: TensorLike,
    terminated: TensorLike,
    truncated: TensorLike,
    discount: Number,
    trace_decay: Number,
) -> tf.Tensor:
    """Advantages as exponentially weighted sums of temporal differences.

        A_t = delta_t + gamma lambda A_{t+1},  delta_t = r_t + gamma v_{t+1} - v_t

    `A_t + v_t` is the lambda-return, the target of the values.

    Args:
        rewards: float `[T, ...]`.
        values: float `[T, ...]`, of the observations acted on.
        next_values: float `[T, ...]`, of what each step led to.
        terminated: bool `[T, ...]`.
        truncated: bool `[T, ...]`.
        discount: gamma, in [0, 1].
        trace_decay: lambda, in [0, 1]: 0 is the one-step difference, 1 the whole return minus the value.

    Returns:
        float `[T, ...]`.

    Source: Schulman et al. (2016), High-dimensional continuous control using generalized advantage estimation, arXiv
    1506.02438, equation 16.

    Examples:
        >>> from rlsample.learning.returns import generalized_advantage_estimation
        >>> never, values = [False, False, False], [2.0, 2.0, 2.0]
        >>> print(generalized_advantage_estimation([1.0, 1.0, 3.0], values, values, never, never, 0.5, 0.9).numpy())
        [0.405 0.9   2.   ]
    """
    rewards = tf.convert_to_tensor(rewards)
    goes_on, bootstraps = continuation(rewards, terminated, truncated)
    differences = rewards + discount * tf.where(bootstraps, next_values, tf.zeros_like(rewards)) - values
    return backward_recurrence(differences, discount * (trace_decay * goes_on))


def continuation(rewards: tf.Tensor, terminated: TensorLike, truncated: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether the next row continues the episode (1.0 or 0.0), and whether the next value counts (bool).

    Examples:
        >>> from rlsample.learning.returns import continuation
        >>> goes_on, counts = continuation(tf.zeros([3]), [True, False, False], [False, False, False])
        >>> print(goes_on.numpy(), counts.numpy())  # the first row ends an episode, the last one the rollout
        [0. 1. 0.] [False  True  True]
    """
    terminated, truncated = tf.cast(terminated, tf.bool), tf.cast(truncated, tf.bool)
    goes_on = tf.cast(~(terminated | truncated), rewards.dtype)
    last = tf.zeros_like(goes_on[-1:])
    return tf.concat([goes_on[:-1], last], 0), ~terminated
