"""What proximal policy optimization does otherwise with a network that remembers.

The state of the policy and that of the critic are carried from rollout to rollout, as the weights left them that
collected it; what runners collect brings both along. A minibatch is whole sequences of some of the environments, each
from the state before its first step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from rlsample.learning import shuffle
from rlsample.networks import recurrent_model_of, with_outputs
from rlsample.rollouts import memory
from rlsample.rollouts.numpy_network import NumpyNetwork
from rlsample.rollouts.numpy_translation import translated
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.transition import DistantTransition, Transition
from rlsample.rollouts.transitions import swap_axes
from rlsample.types import Rollout

from . import ppo
from .ppo_state import Minibatch, State


class Learner(ppo.Learner):
    """Policy and critic of one member, both with a memory: see `remembering.RememberingLearner`."""

    def _networks(self) -> tuple[Policy, keras.Model]:
        policy = ppo.make_policy(self.config, *self.spaces)
        return policy, with_outputs(recurrent_model_of(policy.network, policy.observation_space), 1)

    def start(self, member: int) -> State:
        """The state before training, with fresh weights and nothing to remember."""
        nothing = tf.zeros([self.config.env.num_envs, self.policy.network.state_size])
        return super().start(member)._replace(memory=(nothing, nothing))

    def forget(self, state: State) -> State:
        """The state with nothing to remember: all environments begin anew."""
        return state._replace(memory=tf.nest.map_structure(tf.zeros_like, state.memory))

    def memory(self, state: State) -> tf.Tensor:
        """What the policy remembers: `[E, S]`."""
        return state.memory[0]

    def beside(self, state: State) -> tuple[NumpyNetwork, ...]:
        """What remembers besides the policy, for runners: the critic."""
        self.critic.assign(state.critic)
        return (translated(self.critic.model, (1,), self.policy.network.state_size),)

    def split(self, state: State) -> Any:
        """The weights and the memory that `logits` takes."""
        return self.network.split(state.policy), self.memory(state)

    def logits(self, parameters: Any, observation: Any) -> tf.Tensor:
        """Observations `[E, ...]` -> logits, from what is remembered after the last rollout."""
        return self.logits_and_memory(parameters, observation, parameters[1])[0]

    def logits_and_memory(self, parameters: Any, observation: Any, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Observations `[E, ...]` and what is remembered `[E, S]` -> logits, and what is remembered after them."""
        logits, state = self.network.apply(parameters[0], (observation, state, tf.zeros([1, state.shape[0]], tf.bool)))
        return logits, state

    def _rollout(self, state: State, transitions: Transition) -> tuple[Rollout, dict[str, Any], Any]:
        observation, starts = transitions.observation, memory.starts(transitions)
        critic, before = self.critic.at(state.critic), state.memory
        if isinstance(transitions, DistantTransition):  # Of runners, whose environments come in any order.
            before = tuple(part[0] for part in transitions.memory)
        logits, states = memory.over_rollout(self.network.at(state.policy), observation, before[0], starts)
        values, critic_states = memory.over_rollout(critic, observation, before[1], starts)
        following = memory.one_step_on(critic, transitions.next_observation, critic_states)
        rollout = Rollout(
            observation=observation,
            mask=transitions.mask,
            action=transitions.action,
            log_prob=self.policy.head.distribution(logits, transitions.mask).log_prob(transitions.action),
            reward=transitions.reward,
            value=values[..., 0],
            next_value=following[..., 0],
            terminated=transitions.terminated,
            truncated=transitions.truncated,
            valid=transitions.valid,
        )
        remembered = memory.after(transitions, states), memory.after(transitions, critic_states)
        return rollout, {"starts": starts, "memory": before}, remembered

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
