"""How much better the actions of a rollout were than the policy's mean, whoever took them."""

from __future__ import annotations

import tensorflow as tf

from rlsample.learning.returns import generalized_advantage_estimation
from rlsample.learning.v_trace import v_trace
from rlsample.rollouts.transition import DistantTransition, Transition
from rlsample.types import Rollout


def advantages(
    rollout: Rollout, transitions: Transition | DistantTransition, discount: float, trace_decay: float
) -> tf.Tensor:
    """Generalized advantage estimation; V-trace where an earlier policy took the steps: float `[T, B]`.

    Where nothing lags both are the same: V-trace's target minus the value is then the sum of discounted differences,
    decayed by lambda, that generalized advantage estimation is.

    Args:
        rollout: with the values and log-probabilities of the policy that learns.
        transitions: what it was made of.
        discount: gamma.
        trace_decay: lambda.

    Examples:
        >>> from rlsample.rollouts.advantages import advantages
        >>> from rlsample.types import Rollout
        >>> names = ["reward", "value", "next_value", "terminated", "truncated"]
        >>> columns = tf.constant([[[1.0]], [[0.5]], [[0.0]], [[1.0]], [[0.0]]])
        >>> parts = dict.fromkeys(Rollout._fields) | dict(zip(names, tf.unstack(columns)))
        >>> parts |= {"terminated": tf.constant([[True]]), "truncated": tf.constant([[False]])}
        >>> advantages(Rollout(**parts), None, discount=0.99, trace_decay=0.95).numpy()
        array([[0.5]], dtype=float32)
    """
    steps = rollout.reward, rollout.value, rollout.next_value, rollout.terminated, rollout.truncated
    if isinstance(transitions, DistantTransition) and transitions.lags:
        log_ratio = rollout.log_prob - transitions.log_prob
        return v_trace(log_ratio, *steps, discount, trace_decay).target - rollout.value
    return generalized_advantage_estimation(*steps, discount, trace_decay)
