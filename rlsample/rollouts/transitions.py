"""What collectors give, and what the networks that collected it add: the `Rollout` to learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import tensorflow as tf

from rlsample.learning.loops import repeat
from rlsample.rollouts.transition import DistantTransition, Transition
from rlsample.spaces import Factors, observations
from rlsample.types import Rollout


def specs(space: gym.Space, factors: Factors) -> Transition:
    """What each field of a transition of one environment is: trees of `tf.TensorSpec`, without `B`.

    Examples:
        >>> from rlsample.rollouts.transitions import specs
        >>> env = gym.make("CartPole-v1")
        >>> specs(env.observation_space, spaces.factorise(env.action_space)).next_observation
        TensorSpec(shape=(4,), dtype=tf.float32, name=None)
    """
    observation, event, scalar = observations.specs(space), factors.event_shape, tf.TensorSpec((), tf.bool)
    return Transition(
        observation=observation,
        mask=tf.TensorSpec(event, tf.bool),
        action=tf.TensorSpec(factors.action_shape, tf.int32),
        reward=tf.TensorSpec((), tf.float32),
        next_observation=observation,
        next_mask=tf.TensorSpec(event, tf.bool),
        terminated=scalar,
        truncated=scalar,
        valid=scalar,
    )


def over_steps(function: Callable[[Any], tf.Tensor], steps: Any) -> tf.Tensor:
    """Applies a function of rows, a tree of tensors `[n, ...]`, to steps `[T, B, ...]`, as T x B rows at once.

    Examples:
        >>> from rlsample.rollouts.transitions import over_steps
        >>> over_steps(keras.layers.Dense(3), tf.zeros([5, 2, 4])).shape
        TensorShape([5, 2, 3])
    """
    values = function(tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *part.shape[2:]]), steps))
    return tf.reshape(values, [*tf.nest.flatten(steps)[0].shape[:2], *values.shape[1:]])


def finite_steps(steps: Any) -> tf.Tensor:
    """0 for each step `[T, B]` of a tree of tensors `[T, B, ...]` in which all numbers are finite, else NaN or inf.

    Examples:
        >>> from rlsample.rollouts.transitions import finite_steps
        >>> observation = tf.constant([[[0.0, np.inf]], [[1.0, -1.0]]])
        >>> finite_steps({"observation": observation, "action": tf.constant([[1], [0]])}).numpy()
        array([[inf],
               [ 0.]], dtype=float32)
    """
    sums = [tf.reduce_sum(part, range(2, part.shape.rank)) for part in tf.nest.flatten(steps) if part.dtype.is_floating]
    return tf.add_n(sums) if sums else tf.zeros(tf.nest.flatten(steps)[0].shape[:2])


def swap_axes(steps: tf.Tensor) -> tf.Tensor:
    """`[T, B, ...]` <-> `[B, T, ...]`.

    Examples:
        >>> from rlsample.rollouts.transitions import swap_axes
        >>> swap_axes(tf.zeros([5, 2, 4])).shape
        TensorShape([2, 5, 4])
    """
    return tf.transpose(steps, [1, 0, *range(2, steps.shape.rank)])


def to_rollout(
    transitions: Transition | DistantTransition,
    log_prob: Callable[[Any, tf.Tensor | None, tf.Tensor], tf.Tensor],
    value: Callable[[Any], tf.Tensor],
    max_truncations: int | None = None,
) -> Rollout:
    """Adds to transitions what the networks that collected them say: the `Rollout` to learn from.

    One batch of T x B rows for each network is quicker than T batches of B rows while collecting.

    Args:
        transitions: from any collector, tensors `[T, B, ...]`.
        log_prob: (observations `[T, B, ...]`, mask, action) -> `[T, B]`.
        value: observations `[t, B, ...]` -> `[t, B]`, for any t; of several agents, as log-probabilities, `[t, B, N]`.
        max_truncations: how often one environment can run out of time in T steps; None if that is not known, which no
            population can compute with.

    Examples:
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> from rlsample.rollouts.in_numpy.actor import uniform_actions
        >>> from rlsample.rollouts.transitions import to_rollout
        >>> envs, noise = gym.make_vec("CartPole-v1", num_envs=2), np.random.default_rng(0)
        >>> collector = GymnasiumCollector(envs, spaces.factorise(envs.single_action_space), seed=0)
        >>> steps = collector.collect(lambda observation, mask: uniform_actions(noise, mask), num_steps=6)
        >>> rollout = to_rollout(
        ...     tf.nest.map_structure(tf.constant, steps),
        ...     log_prob=lambda observation, mask, action: tf.fill(action.shape, np.log(0.5)),
        ...     value=lambda observation: 10 * observation[..., 2],
        ... )
        >>> rollout.value.shape, rollout.next_value.shape
        (TensorShape([6, 2]), TensorShape([6, 2]))
    """
    values = value(transitions.observation)
    return Rollout(
        observation=transitions.observation,
        mask=transitions.mask,
        action=transitions.action,
        log_prob=log_prob(transitions.observation, transitions.mask, transitions.action),
        reward=transitions.reward,
        value=values,
        next_value=_next_values(transitions, values, value, max_truncations),
        terminated=transitions.terminated,
        truncated=transitions.truncated,
        valid=transitions.valid,
    )


def _next_values(
    transitions: Transition | DistantTransition,
    values: tf.Tensor,
    value: Callable[[Any], tf.Tensor],
    max_truncations: int | None,
) -> tf.Tensor:
    """Values of `next_observation`, with the network run only where they are not the next row's `values`.

    That is in the last row and where an episode was truncated: few rows, so they are looked up one per environment at
    a time, until none is left.
    """
    following = transitions.next_observation
    last = tf.nest.map_structure(lambda part: part[-1:], following)
    shifted = tf.concat([values[1:], value(last)], 0)
    count = tf.cumsum(tf.cast(transitions.truncated, tf.int32))  # which truncation of its environment a row is

    def fill(index: tf.Tensor, filled: tf.Tensor) -> tf.Tensor:
        here = transitions.truncated & (count == index + 1)
        final = tf.nest.map_structure(lambda part: _only(part, here), following)
        return tf.where(tf.reshape(here, [*here.shape, *[1] * (filled.shape.rank - 2)]), value(final), filled)

    return repeat(fill, tf.reduce_max(count) if max_truncations is None else max_truncations, shifted)


def _only(part: tf.Tensor, here: tf.Tensor) -> tf.Tensor:
    """Of steps `[T, B, ...]` the one of each environment that `here` `[T, B]` marks: `[1, B, ...]`; else zeros."""
    marked = tf.reshape(here, [*here.shape, *[1] * (part.shape.rank - 2)])
    if part.dtype == tf.bool:
        return tf.reduce_any(part & marked, 0, keepdims=True)
    return tf.reduce_sum(tf.where(marked, part, tf.zeros([], part.dtype)), 0, keepdims=True)
