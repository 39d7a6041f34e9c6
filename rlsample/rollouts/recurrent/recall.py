"""What a learner with a memory remembers of environments that Python steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample.learning.remembering import remembering_actor
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.off_policy.exploring import explore
from rlsample.spaces import Factors


class Recall:
    """Acts from what is remembered, and makes of each step the rows that a `SequenceReplay` keeps.

    Attributes:
        memory: after the last step, float32 `[B, M]`.

    Args:
        learner: acts as a `learning.remembering.RememberingLearner`.
        factors: of the actions.
        shape: (B, M).
        starts: tells, before each step, where an episode begins with it: bool `[B]`.

    Examples:
        >>> from rlsample.rollouts.recurrent.recall import Recall
        >>> class Alternating:  # remembers what it did last
        ...     def split(self, state): return ()
        ...     def choose(self, logits, mask, seed): return ops.mode(logits, mask)
        ...     def logits_and_memory(self, parameters, observation, memory):
        ...         return tf.concat([memory, 1 - memory], -1), 1 - memory
        >>> factors = spaces.factorise(gym.spaces.Discrete(2))
        >>> recall = Recall(Alternating(), factors, shape=(1, 1), starts=lambda: np.array([False]))
        >>> act = recall.actor((), exploration=0.0, seed=np.array([0, 1], np.int32))
        >>> [int(act(np.zeros([1, 4], np.float32), np.ones([1, 2], bool))[0]) for _ in range(4)]
        [1, 0, 1, 0]
    """

    def __init__(
        self,
        learner: Any,
        factors: Factors,
        shape: tuple[int, int],
        starts: Callable[[], np.ndarray],
    ) -> None:
        self.memory = np.zeros(shape, np.float32)
        self._learner, self._factors, self._starts = learner, factors, starts
        self._before: dict[str, np.ndarray] = {}
        self._program = tf.function(self._step, autograph=False)

    def actor(self, state: Any, exploration: float, seed: np.ndarray) -> NumpyAct:
        """Acts by a state of the learner, with a probability uniformly; remembers in either case.

        Args:
            state: of the learner.
            exploration: the probability of an action drawn uniformly.
            seed: int32 `[2]`, of the whole rollout.
        """
        steps, chance = itertools.count(), tf.constant(exploration, tf.float32)

        def act(observation: Any, mask: np.ndarray) -> np.ndarray:
            starts = self._starts()
            before = np.where(starts[:, None], np.float32(0), self.memory)
            noise = seed + np.array([0, next(steps)], np.int32)
            seen = tf.nest.map_structure(tf.constant, (observation, mask, noise, before))
            action, memory = self._program(state, *seen, chance)
            self._before, self.memory = {"starts": starts, "memory": before}, memory.numpy()
            return action.numpy()

        return act

    def add(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """The rows of a step `[B, ...]` that count, with what was remembered before it and the lane of each."""
        kept = np.flatnonzero(step["valid"])
        rows = tf.nest.map_structure(lambda column: column[kept], dict(step) | self._before)
        return rows | {"lane": kept}

    def snapshot(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {"memory": self.memory}

    def restore(self, begun: Mapping[str, Any]) -> None:
        """Goes on from a `snapshot`; from nothing, with nothing to remember."""
        self.memory = begun.get("memory", np.zeros_like(self.memory))

    def _step(
        self, state: Any, observation: Any, mask: tf.Tensor, seed: tf.Tensor, memory: tf.Tensor, chance: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return explore(remembering_actor(self._learner, state), self._factors, chance)(observation, mask, seed, memory)
