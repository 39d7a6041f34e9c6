"""What proximal policy optimization does otherwise with a network that remembers.

The state of the policy and that of the critic are carried from rollout to rollout, as the weights left them that
collected it; what runners collect brings both along. A minibatch is whole sequences of some of the environments, each
from the state before its first step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rlsample.learning import shuffle
from rlsample.rollouts.in_numpy.network import NumpyNetwork
from rlsample.rollouts.in_numpy.translation import translated
from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.recurrent.learner import RecurrentLearner
from rlsample.rollouts.transition import DistantTransition, Transition
from rlsample.rollouts.transitions import swap_axes
from rlsample.types import Rollout

from . import ppo
from .ppo_state import Minibatch, State


class Learner(RecurrentLearner, ppo.Learner):
    """Policy and critic of one member, both with a memory: see `learning.remembering.RememberingLearner`."""

    def start(self, member: int) -> State:
        """The state before training, with fresh weights and nothing to remember."""
        return super().start(member)._replace(memory=(self.nothing(self.network), self.nothing(self.critic)))

    def beside(self, state: State) -> tuple[NumpyNetwork, ...]:
        """What remembers besides the policy, for runners: the critic."""
        self.critic.assign(state.critic)
        return (translated(self.critic.model, (1,), self.policy.network.state_size),)

    def _rollout(self, state: State, transitions: Transition) -> tuple[Rollout, dict[str, Any], Any]:
        starts, before = memory.starts(transitions), state.memory
        if isinstance(transitions, DistantTransition):  # Of runners, whose environments come in any order.
            before = tuple(part[0] for part in transitions.memory)
        policy = self.network.at(state.policy)
        logits, states = memory.over_rollout(policy, transitions.observation, before[0], starts)
        log_prob = self.policy.head.distribution(logits, transitions.mask).log_prob(transitions.action)
        rollout, after = memory.to_rollout(transitions, log_prob, self.critic.at(state.critic), before[1])
        columns = {"starts": starts, "memory": before}
        if isinstance(transitions, DistantTransition):  # Runners keep what is remembered.
            return rollout, columns, state.memory
        return rollout, columns, (memory.after(transitions, states), after)

    def _rows(self, columns: dict[str, Any]) -> tuple[list[tf.Tensor], Callable[[list[tf.Tensor]], Any]]:
        """A row for each environment: its steps, and the memory before them."""
        steps = {name: column for name, column in columns.items() if name != "memory"}
        return shuffle.pack(tf.nest.map_structure(swap_axes, steps) | {"memory": columns["memory"]})

    def _outputs(self, state: State, rows: Minibatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits and values `[n, T, ...]`."""
        observation, starts = tf.nest.map_structure(swap_axes, (rows.observation, rows.starts))
        logits, _ = memory.over_rollout(self.network.at(state.policy), observation, rows.memory[0], starts)
        values, _ = memory.over_rollout(self.critic.at(state.critic), observation, rows.memory[1], starts)
        return swap_axes(logits), swap_axes(values[..., 0])
