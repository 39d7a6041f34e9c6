"""Learners whose policy has a memory: what they bring beside what `population.Learner` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf


class RememberingLearner(Protocol):
    """A `Learner` whose policy has a memory, which is part of its state and goes on from rollout to rollout.

    Examples:
        >>> class Counting:
        ...     def split(self, state): return ()
        ...     def choose(self, logits, mask, seed): return ops.mode(logits, mask)
        ...     def memory(self, state): return state
        ...     def logits_and_memory(self, parameters, observation, memory):
        ...         return tf.one_hot(tf.cast(memory[:, 0], tf.int32), 3), memory + 1
        >>> logits, memory = Counting().logits_and_memory((), tf.zeros([1, 4]), tf.constant([[2.0]]))
        >>> print(logits.numpy(), memory.numpy())
        [[0. 0. 1.]] [[3.]]
    """

    def memory(self, state: Any) -> tf.Tensor:
        """What the policy remembers of each environment: float `[E, S]`."""

    def logits_and_memory(self, parameters: Any, observation: Any, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The policy: as `Learner.logits`, and what it remembers `[E, S]` before the step -> after it."""


def remembering_actor(learner: Any, state: Any) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """How a `RememberingLearner` acts in a state: (observations, mask or None, seed, memory) -> (actions, memory).

    Examples:
        >>> from rlsample.learning.remembering import remembering_actor
        >>> from types import SimpleNamespace
        >>> counting = SimpleNamespace(
        ...     split=lambda state: (),
        ...     logits_and_memory=lambda parameters, observation, memory: (tf.one_hot([0, 2], 3), memory + 1),
        ...     choose=lambda logits, mask, seed: ops.mode(logits, mask),
        ... )
        >>> act = remembering_actor(counting, ())
        >>> action, memory = act(tf.zeros([2, 4]), None, (0, 1), tf.constant([[0.0], [2.0]]))
        >>> print(action.numpy(), memory.numpy().ravel())
        [0 2] [1. 3.]
    """
    parameters = learner.split(state)

    def act(observation: Any, mask: Any, seed: tf.Tensor, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits, memory = learner.logits_and_memory(parameters, observation, memory)
        return learner.choose(logits, mask, seed), memory

    return act
