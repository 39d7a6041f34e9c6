"""What the short-horizon actor-critic does otherwise with a network that remembers.

What the policy remembers is part of the state that a segment is played through: an action changes what is seen, that
what is remembered, and that later actions, and the policy gradient passes through all of it. So it does through what
the critic remembers of the segment. Both forget where an episode begins, and both memories are carried on to the next
segment without a gradient. Each of the latest segments is kept with what the average of the critic remembered before
it, as its weights were then; from there the critic goes over it again, and so does its average.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample.learning.normalization import normalize
from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.recurrent.learner import RecurrentLearner
from rlsample.rollouts.transition import Transition

from . import short_horizon_actor_critic
from .short_horizon_actor_critic import Segment, State, segment_of


class Learner(RecurrentLearner, short_horizon_actor_critic.Learner):
    """Policy and critic of one member, both with a memory: see `learning.remembering.RememberingLearner`."""

    def start(self, member: int) -> State:
        """The state before training, with fresh weights and nothing to remember."""
        return super().start(member)._replace(memory=(self.nothing(self.network), self.nothing(self.critic)))

    def split(self, state: State) -> Any:
        """The weights, the memory and the statistics that `logits` takes."""
        return *super().split(state), state.statistics

    def logits_and_memory(self, parameters: Any, observation: Any, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Observations `[E, ...]` and what is remembered `[E, S]` -> logits, and what is remembered after them."""
        return super().logits_and_memory(parameters, normalize(observation, parameters[2]), state)

    def going_on(self, state: State, observation: tf.Tensor) -> tf.Tensor:
        """V by the target critic from what it remembers after the last segment: `[T, B, ...]` -> `[T, B]`."""
        goes_on = tf.zeros(observation.shape[:2], tf.bool)
        return self._judged(state.target, state, observation, state.memory[1], goes_on)[0]

    def values_before(self, weights: tf.Tensor, state: State, segment: Segment) -> tf.Tensor:
        """V by a critic with the given weights before each step: `[T, B]`."""
        return self._judged(weights, state, segment.observation, segment.memory, segment.starts)[0]

    def values_after(self, state: State, segment: Segment) -> tf.Tensor:
        """V by the target critic after each step, from what it remembers then: `[T, B]`."""
        _, states = self._judged(state.target, state, segment.observation, segment.memory, segment.starts)
        following = normalize(segment.next_observation, state.statistics)
        return self._in_rewards(memory.one_step_on(self.critic.at(state.target), following, states))

    def _judged(
        self, weights: tf.Tensor, state: State, observation: tf.Tensor, before: tf.Tensor, starts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """V `[T, B]` by a critic with the given weights, and what it remembers after each step `[T, B, S]`."""
        seen = normalize(observation, state.statistics)
        values, states = memory.over_rollout(self.critic.at(weights), seen, before, starts)
        return self._in_rewards(values), states

    def _segment(self, state: State, steps: Transition) -> tuple[Segment, tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        before, starts = state.memory, memory.starts(steps)
        segment = segment_of(steps)._replace(starts=starts, memory=before[1])
        seen = normalize(steps.observation, state.statistics)
        logits, states = memory.over_rollout(self.network.at(state.policy), seen, before[0], starts)
        _, judged = self._judged(state.target, state, steps.observation, before[1], starts)
        return segment, logits, (memory.after(steps, states), memory.after(steps, judged))
