"""V-trace: targets and advantages for a policy from the steps of another one."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from rlsample import checks
from rlsample.learning.returns import Number, backward_recurrence, continuation
from rlsample.ops.over_time import later
from rlsample.types import TensorLike


class VTrace(NamedTuple):
    """What learning from another policy's steps aims at, float `[T, ...]` each.

    Attributes:
        target: v_t, of the values.
        advantage: of the actions; multiplied by the truncated ratio of the policies already.

    Examples:
        >>> from rlsample.learning.v_trace import v_trace
        >>> result = v_trace([0.0], [1.0], [0.5], [2.0], terminated=[False], truncated=[False], discount=0.5)
        >>> print(result.target.numpy(), result.advantage.numpy())
        [2.] [1.5]
    """

    target: tf.Tensor
    advantage: tf.Tensor


def v_trace(
    log_ratio: TensorLike,
    rewards: TensorLike,
    values: TensorLike,
    next_values: TensorLike,
    terminated: TensorLike,
    truncated: TensorLike,
    discount: Number,
    trace_decay: Number = 1.0,
    max_ratio: float = 1.0,
    max_trace: float = 1.0,
) -> VTrace:
    """Targets and advantages for a policy pi from the steps of another one, mu: V-trace.

        v_t = V_t + delta_t + gamma c_t (v_{t+1} - V_{t+1}),  delta_t = rho_t (r_t + gamma V_{t+1} - V_t)
        A_t = rho_t (r_t + gamma v_{t+1} - V_t)
        rho_t = min(max_ratio, pi / mu),  c_t = lambda min(max_trace, pi / mu)

    With `max_ratio` without bound the fixed point is the value of pi; with 1 it is that of a policy between mu and pi,
    and the variance is bounded. Where pi is mu and lambda is 1 the target is the discounted return.

    Args:
        log_ratio: log pi(a|s) - log mu(a|s), float `[T, ...]`.
        rewards: float `[T, ...]`.
        values: V, float `[T, ...]`, of the observations acted on.
        next_values: float `[T, ...]`, of what each step led to.
        terminated: bool `[T, ...]`.
        truncated: bool `[T, ...]`.
        discount: gamma, in [0, 1].
        trace_decay: lambda, in [0, 1].
        max_ratio: rho-bar, positive.
        max_trace: c-bar, positive, at most `max_ratio`.

    Returns:
        `VTrace`; no gradient flows through it.

    Raises:
        ValueError: a bound that is not positive, or a trace longer than the ratio.

    Source: Espeholt et al. (2018), IMPALA, arXiv 1802.01561, section 4.1, equation 1; lambda as in its appendix A.

    Examples:
        >>> from rlsample.learning.v_trace import v_trace
        >>> never, values = [False, False], [0.5, 0.5]
        >>> for log_ratio in ([0.0, 0.0], [-1.0, -1.0]):  # the policy itself; one that takes these actions less often
        ...     print(v_trace(log_ratio, [1.0, 1.0], values, values, never, never, discount=0.5).target.numpy())
        [1.625 1.25 ]
        [0.827 0.776]
    """
    if not 0 < max_trace <= max_ratio:
        raise checks.invalid("0 < max_trace <= max_ratio", max_trace=max_trace, max_ratio=max_ratio)
    inputs = (log_ratio, rewards, values, next_values)
    log_ratio, rewards, values, next_values = (tf.stop_gradient(tf.convert_to_tensor(each)) for each in inputs)
    goes_on, bootstraps = continuation(rewards, terminated, truncated)
    # Bounded before exp, which would overflow.
    ratio = tf.exp(tf.minimum(log_ratio, math.log(max_ratio)))
    trace = trace_decay * tf.exp(tf.minimum(log_ratio, math.log(max_trace)))
    next_values = tf.where(bootstraps, next_values, tf.zeros_like(rewards))
    differences = ratio * (rewards + discount * next_values - values)
    corrections = backward_recurrence(differences, discount * trace * goes_on)
    following = next_values + goes_on * later(corrections, 1)
    return VTrace(values + corrections, ratio * (rewards + discount * following - values))
