"""Proximal policy optimization of several agents: the reference without a gradient through actions.

    python -m scripts.train agents/configs/multi_agent_ppo_speaker_listener.yaml agent.critic=own

Everybody has a policy of what it sees alone, and learns by PPO from its own advantages. With `critic: own` its values
know no more than that: independent PPO. With `critic: joint` they are of all that everybody sees, which only training
needs: PPO with a centralised value, MAPPO. Games written in TensorFlow are collected in the same program as the update,
others by the collector of several agents. What is not of several agents is PPO's: `agents/ppo.py`. What networks with a
memory change is in `agents/recurrent_multi_agent_ppo.py`.

Sources: de Witt et al. (2020), arXiv 2011.09533 (independent PPO); Yu et al. (2022), arXiv 2103.01955 (MAPPO).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import gymnasium as gym
import keras
import tensorflow as tf
from pydantic import Field

from rlsample.learning import losses
from rlsample.rollouts.in_graph_turns import collect_and_learn, remember_and_learn
from rlsample.rollouts.several_agents.agents import Agents
from rlsample.rollouts.several_agents.collector import JointCollector, JointTransition
from rlsample.rollouts.several_agents.policy import JointPolicy
from rlsample.rollouts.several_agents.remembering import joint_policy_for
from rlsample.rollouts.transitions import Transition
from rlsample.runs import Run, RunConfig
from rlsample.spaces import Factors
from rlsample.types import Rollout

from . import ppo
from .ppo_state import State

METRICS = ppo.METRICS


class Config(ppo.Config):
    """Hyper-parameters of PPO of several agents."""

    scales: ClassVar = False
    shares_minibatches: ClassVar = False

    name: str = "multi_agent_ppo"
    critic: Literal["own", "joint"] = Field(
        default="joint", description="Values of what the agent sees alone, or of what all see."
    )
    rewards: Literal["own", "team"] = Field(default="own", description="Learned from: one's own, or everybody's mean.")
    shared_network: bool = Field(
        default=False, description="One policy network for all, told whose turn it is; own critics too."
    )


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> JointPolicy:
    """The policies this agent trains, as one, with fresh weights.

    Raises:
        ValueError: spaces that are not those of several agents, or a rollout that does not divide into the minibatches
            asked for.
    """
    ppo.check_minibatches(config)
    shared = config.agent.shared_network
    return joint_policy_for(observation_space, action_space, config.sampler, config.network, shared=shared)


def train(config: RunConfig[Config], run: Run) -> JointPolicy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the policies, as of `ppo.train`."""

    def collector(envs: gym.vector.VectorEnv, factors: Factors, seed: int) -> JointCollector:
        return JointCollector(envs, Agents.of(envs.single_observation_space, envs.single_action_space), seed)

    from . import recurrent_multi_agent_ppo  # whose learner extends the one below

    remembers = config.network.state_size > 0
    kind, turn = (recurrent_multi_agent_ppo.Learner, remember_and_learn) if remembers else (Learner, collect_and_learn)
    policy: Any = ppo.train_learner(kind, config, run, make_turn=turn, make_collector=collector)
    return policy


class Learner(ppo.Learner):
    """PPO's learner, with an axis of N agents behind that of rows: in log-probabilities, values and all that follows.

    A state's vectors are the weights of all agents. Losses are means over rows and agents: no agent's gradient reaches
    another's weights, unless the network is shared.
    """

    config: RunConfig[Any]
    agent: Config
    policy: JointPolicy

    def _networks(self) -> tuple[JointPolicy, keras.Model]:
        """The policy, and the critic: joint features `[B, all]` -> `[B, N, 1]`."""
        policy = make_policy(self.config, *self.spaces)
        return policy, policy.of_each(1) if self.agent.critic == "own" else policy.of_all(1)

    def logits(self, parameters: list[tf.Tensor], observation: tf.Tensor) -> tf.Tensor:
        """Joint observations `[E, ...]` -> logits `[E, N, K]`."""
        return super().logits(parameters, tf.reshape(observation, [observation.shape[0], -1]))

    def learn(
        self, state: State, transitions: Transition | JointTransition, seed: tf.Tensor, finite: tf.Tensor
    ) -> tuple[State, dict[str, tf.Tensor], tf.Tensor]:
        """See `ppo.Learner.learn`; of one rollout from either collector."""
        joint: Any = transitions if isinstance(transitions, JointTransition) else self._of_everybody(transitions)
        if self.agent.rewards == "team":
            mean = tf.reduce_mean(joint.reward, -1, keepdims=True)
            joint = joint._replace(reward=tf.broadcast_to(mean, joint.reward.shape))
        return super().learn(state, joint, seed, finite)

    def _of_everybody(self, transitions: Transition) -> JointTransition:
        """Steps `[T, E, ...]` of a game in TensorFlow, whose rewards and ends are everybody's."""
        count = len(self.policy.agents.names)

        def features(observation: tf.Tensor) -> tf.Tensor:
            return tf.reshape(observation, [*observation.shape[:2], -1])

        def for_each(column: tf.Tensor) -> tf.Tensor:
            return tf.repeat(column[..., tf.newaxis], count, -1)

        own: dict[str, Any] = {name: for_each(getattr(transitions, name)) for name in ("reward", "terminated")}
        own |= {name: features(getattr(transitions, name)) for name in ("observation", "next_observation")}
        return JointTransition(**(transitions._asdict() | own), present=None)  # type: ignore[arg-type]

    def _rollout(self, state: State, transitions: Any) -> tuple[Rollout, dict[str, Any], Any]:
        """As of `ppo.Learner`, but `truncated` and `valid` are of each agent too: `[T, E, N]`."""
        rollout, more, memory = super()._rollout(state, transitions)
        truncated, valid = transitions.truncated[..., tf.newaxis], transitions.present
        truncated = tf.broadcast_to(truncated, rollout.reward.shape)
        if valid is not None:
            # Who is cut off while others go on is there for the last time, and its task is not over.
            last = valid[:-1] & ~valid[1:] & ~transitions.terminated[:-1]
            truncated |= tf.concat([last, tf.zeros_like(valid[:1])], 0)
            valid &= transitions.valid[..., tf.newaxis]
        return rollout._replace(truncated=truncated, valid=valid), more, memory

    def _standardized(self, advantage: tf.Tensor, valid: tf.Tensor | None) -> tf.Tensor:
        """Each agent's advantages `[..., N]` by themselves: rewards may differ in scale."""
        everybody = range(advantage.shape[-1])
        there = [None if valid is None else valid[..., agent] for agent in everybody]
        return tf.stack([losses.standardize(advantage[..., agent], there[agent]) for agent in everybody], -1)
