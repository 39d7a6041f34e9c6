"""How much better the actions of a rollout were than the policy's mean, whoever took them."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rlsample.learning.returns import continuation, generalized_advantage_estimation
from rlsample.learning.v_trace import v_trace
from rlsample.ops.over_time import later
from rlsample.rollouts.transition import DistantTransition, Transition
from rlsample.types import Rollout


class Advantages(NamedTuple):
    """What there is to learn of a rollout, float `[T, B]` each.

    Attributes:
        advantage: of the actions.
        target: of the values.
        weight: what a step counts in the policy's loss where an earlier policy may have taken it; None if none did.

    Examples:
        >>> from rlsample.rollouts.advantages import Advantages
        >>> Advantages(advantage=tf.constant([[0.5]]), target=tf.constant([[1.0]])).weight is None
        True
    """

    advantage: tf.Tensor
    target: tf.Tensor
    weight: tf.Tensor | None = None


def advantages(
    rollout: Rollout, transitions: Transition | DistantTransition, discount: float, trace_decay: float
) -> Advantages:
    """Generalized advantage estimation; by V-trace where an earlier policy took the steps.

        A_t = r_t + gamma (V_{t+1} + lambda (v_{t+1} - V_{t+1})) - V_t,  weight w_t = min(1, pi / mu)

    with V-trace's targets v and the policy mu that took the step. The policy's loss is the mean of w times that of its
    own steps. The weight is no part of the advantage: a constant that is subtracted from all advantages, as
    standardizing does, would not vanish from the gradient. Where nothing lags both are the same.

    Args:
        rollout: with the values and log-probabilities of the policy pi that learns.
        transitions: what it was made of.
        discount: gamma.
        trace_decay: lambda.

    Source: Hilton et al. (2022), Batch size-invariance for policy optimization, arXiv 2110.00641, section 3 (a policy
    that acted apart from the one that bounds the steps); Espeholt et al. (2018), IMPALA, arXiv 1802.01561 (v, and that
    the weight is at most 1).

    Examples:
        >>> from rlsample.rollouts.advantages import advantages
        >>> from rlsample.types import Rollout
        >>> names = ["reward", "value", "next_value", "terminated", "truncated"]
        >>> columns = tf.constant([[[1.0]], [[0.5]], [[0.0]], [[1.0]], [[0.0]]])
        >>> parts = dict.fromkeys(Rollout._fields) | dict(zip(names, tf.unstack(columns)))
        >>> parts |= {"terminated": tf.constant([[True]]), "truncated": tf.constant([[False]])}
        >>> advantages(Rollout(**parts), None, discount=0.99, trace_decay=0.95).advantage.numpy()
        array([[0.5]], dtype=float32)
    """
    steps = rollout.reward, rollout.value, rollout.next_value, rollout.terminated, rollout.truncated
    if not (isinstance(transitions, DistantTransition) and transitions.lags):
        advantage = generalized_advantage_estimation(*steps, discount, trace_decay)
        return Advantages(advantage, rollout.value + advantage)
    log_ratio = rollout.log_prob - transitions.log_prob
    target = v_trace(log_ratio, *steps, discount, trace_decay).target
    goes_on, bootstraps = continuation(rollout.reward, rollout.terminated, rollout.truncated)
    following = tf.where(bootstraps, rollout.next_value, 0.0)
    following += trace_decay * goes_on * later(target - rollout.value, 1)
    advantage = rollout.reward + discount * following - rollout.value
    return Advantages(advantage, target, tf.exp(tf.minimum(log_ratio, 0.0)))
