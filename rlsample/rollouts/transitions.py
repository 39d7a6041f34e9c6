"""What collectors give, and what the networks that collected it add: the `Rollout` to learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import tensorflow as tf

from rlsample.learning.loops import repeat
from rlsample.rollouts.transition import LaggingTransition, Transition
from rlsample.spaces import Factors, observations
from rlsample.types import Rollout


def specs(space: gym.Space, factors: Factors) -> Transition:
    """What each field of a transition of one environment is: trees of `tf.TensorSpec`, without `B`."""
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
    """Applies a function of rows, a tree of tensors `[n, ...]`, to steps `[T, B, ...]`, as T x B rows at once."""
    values = function(tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *part.shape[2:]]), steps))
    return tf.reshape(values, [*tf.nest.flatten(steps)[0].shape[:2], *values.shape[1:]])


def finite_steps(steps: Any) -> tf.Tensor:
    """0 for each step `[T, B]` of a tree of tensors `[T, B, ...]` in which all numbers are finite, else NaN or inf."""
    sums = [tf.reduce_sum(part, range(2, part.shape.rank)) for part in tf.nest.flatten(steps) if part.dtype.is_floating]
    return tf.add_n(sums) if sums else tf.zeros(tf.nest.flatten(steps)[0].shape[:2])


def swap_axes(steps: tf.Tensor) -> tf.Tensor:
    """`[T, B, ...]` <-> `[B, T, ...]`."""
    return tf.transpose(steps, [1, 0, *range(2, steps.shape.rank)])


def to_rollout(
    transitions: Transition | LaggingTransition,
    log_prob: Callable[[Any, tf.Tensor | None, tf.Tensor], tf.Tensor],
    value: Callable[[Any], tf.Tensor],
    max_truncations: int | None = None,
) -> Rollout:
    """Adds to transitions what the networks that collected them say: the `Rollout` to learn from.

    One batch of T x B rows for each network is quicker than T batches of B rows while collecting.

    Args:
        transitions: from either collector, tensors `[T, B, ...]`.
        log_prob: (observations `[T, B, ...]`, mask, action) -> `[T, B]`.
        value: observations `[t, B, ...]` -> `[t, B]`, for any t.
        max_truncations: how often one environment can run out of time in T steps; None if that is not known, which no
            population can compute with.
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
    transitions: Transition | LaggingTransition,
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
        return tf.where(here, value(final), filled)

    return repeat(fill, tf.reduce_max(count) if max_truncations is None else max_truncations, shifted)


def _only(part: tf.Tensor, here: tf.Tensor) -> tf.Tensor:
    """Of steps `[T, B, ...]` the one of each environment that `here` `[T, B]` marks: `[1, B, ...]`; else zeros."""
    marked = tf.reshape(here, [*here.shape, *[1] * (part.shape.rank - 2)])
    if part.dtype == tf.bool:
        return tf.reduce_any(part & marked, 0, keepdims=True)
    return tf.reduce_sum(tf.where(marked, part, tf.zeros([], part.dtype)), 0, keepdims=True)
