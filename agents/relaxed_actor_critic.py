"""Relaxed actor-critic: off-policy actor-critic whose policy gradient flows through a differentiable discrete action.

    python -m scripts.train agents/configs/cartpole.yaml sampler=reinmax

The critic learns Q(s, one_hot) from replay; the actor climbs `sampler.expectation(one_hot -> Q(s, one_hot))` plus an
entropy bonus. Which gradient that is, is the sampler's business: with `exact` this is discrete SAC, with
`straight_through_gumbel_softmax`, one critic and no entropy bonus the actor update of MADDPG, and so on.

Sources: Haarnoja et al. (2018), arXiv 1812.05905; Christodoulou (2019), arXiv 1910.07207 (discrete SAC); Lowe et al.
(2017), arXiv 1706.02275 (MADDPG with Gumbel-softmax actions).
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from pydantic import Field

from rlsample import checks, lab, ops, samplers
from rlsample.learning.adam import Adam, AdamState
from rlsample.learning.averaging import move_towards
from rlsample.learning.critics import CRITICS, chord_loss, on_the_way
from rlsample.learning.loops import repeat
from rlsample.learning.replay import Replay, batches_per_call, check_memory
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.loop import finite_metrics
from rlsample.rollouts.numpy_network import NumpyAct
from rlsample.rollouts.numpy_policy import quickest_actor
from rlsample.rollouts.off_policy import kept_specs, replay_capacity, train_off_policy
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.sampler_metrics import gradient_metrics, relaxation_metrics
from rlsample.rollouts.updates import Updates
from rlsample.runs import AgentConfig, Run, RunConfig
from rlsample.streams import Streams

METRICS = ("losses/critic", "losses/actor", "policy/entropy", "policy/coefficient")

EXACT_TARGET_OUTCOMES = 64
"""Up to so many joint actions the critic's target averages over all of them; beyond, it takes one draw."""


class Config(AgentConfig):
    """Hyper-parameters of the relaxed actor-critic."""

    name: str = "relaxed_actor_critic"
    critic: Literal["linear", "concatenating", "interpolated"] = Field(
        default="linear", description="Linear in the one-hot; or of any form, learned at actions or on the way to them."
    )
    num_critics: Literal[1, 2] = Field(default=2, description="2 takes the smaller of two values; 1 trusts one.")
    chord_weight: float = Field(default=1.0, ge=0, description="Of the loss that straightens a concatenating critic.")
    entropy_coefficient: float | None = Field(default=None, ge=0, description="Of the entropy bonus; null learns it.")
    target_entropy_ratio: float = Field(default=0.5, ge=0, le=1, description="Entropy aimed at: a share of the most.")
    actor_learning_rate: float = Field(default=1e-3, gt=0, description="Of the actor's Adam.")
    critic_learning_rate: float = Field(default=1e-3, gt=0, description="Of the critics' Adam.")
    entropy_learning_rate: float = Field(default=1e-3, gt=0, description="Of the entropy coefficient's Adam.")
    anneal_learning_rate: bool = Field(default=True, description="Lower actor's and critics' rates linearly to 0.")
    discount: float = Field(default=0.99, ge=0, le=1, description="Of rewards, per step.")
    target_rate: float = Field(default=0.02, gt=0, le=1, description="Share of the critics entering their averages.")
    average_rate: float = Field(default=0.005, gt=0, le=1, description="Share of the policy entering its average.")
    batch_size: int = Field(default=256, ge=1, description="Transitions per update.")
    replay_capacity: int = Field(default=100_000, ge=1, description="Transitions kept.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")
    warmup_steps: int = Field(default=1000, ge=1, description="Steps before learning; at most a tenth of the run.")
    steps_per_round: int = Field(default=64, ge=1, description="Environment steps between rounds of updates.")
    updates_per_step: float = Field(default=1.0, gt=0, description="Updates per environment step after the warm-up.")
    audit_draws: int = Field(default=0, ge=0, description="Gradient estimates per round, to measure their quality.")


class Batch(NamedTuple):
    """Minibatches of transitions: `U` updates of `B` rows."""

    observation: Any  # a tree of tensors [U, B, ...]
    mask: Any  # bool [U, B, (F,) K]
    action: Any  # int32 [U, B (, F)]
    reward: Any  # float32 [U, B]
    next_observation: Any  # likewise
    next_mask: Any  # bool [U, B, (F,) K]
    terminated: Any  # bool [U, B]


