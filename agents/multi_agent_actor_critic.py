"""Multi-agent actor-critic: everybody decides alone, and is judged by a critic that sees all that everybody does.

    python -m scripts.train agents/configs/maddpg_speaker_listener.yaml sampler=reinmax

Each agent has a critic Q_i(s, a_1, ..., a_N) of the joint observation and all actions as one-hots, learned from replay.
Its policy sees its own observation alone and climbs `sampler.expectation(own -> Q_i(s, ..., own, ...))`; which gradient
that is, is the sampler's business, agent by agent if wanted. With a concatenating critic, no chord loss and
`straight_through_gumbel_softmax` this is MADDPG; with two critics MATD3; with `exact` every agent's policy gradient is
that of its own counterfactual values; with the interpolated critic and `softmax` it is distributions as actions.
What networks with a memory change is in `agents/recurrent_multi_agent_actor_critic.py`.

Sources: Lowe et al. (2017), arXiv 1706.02275 (MADDPG); Ackermann et al. (2019), arXiv 1910.01465 (MATD3); Tilbury,
Christianos and Albrecht (2023), arXiv 2302.11793 (estimators in MADDPG); He et al. (2025), arXiv 2506.16608
(distributions as actions, interpolated critic learning).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym
import keras
import numpy as np
import pydantic
import tensorflow as tf
from pydantic import Field

from rlsample import checks, ops, samplers, schedules
from rlsample.learning.adam import Adam, global_norm
from rlsample.learning.averaging import move_towards
from rlsample.learning.critics import ConcatenatingCritic, OwnActionCritic, chord_loss, with_factor
from rlsample.learning.loops import repeat
from rlsample.learning.normalization import normalize, start_statistics, update_statistics
from rlsample.learning.replay import Replay, check_memory
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.in_numpy.policy import quickest_actor
from rlsample.rollouts.loop import finite_metrics
from rlsample.rollouts.off_policy.kept_rows import replay_capacity
from rlsample.rollouts.off_policy.training import train_off_policy
from rlsample.rollouts.off_policy.updates import Updates
from rlsample.rollouts.recurrent.network import critic_of, network_of
from rlsample.rollouts.recurrent.sequences import Sequences
from rlsample.rollouts.several_agents.collector import JointCollector, Rows, ValidRows, kept_specs
from rlsample.rollouts.several_agents.policy import JointPolicy
from rlsample.rollouts.several_agents.remembering import joint_policy_for
from rlsample.runs import AgentConfig, Run, RunConfig
from rlsample.streams import Streams

from .multi_agent_actor_critic_state import Batch, State

METRICS = ("losses/critic", "losses/actor", "policy/entropy", "policy/gradient_norm")


class Config(AgentConfig):
    """Hyper-parameters of the multi-agent actor-critic."""

    name: str = "multi_agent_actor_critic"
    critic: Literal["linear", "concatenating", "interpolated"] = Field(
        default="linear", description="Linear in the own action; of any form; that, trained between policy and action."
    )
    num_critics: Literal[1, 2] = Field(default=1, description="Per agent; 2 takes the smaller of two values.")
    chord_weight: float = Field(default=1.0, ge=0, description="Of the loss that straightens a concatenating critic.")
    others: Literal["replay", "policy"] = Field(
        default="replay", description="What the others do while an actor learns: what they did, or what they would do."
    )
    shared_network: bool = Field(default=False, description="One policy network for all, told whose turn it is.")
    samplers: dict[str, Any] = Field(default={}, description="Agent: the sampler it has instead of the run's.")
    temperatures: dict[str, Any] = Field(default={}, description="Agent: the schedule it has instead of the run's.")
    rewards: Literal["own", "team"] = Field(default="own", description="Learned from: one's own, or everybody's mean.")
    standardize_rewards: bool = Field(
        default=False, description="By what was seen when they entered the replay, where they then stay as they are."
    )
    entropy_coefficient: float = Field(default=0.01, ge=0, description="Of the entropy bonus of the actors.")
    logit_coefficient: float = Field(default=0.0, ge=0, description="Of the mean squared logit, a cost of the actors.")
    actor_learning_rate: float = Field(default=1e-3, gt=0, description="Of the actors' Adam.")
    critic_learning_rate: float = Field(default=1e-3, gt=0, description="Of the critics' Adam.")
    max_gradient_norm: float = Field(default=10.0, gt=0, description="Longer gradients are shortened to it.")
    discount: float = Field(default=0.99, ge=0, le=1, description="Of rewards, per step.")
    target_rate: float = Field(default=0.01, gt=0, le=1, description="Share of actors and critics entering averages.")
    batch_size: int = Field(default=256, ge=1, description="Transitions per update.")
    replay_capacity: int = Field(default=100_000, ge=1, description="Transitions kept.")
    warmup_steps: int = Field(default=1000, ge=1, description="Steps before learning; at most a tenth of the run.")
    steps_per_round: int = Field(default=64, ge=1, description="Environment steps between rounds of updates.")
    updates_per_step: float = Field(default=0.5, gt=0, description="Updates per environment step after the warm-up.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")
    sequence_length: int = Field(default=32, ge=2, description="With a memory: steps that are replayed together.")
    burn_in: int = Field(
        default=8, ge=0, description="With a memory: the first of them, which only bring it up to date."
    )

    @pydantic.field_validator("samplers", "temperatures")
    @classmethod
    def _known(cls, value: dict[str, Any], info: pydantic.ValidationInfo) -> dict[str, Any]:
        create = samplers.create if info.field_name == "samplers" else schedules.create
        return {name: create(each).to_config() for name, each in value.items()}


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> JointPolicy:
    """The policies this agent trains, as one, with fresh weights.

    Raises:
        ValueError: spaces, names or temperatures that do not fit, a replay that would not fit into memory, or sequences
            that it cannot hold.
    """
    agent = config.agent
    if config.temperature.metric is not None:
        raise checks.invalid("a temperature that follows a schedule", temperature=config.temperature.to_config())
    own: dict[str, Any] = {"samplers": {name: samplers.create(each) for name, each in agent.samplers.items()}}
    own |= {"temperatures": {name: schedules.create(each) for name, each in agent.temperatures.items()}}
    own |= {"shared": agent.shared_network, "hidden_sizes": (64, 64), "activation": "relu"}
    policy = joint_policy_for(observation_space, action_space, config.sampler, config.network, **own)
    remembered = tf.TensorSpec([memory_size(policy, agent.num_critics)])
    check_memory(replay_capacity(config), (kept_specs(policy.agents), remembered))
    Sequences.planned(config)
    return policy


def memory_size(policy: JointPolicy, num_critics: int) -> int:
    """M, how many numbers the policies and all critics remember of an environment."""
    return policy.state_size + num_critics * len(policy.agents.names) * policy.network.state_size


def train(config: RunConfig[Config], run: Run) -> JointPolicy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the averaged policies."""
    from . import recurrent_multi_agent_actor_critic as recurrent  # whose learner extends the one below

    envs = config.env.make()
    kind = recurrent.Learner if config.network.state_size else Learner
    learner = kind(config, envs.single_observation_space, envs.single_action_space)
    collector = JointCollector(envs, learner.policy.agents, Streams(config.seed).integer("environments"))
    train_off_policy(
        collector,
        learner,
        run,
        kept=learner.kept,
        replay=learner.replay(),
        make_rows=lambda: learner.row_maker(collector),
        seed=config.seed,
        temperature=config.temperature,
    )
    return learner.publish_averaged()


