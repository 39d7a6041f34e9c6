"""Actions drawn uniformly at times, in compiled code."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample import ops
from rlsample.in_graph.environment import draw_index
from rlsample.spaces import Factors


def explore(act: Any, factors: Factors, probability: tf.Tensor) -> Any:
    """Acts, but with a probability draws uniformly among the legal actions: in each environment by itself.

    Args:
        act: to act by otherwise: an `in_graph_collector.Act`, or a `RememberingAct`, which remembers in either case.
        factors: of the actions.
        probability: float scalar.

    Returns:
        What takes and gives what `act` does.

    Examples:
        >>> from rlsample.rollouts.off_policy.exploring import explore
        >>> def act(observation, mask, seed): return tf.zeros([8], tf.int32)
        >>> at_times = explore(act, spaces.factorise(gym.spaces.Discrete(5)), tf.constant(0.5))
        >>> at_times(tf.zeros([8, 4]), None, (0, 1)).shape
        TensorShape([8])
    """

    def mixed(observation: Any, mask: tf.Tensor | None, seed: tf.Tensor, *memory: tf.Tensor) -> Any:
        act_seed, noise_seed, choice_seed = tf.unstack(ops.split(seed, 3))
        chosen = act(observation, mask, act_seed, *memory)
        action = chosen[0] if memory else chosen
        if mask is None:
            uniform = draw_index(tf.constant(factors.sizes), [action.shape[0], factors.num_factors], noise_seed)
            uniform = tf.reshape(uniform, action.shape)
        else:
            noise = tf.where(mask, ops.uniform(mask.shape, noise_seed), -1.0)
            uniform = tf.argmax(noise, -1, output_type=tf.int32)
        explores = ops.uniform([action.shape[0], *[1] * len(factors.action_shape)], choice_seed) < probability
        action = tf.where(explores, uniform, action)
        return (action, *chosen[1:]) if memory else action

    return mixed
