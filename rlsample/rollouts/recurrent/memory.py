"""What a network with a memory says of a rollout: sequences in which episodes begin and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rlsample.rollouts.transition import DistantTransition, Transition
from rlsample.types import Rollout

Recurrent = Callable[[Any], tuple[tf.Tensor, tf.Tensor]]
"""The model of a network with a memory: see `Network.build`."""


def ends(transitions: Transition | DistantTransition) -> tf.Tensor:
    """Bool `[T, B]`: whether nothing of the step is to be remembered at the next one.

    An episode of several agents, whose `terminated` is `[T, B, N]`, is over when the tasks of all of them are.

    Examples:
        >>> from rlsample.rollouts.recurrent.memory import ends
        >>> from rlsample.rollouts.transitions import Transition
        >>> ended = tf.constant([[False], [True], [False]])  # three steps of one environment
        >>> flags = {"terminated": ended, "truncated": tf.zeros_like(ended)}
        >>> transitions = Transition(**dict.fromkeys(Transition._fields) | flags)
        >>> ends(transitions).numpy().ravel()
        array([False,  True, False])
    """
    terminated, truncated = transitions.terminated, transitions.truncated
    done = truncated | tf.reduce_all(terminated, range(truncated.shape.rank, terminated.shape.rank))
    return done if transitions.valid is None else done | ~transitions.valid


def starts(transitions: Transition | DistantTransition) -> tf.Tensor:
    """Bool `[T, B]`: whether an episode begins at the step. The first one goes on from the state it is given.

    Examples:
        >>> from rlsample.rollouts.recurrent.memory import starts
        >>> from rlsample.rollouts.transitions import Transition
        >>> ended = tf.constant([[False], [True], [False]])  # three steps of one environment
        >>> flags = {"terminated": ended, "truncated": tf.zeros_like(ended)}
        >>> transitions = Transition(**dict.fromkeys(Transition._fields) | flags)
        >>> starts(transitions).numpy().ravel()
        array([False, False,  True])
    """
    ended = ends(transitions)
    return tf.concat([tf.zeros_like(ended[:1]), ended[:-1]], 0)


def over_rollout(
    model: Recurrent, observation: Any, state: tf.Tensor, starts: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Outputs and states of every step.

    Args:
        model: of a network with a memory.
        observation: a tree of tensors `[T, B, ...]`.
        state: before the first step, `[B, S]`.
        starts: bool `[T, B]`.

    Returns:
        (`[T, B, ...]`, `[T, B, S]`).

    Examples:
        >>> from rlsample.rollouts.recurrent.memory import over_rollout
        >>> network = networks.create({"name": "recurrent", "units": 8}).fitted(gym.spaces.Box(-1, 1, (4,)))
        >>> model = networks.recurrent_model_of(network, gym.spaces.Box(-1, 1, (4,)))
        >>> output, states = over_rollout(model, tf.ones([5, 3, 4]), tf.zeros([3, 8]), tf.zeros([5, 3], tf.bool))
        >>> output.shape, states.shape  # T steps of B environments
        (TensorShape([5, 3, 8]), TensorShape([5, 3, 8]))
    """
    steps = starts.shape[:2]
    rows = tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *part.shape[2:]]), observation)
    outputs = model((rows, state, starts))
    output, states = (tf.reshape(each, [*steps, *each.shape[1:]]) for each in outputs)
    return output, states


def one_step_on(model: Recurrent, observation: Any, states: tf.Tensor) -> tf.Tensor:
    """Outputs `[T, B, ...]` for observations `[T, B, ...]` that each follow on a state `[T, B, S]`.

    Examples:
        >>> from rlsample.rollouts.recurrent.memory import one_step_on
        >>> network = networks.create({"name": "recurrent", "units": 8}).fitted(gym.spaces.Box(-1, 1, (4,)))
        >>> model = networks.recurrent_model_of(network, gym.spaces.Box(-1, 1, (4,)))
        >>> one_step_on(model, tf.ones([5, 3, 4]), states=tf.zeros([5, 3, 8])).shape
        TensorShape([5, 3, 8])
    """
    flat = tf.nest.map_structure(lambda part: tf.reshape(part, [1, -1, *part.shape[2:]]), (observation, states))
    output, _ = over_rollout(model, flat[0], flat[1][0], tf.zeros(flat[1].shape[:2], tf.bool))
    return tf.reshape(output, [*states.shape[:2], *output.shape[2:]])


def to_rollout(
    transitions: Transition | DistantTransition, log_prob: tf.Tensor | None, critic: Recurrent, state: tf.Tensor
) -> tuple[Rollout, tf.Tensor]:
    """As `transitions.to_rollout`, by a critic with a memory.

    Args:
        transitions: from any collector, tensors `[T, B, ...]`.
        log_prob: of the actions, `[T, B]`; None if nobody asks.
        critic: whose outputs are `[T * B, 1]`.
        state: what it remembers before the first step, `[B, S]`.

    Returns:
        (the rollout, what the critic remembers after it `[B, S]`).

    Examples:
        >>> from rlsample.rollouts.recurrent.memory import to_rollout
        >>> from rlsample.rollouts.transitions import Transition
        >>> def total(inputs):  # a critic that sums what it has seen of an environment, with no end in between
        ...     rows, state, starts = inputs
        ...     sums = state + tf.cumsum(tf.reshape(rows, [*starts.shape, 1]), 0)
        ...     return tf.reshape(sums, [-1, 1]), tf.reshape(sums, [-1, 1])
        >>> rows, never = tf.constant([[[1.0]], [[2.0]], [[3.0]]]), tf.zeros([3, 1], tf.bool)
        >>> given = {"observation": rows, "next_observation": rows + 1, "terminated": never, "truncated": never}
        >>> steps = Transition(**dict.fromkeys(Transition._fields) | given)
        >>> rollout, remembered = to_rollout(steps, None, total, state=tf.constant([[10.0]]))
        >>> rollout.value.numpy().ravel(), rollout.next_value.numpy().ravel(), float(remembered[0, 0])
        (array([11., 13., 16.], dtype=float32), array([13., 16., 20.], dtype=float32), 16.0)
    """
    values, states = over_rollout(critic, transitions.observation, state, starts(transitions))
    following = one_step_on(critic, transitions.next_observation, states)
    rollout = Rollout(
        observation=transitions.observation,
        mask=transitions.mask,
        action=transitions.action,
        log_prob=log_prob,
        reward=transitions.reward,
        value=values[..., 0],
        next_value=following[..., 0],
        terminated=transitions.terminated,
        truncated=transitions.truncated,
        valid=transitions.valid,
    )
    return rollout, after(transitions, states)


def after(transitions: Transition | DistantTransition, states: tf.Tensor) -> tf.Tensor:
    """What is remembered after a rollout with states `[T, B, S]`: `[B, S]`, zeros where an episode has ended.

    Examples:
        >>> from rlsample.rollouts.recurrent.memory import after
        >>> from rlsample.rollouts.transitions import Transition
        >>> flags = {"terminated": tf.constant([[False, True]]), "truncated": tf.constant([[False, False]])}
        >>> transitions = Transition(**dict.fromkeys(Transition._fields) | flags)
        >>> print(after(transitions, states=tf.ones([1, 2, 3])).numpy())
        [[1. 1. 1.]
         [0. 0. 0.]]
    """
    return tf.where(ends(transitions)[-1][:, None], tf.zeros([], states.dtype), states[-1])