class State(NamedTuple):
    """All that is learned; weights are float32 `[P]` and `[Q]`."""

    policy: tf.Tensor
    averaged: tf.Tensor
    critics: list[tf.Tensor]
    targets: list[tf.Tensor]
    log_coefficient: tf.Tensor  # logarithm of the entropy coefficient
    policy_adam: AdamState
    critic_adam: AdamState
    coefficient_adam: AdamState


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights.

    Raises:
        ValueError: its network does not fit the observations, or the replay would not fit into memory.
    """
    spaces = observation_space, action_space
    policy = Policy(*spaces, config.sampler, config.network, hidden_sizes=(128, 128), activation="relu")
    check_memory(replay_capacity(config), kept_specs(policy, Batch._fields))
    return policy


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the averaged policy."""
    envs = config.env.make()
    learner = Learner(config, envs.single_observation_space, envs.single_action_space)
    return train_off_policy(
        GymnasiumCollector(envs, learner.policy.factors, Streams(config.seed).integer("environments")),
        learner,
        run,
        kept=learner.kept,
        replay=Replay(replay_capacity(config)),
        seed=config.seed,
        temperature=config.temperature,
    )


class Learner:
    """Actor and critics, their averages, and the compiled round of updates.

    Attributes:
        policy, averaged: act outside of compiled code; their weights are as of the last `actor` or `publish_averaged`.
        state: what was learned so far.
        update: updates so far.
        updates: how many updates there are; the learning rates end with them.
    """

    def __init__(self, config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> None:
        agent, streams = config.agent, Streams(config.seed)
        self.config, self.agent = config, agent
        self.update, self.update_seeds = 0, streams.generator("updates")
        self.updates = Updates.planned(agent, config.total_steps)
        keras.utils.set_random_seed(streams.integer("weights"))
        self.policy, self.averaged = (make_policy(config, observation_space, action_space) for _ in range(2))
        parts = self.policy.network, self.policy.observation_space, self.policy.factors.event_shape
        critics = [FlatNetwork(CRITICS[agent.critic](*parts)) for _ in range(agent.num_critics)]
        self.network, self.critic = FlatNetwork(self.policy.model), critics[0]
        self.adam = Adam(decay_steps=self.updates.total if agent.anneal_learning_rate else None)
        self.coefficient_adam = Adam()
        self.state = self._start([critic.weights() for critic in critics])
        outcomes = self.policy.factors.num_categories**self.policy.factors.num_factors
        self.target_sampler = samplers.create("exact" if outcomes <= EXACT_TARGET_OUTCOMES else "categorical")
        self.kept = kept_specs(self.policy, Batch._fields)
        self.per_call = batches_per_call(self.updates.per_call, agent.batch_size, self.kept)
        self._round = tf.function(self._learn_round, jit_compile=agent.jit_compile, autograph=False)

    def _start(self, critics: list[tf.Tensor]) -> State:
        policy, initial = self.network.weights(), self.agent.entropy_coefficient
        log_coefficient = tf.constant(math.log(max(0.2 if initial is None else initial, 1e-30)))
        adams = map(self.adam.start, (policy, critics, log_coefficient))
        return State(policy, policy, critics, critics, log_coefficient, *adams)

    def actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """Draws from the policy as it is now."""
        self.network.assign(self.state.policy)
        return quickest_actor(self.policy, seed)

    def publish_averaged(self) -> Policy:
        """Copies the running average of the policy into `averaged`, and returns it."""
        FlatNetwork(self.averaged.model).assign(self.state.averaged)
        self.averaged.head.temperature.assign(self.policy.head.temperature)
        return self.averaged

    def learn(self, replay: Replay, generator: np.random.Generator, step: int) -> dict[str, float]:
        """Makes the updates that are due after so many environment steps; returns the metrics of the last.

        Raises:
            ValueError: a network gave NaN or inf for some observation, or a loss is not finite: training has diverged.
        """
        agent = self.agent
        metrics: dict[str, float] = {}
        due, per_call = self.updates.due(step), self.per_call
        while self.update < due:
            count = min(per_call, due - self.update)
            batch = Batch(**replay.sample(generator, (per_call, agent.batch_size)))
            seed = self.update_seeds.integers(-(2**31), 2**31, 2, np.int32)
            tensors = tf.nest.map_structure(tf.constant, (batch, count, seed))
            state, usable, values = self._round(self.state, *tensors)
            checks.raise_for_unusable(usable)
            metrics |= finite_metrics({name: float(value) for name, value in values.items()})
            self.state, self.update = state, self.update + count
        return metrics

    def _learn_round(self, state: State, batch: Batch, count: tf.Tensor, seed: tf.Tensor) -> Any:
        """One update for each of the first `count` minibatches."""

        def once(index: tf.Tensor, carry: Any) -> Any:
            state, usable, _ = carry
            row = tf.nest.map_structure(lambda column: column[index], batch)
            critic_seed, actor_seed = tf.unstack(ops.split(ops.fold_in(seed, index), 2))
            state, critic_loss = self._update_critics(state, row, critic_seed)
            state, actor_loss, entropy, logits = self._update_actor(state, row, actor_seed)
            targets = move_towards(state.targets, state.critics, self.agent.target_rate)
            averaged = move_towards(state.averaged, state.policy, self.agent.average_rate)
            values = critic_loss, actor_loss, entropy, tf.exp(state.log_coefficient)
            usable &= checks.usable_rows(logits)
            return state._replace(targets=targets, averaged=averaged), usable, dict(zip(METRICS, values, strict=True))

        usable, zeros = tf.ones(batch.mask.shape[1:-1], tf.bool), dict.fromkeys(METRICS, tf.zeros([]))
        state, usable, metrics = repeat(once, count, (state, usable, zeros))
        last = tf.nest.map_structure(lambda column: column[-1], batch)
        return state, usable, metrics | self._measure(state, last, seed)

    def _measure(self, state: State, row: Batch, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the sampler does, on one minibatch."""
        policy = self.policy.head.distribution(self.network(state.policy, row.observation), row.mask)
        metrics = relaxation_metrics(policy, ops.fold_in(seed, -2))
        if not self.agent.audit_draws:
            return metrics

        def value(one_hot: tf.Tensor) -> tf.Tensor:
            return self.value(state.critics, row.observation, one_hot)

        seed, draws = ops.fold_in(seed, -1), max(2, self.agent.audit_draws)
        report = lab.online(policy.sampler, value, policy.logits, seed, draws, temperature=policy.temperature)
        return metrics | gradient_metrics(report)

    def value(self, critics: list[tf.Tensor], observation: Any, one_hot: tf.Tensor) -> tf.Tensor:
        """The least of the critics' values, `[B]`, for critics with the given weights."""
        return tf.reduce_min(tf.stack([self.critic(weights, observation, one_hot) for weights in critics]), 0)

    def _update_critics(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[State, tf.Tensor]:
        target_seed, chord_seed, other_seed = tf.unstack(ops.split(seed, 3))
        policy = self.policy.head.distribution(self.network(state.policy, row.next_observation), row.next_mask)
        value = self.target_sampler.expectation(
            lambda one_hot: self.value(state.targets, row.next_observation, one_hot), policy.drawn_logits, target_seed
        )
        value += tf.exp(state.log_coefficient) * policy.entropy()
        target = tf.stop_gradient(row.reward + self.agent.discount * tf.where(row.terminated, 0.0, value))
        one_hot = tf.one_hot(row.action, self.policy.factors.num_categories)
        if self.agent.critic == "interpolated":
            present = self.policy.head.distribution(self.network(state.policy, row.observation), row.mask)
            one_hot = on_the_way(present.probs(), one_hot, chord_seed)
        with tf.GradientTape() as tape:
            tape.watch(state.critics)
            critics = [self.critic.at(weights) for weights in state.critics]
            errors = [critic(row.observation, one_hot) - target for critic in critics]
            loss = tf.add_n([tf.reduce_mean(tf.square(error)) for error in errors])
            if self.agent.critic == "concatenating" and self.agent.chord_weight:
                other = samplers.create("categorical")(tf.zeros_like(one_hot), other_seed, mask=row.mask).one_hot
                chords = [chord_loss(critic, row.observation, one_hot, other, chord_seed) for critic in critics]
                loss += self.agent.chord_weight * tf.add_n(chords)
        gradients = tape.gradient(loss, state.critics)
        rate = self.agent.critic_learning_rate
        weights, adam = self.adam.step(gradients, state.critic_adam, state.critics, rate)
        return state._replace(critics=weights, critic_adam=adam), loss

    def _update_actor(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[State, tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(state.policy)
            logits = self.network(state.policy, row.observation)
            policy = self.policy.head.distribution(logits, row.mask)
            value = policy.expectation(lambda one_hot: self.value(state.critics, row.observation, one_hot), seed)
            entropy = policy.entropy()
            loss = -tf.reduce_mean(value + tf.exp(state.log_coefficient) * entropy)
        gradient, rate = tape.gradient(loss, state.policy), self.agent.actor_learning_rate
        weights, adam = self.adam.step(gradient, state.policy_adam, state.policy, rate)
        state = state._replace(policy=weights, policy_adam=adam)
        if self.agent.entropy_coefficient is None:
            # Most entropy there can be in each row: the logarithm of its number of legal joint actions.
            counts = tf.reduce_sum(tf.cast(row.mask, tf.float32), -1)
            most = tf.reduce_sum(tf.math.log(counts), range(1, counts.shape.rank))
            surplus = tf.reduce_mean(entropy - self.agent.target_entropy_ratio * most)
            slope, rate = surplus * tf.exp(state.log_coefficient), self.agent.entropy_learning_rate
            adam = state.coefficient_adam
            coefficient, adam = self.coefficient_adam.step(slope, adam, state.log_coefficient, rate)
            state = state._replace(log_coefficient=coefficient, coefficient_adam=adam)
        return state, loss, tf.reduce_mean(entropy), logits
