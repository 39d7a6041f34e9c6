"""What REINFORCE does otherwise with a network that remembers.

Policy and baseline go over a rollout as a sequence, each from what it remembered before the first step, and forget
where episodes begin. Both memories are carried on from rollout to rollout, as the weights left them that collected
it. No gradient passes from one rollout to the one before.
"""

from __future__ import annotations

import tensorflow as tf

from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.recurrent.learner import RecurrentLearner
from rlsample.rollouts.transition import Transition
from rlsample.types import Rollout

from . import reinforce
from .reinforce import State


class Learner(RecurrentLearner, reinforce.Learner):
    """Policy and baseline of one member, both with a memory: see `learning.remembering.RememberingLearner`."""

    def start(self, member: int) -> State:
        """The state before training, with fresh weights and nothing to remember."""
        return super().start(member)._replace(memory=(self.nothing(self.network), self.nothing(self.baseline)))

    def _rollout(self, state: State, steps: Transition) -> tuple[Rollout, tuple[tf.Tensor, tf.Tensor]]:
        _, states = self._over(self.network.at(state.policy), steps, state.memory[0])
        after = memory.after(steps, states)
        if not self.agent.baseline:
            return super()._rollout(state, steps)[0], (after, state.memory[1])
        rollout, judged = memory.to_rollout(steps, None, self.baseline.at(state.baseline), state.memory[1])
        return rollout, (after, judged)

    def _logits(self, state: State, steps: Transition) -> tf.Tensor:
        return self._over(self.network.at(state.policy), steps, state.memory[0])[0]

    def _values(self, state: State, steps: Transition) -> tf.Tensor:
        return self._over(self.baseline.at(state.baseline), steps, state.memory[1])[0][..., 0]

    def _over(self, model: memory.Recurrent, steps: Transition, before: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return memory.over_rollout(model, steps.observation, before, memory.starts(steps))