class Learner:
    """Actors and critics, their averages, and the compiled round of updates; attributes as of `OffPolicyLearner`."""

    def __init__(self, config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> None:
        agent, streams = config.agent, Streams(config.seed)
        self.config, self.agent = config, agent
        self.update, self.update_seeds = 0, streams.generator("updates")
        self.updates = Updates.planned(agent, config.total_steps)
        keras.utils.set_random_seed(streams.integer("weights"))
        self.policy, self.averaged = (make_policy(config, observation_space, action_space) for _ in range(2))
        self.agents, self.network = self.policy.agents, network_of(self.policy)
        self.count, self.kept = len(self.agents.names), kept_specs(self.agents)
        self.per_batch = agent.batch_size
        self.adam = Adam(max_gradient_norm=agent.max_gradient_norm)
        # The computation; weights travel in the state.
        self.critics = [[self._critic(own, which) for which in range(agent.num_critics)] for own in range(self.count)]
        actors, critics = self.network.weights(), [[critic.weights() for critic in each] for each in self.critics]
        adams = self.adam.start(actors), self.adam.start(critics)
        self.state = State(actors, actors, critics, critics, *adams, start_statistics([self.count]))
        self._round = tf.function(self._learn_round, jit_compile=agent.jit_compile, autograph=False)

    def _critic(self, own: int, which: int) -> Any:
        linear = functools.partial(OwnActionCritic, own=own)
        make = linear if self.agent.critic == "linear" else ConcatenatingCritic
        return critic_of(self.policy, make, own * self.agent.num_critics + which)

    def replay(self) -> Replay:
        """What keeps rows."""
        return Replay(replay_capacity(self.config))

    def row_maker(self, collector: JointCollector) -> Any:
        """What makes rows of the steps of a collector."""
        return ValidRows(self.prepare)

    def actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """See `OffPolicyLearner.actor`."""
        self.network.assign(self.state.actors)
        self.policy.head.set_own(step)
        return quickest_actor(self.policy, seed)

    def publish_averaged(self) -> JointPolicy:
        """Copies the running average of the actors into `averaged`, and returns it."""
        FlatNetwork(self.averaged.model).assign(self.state.target_actors)
        self.averaged.head.temperature.assign(self.policy.head.temperature)
        return self.averaged

    def prepare(self, rows: Rows) -> Rows:
        """What enters the replay: rewards as they are to be learned from, and how probable everything was."""
        rewards, mask = rows["reward"], rows["mask"]
        if self.agent.rewards == "team":
            rewards = np.broadcast_to(rewards.mean(-1, keepdims=True), rewards.shape)
        if self.agent.standardize_rewards and len(rewards):
            self.state = self.state._replace(rewards=update_statistics(self.state.rewards, tf.constant(rewards)))
            rewards = normalize(tf.constant(rewards), self.state.rewards).numpy()
        probs = np.zeros(mask.shape, np.float32)
        if self.agent.critic == "interpolated" and len(mask):
            probs = mask / mask.sum(-1, keepdims=True)  # how actions are drawn before the first update
            if self.update > 0:
                probs = self.policy.probabilities(self._seen(rows), mask)
        return {**rows, "reward": rewards, "probs": probs.astype(np.float32)}

    def _seen(self, rows: Rows) -> Any:
        """What the policy read in rows."""
        return rows["observation"]

    def rows(self, drawn: dict[str, Any]) -> Batch:
        """A minibatch of what the replay gave."""
        return Batch(**drawn)

    def learn(self, replay: Replay, generator: np.random.Generator, step: int) -> dict[str, float]:
        """Makes the updates that are due after so many environment steps; returns the metrics of the last.

        Raises:
            ValueError: a network gave NaN or inf for some observation, or a loss is not finite: training has diverged.
        """
        metrics, due, per_call = self.policy.head.set_own(step), self.updates.due(step), self.updates.per_call
        while self.update < due:
            count = min(per_call, due - self.update)
            drawn = replay.sample(generator, (per_call, self.per_batch))
            seed = self.update_seeds.integers(-(2**31), 2**31, 2, np.int32)
            state, usable, values = self._round(self.state, *tf.nest.map_structure(tf.constant, (drawn, count, seed)))
            checks.raise_for_unusable(usable)
            metrics |= finite_metrics({name: float(value) for name, value in values.items()})
            self.state, self.update = state, self.update + count
        return metrics

    def _learn_round(self, state: State, drawn: dict[str, Any], count: tf.Tensor, seed: tf.Tensor) -> Any:
        """One update for each of the first `count` of U minibatches, whose columns are `[U, ...]`."""

        def minibatch(index: Any) -> Batch:
            return self.rows({name: column[index] for name, column in drawn.items()})

        def once(index: tf.Tensor, carry: Any) -> Any:
            state, usable, _ = carry
            row = minibatch(index)
            critic_seed, actor_seed = tf.unstack(ops.split(ops.fold_in(seed, index), 2))
            state, critic_loss = self._update_critics(state, row, critic_seed)
            state, actor_values, logits = self._update_actors(state, row, actor_seed)
            averages, learned = (state.target_actors, state.target_critics), (state.actors, state.critics)
            actors, critics = move_towards(averages, learned, self.agent.target_rate)
            state = state._replace(target_actors=actors, target_critics=critics)
            values = dict(zip(METRICS, (critic_loss, *actor_values), strict=True))
            return state, usable & checks.usable_rows(tf.where(row.mask, logits, 0.0)), values

        usable, zeros = tf.ones(minibatch(0).mask.shape[:-1], tf.bool), dict.fromkeys(METRICS, tf.zeros([]))
        return repeat(once, count, (state, usable, zeros))

    def judge(self, critics: Any, own: int, observation: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        """Joint actions `[B, N, K]` at observations -> the least of one agent's critics' values `[B]`."""
        pairs = zip(self.critics[own], critics[own], strict=True)
        values = [critic.seeing(weights, observation) for critic, weights in pairs]
        return lambda joint: tf.reduce_min(tf.stack([value(joint) for value in values]), 0)

    def _update_critics(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[State, tf.Tensor]:
        ahead_seed, share_seed, other_seed, chord_seed = tf.unstack(ops.split(seed, 4))
        interpolated, categories = self.agent.critic == "interpolated", self.agents.factors.num_categories
        ahead = self.policy.head.distribution(self.network(state.target_actors, row.next_observation), row.next_mask)
        joint = ahead.probs() if interpolated else tf.one_hot(ahead.sample(ahead_seed).action, categories)
        point = taken = tf.one_hot(row.action, categories)
        if interpolated:  # u = w p + (1 - w) one_hot, w ~ U(0, 1)
            share = ops.uniform([*taken.shape[:2], 1], share_seed)
            point = share * row.probs + (1 - share) * taken
        uniform = samplers.create("categorical")(tf.zeros_like(taken), other_seed, mask=row.mask).one_hot
        losses = []
        with tf.GradientTape() as tape:
            tape.watch(state.critics)
            for own in range(self.count):
                value = self.judge(state.target_critics, own, row.next_observation)(joint)
                value = self.agent.discount * tf.where(row.terminated[:, own], 0.0, value)
                target = tf.stop_gradient(row.reward[:, own] + value)
                there = tf.cast(row.present[:, own], tf.float32)
                for network, weights in zip(self.critics[own], state.critics[own], strict=True):
                    critic = network.seeing(weights, row.observation)
                    losses.append(tf.reduce_mean(there * tf.square(critic(point) - target)))
                    if self.agent.critic == "concatenating" and self.agent.chord_weight:
                        ends = taken, with_factor(taken, own, uniform[:, own])
                        chord = chord_loss(lambda _, at, critic=critic: critic(at), row.observation, *ends, chord_seed)
                        losses.append(self.agent.chord_weight * chord)
            loss = tf.add_n(losses)
        gradients, rate = tape.gradient(loss, state.critics), self.agent.critic_learning_rate
        critics, adam = self.adam.step(gradients, state.critic_adam, state.critics, rate)
        return state._replace(critics=critics, critic_adam=adam), loss

    def _update_actors(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[State, Any, tf.Tensor]:
        there = tf.cast(row.present, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(state.actors)
            logits = self.network(state.actors, row.observation)
            policy = self.policy.head.distribution(logits, row.mask)
            joint = tf.one_hot(row.action, self.agents.factors.num_categories)
            if self.agent.others == "policy":
                joint = tf.stop_gradient(policy.sample(ops.fold_in(seed, -1)).one_hot)
            entropy, values = policy.entropy(), []
            for own, each in enumerate(policy.agents):
                judge = self.judge(state.critics, own, row.observation)
                mine = functools.partial(with_factor, joint, own)
                values.append(
                    each.expectation(lambda at, judge=judge, mine=mine: judge(mine(at)), ops.fold_in(seed, own))
                )
            gained = tf.stack(values, 1) + self.agent.entropy_coefficient * entropy
            size = tf.reduce_mean(tf.where(row.mask, tf.square(logits), 0.0))
            loss = self.agent.logit_coefficient * size - tf.reduce_sum(tf.reduce_mean(there * gained, 0))
        gradient, rate = tape.gradient(loss, state.actors), self.agent.actor_learning_rate
        actors, adam = self.adam.step(gradient, state.actor_adam, state.actors, rate)
        metrics = loss, tf.reduce_mean(entropy), global_norm(gradient)
        return state._replace(actors=actors, actor_adam=adam), metrics, logits
