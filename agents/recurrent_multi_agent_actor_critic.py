"""What the multi-agent actor-critic does otherwise with networks that remember.

Each agent's policy remembers what it alone saw, each critic what everybody saw. The replay keeps single steps, each
with what all of them remembered before it, and gives sequences, whose first steps only bring that up to date: see
`rlsample.rollouts.recurrent.sequences`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample.learning.sequence_replay import SequenceReplay
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.off_policy.kept_rows import replay_capacity
from rlsample.rollouts.off_policy.updates import Updates
from rlsample.rollouts.recurrent.network import go_on
from rlsample.rollouts.recurrent.sequences import Sequences
from rlsample.rollouts.several_agents.collector import JointCollector, Rows
from rlsample.rollouts.several_agents.remembering import JointRecall
from rlsample.runs import RunConfig

from . import multi_agent_actor_critic as without_memory
from .multi_agent_actor_critic_state import Batch, State


class Learner(without_memory.Learner):
    """Actors and critics, all with a memory: acts as a `learning.remembering.RememberingLearner`."""

    def __init__(self, config: RunConfig[Any], observation_space: gym.Space, action_space: gym.Space) -> None:
        super().__init__(config, observation_space, action_space)
        sequences: Any = Sequences.planned(config)
        self.sequences: Sequences = sequences
        self.updates = Updates.planned(self.agent, config.total_steps, sequences.first_steps(config.env.num_envs))
        self.per_batch = sequences.per_batch
        self.networks = [self.network, *(critic for each in self.critics for critic in each)]
        size = without_memory.memory_size(self.policy, self.agent.num_critics)
        own = {
            "starts": tf.TensorSpec((), tf.bool),
            "memory": tf.TensorSpec([size]),
            "lane": tf.TensorSpec((), tf.int32),
        }
        self.kept |= own

    def replay(self) -> SequenceReplay:
        """See `multi_agent_actor_critic.Learner`."""
        capacity, lanes = replay_capacity(self.config), self.config.env.num_envs
        return SequenceReplay(capacity, lanes, self.sequences.drawn, first=["memory"])

    def row_maker(self, collector: JointCollector) -> JointRecall:
        """See `multi_agent_actor_critic.Learner`."""
        shape = collector.envs.num_envs, self.kept["memory"].shape[0]
        self.recall = JointRecall(self, self.agents, shape, lambda: collector.starts, self.prepare)
        return self.recall

    def actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """See `OffPolicyLearner.actor`; uniform before the first updates, and remembers then too."""
        self.network.assign(self.state.actors)
        self.policy.head.set_own(step)
        return self.recall.actor(self.state, float(step < self.updates.uniform_steps), seed)

    def split(self, state: State) -> list[Any]:
        """The weights that `logits_and_memory` takes."""
        weights = [state.actors, *(own for each in state.critics for own in each)]
        return [network.split(own) for network, own in zip(self.networks, weights, strict=True)]

    def logits_and_memory(self, parameters: Any, observation: tf.Tensor, memory: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Joint features `[B, all]` and what all remember `[B, M]` -> logits `[B, N, K]`, and what they then do."""
        return go_on(self.networks, parameters, observation, memory)

    def choose(self, logits: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draws everybody's actions: int32 `[B, N]`."""
        return self.policy.head.distribution(logits, mask).sample(seed).action

    def rows(self, drawn: dict[str, Any]) -> Batch:
        """A minibatch of the steps of sequences `[B, W, ...]` after the burn-in."""
        over = tf.reduce_all(drawn["terminated"], -1)
        rows = self.sequences.rows(drawn | {"terminated": over, "own": drawn["terminated"]}, self.agent.discount)
        rows |= {"terminated": rows["own"]}
        return Batch(*(rows[name] for name in Batch._fields))

    def _seen(self, rows: Rows) -> Any:
        return rows["observation"], rows["memory"][:, : self.policy.state_size]
