"""Relaxed actor-critic: off-policy actor-critic whose policy gradient flows through a differentiable discrete action.

    python -m scripts.train agents/configs/cartpole.yaml sampler=reinmax

The critic learns Q(s, one_hot) from replay; the actor climbs `sampler.expectation(one_hot -> Q(s, one_hot))` plus an
entropy bonus. Which gradient that is, is the sampler's business: with `exact` this is discrete SAC, with
`straight_through_gumbel_softmax`, one critic and no entropy bonus the actor update of MADDPG, and so on.

Sources: Haarnoja et al. (2018), arXiv 1812.05905; Christodoulou (2019), arXiv 1910.07207 (discrete SAC); Lowe et al.
(2017), arXiv 1706.02275 (MADDPG with Gumbel-softmax actions).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from pydantic import Field

from rlsample import checks, lab, ops, samplers
from rlsample.learning.critics import CRITICS, chord_loss
from rlsample.learning.replay import Replay
from rlsample.networks.mlp import move_towards
from rlsample.rollouts.gymnasium_collector import Collector
from rlsample.rollouts.policy import Policy
from rlsample.runs import AgentConfig, Run, RunConfig

EXACT_TARGET_OUTCOMES = 64
"""Up to so many joint actions the critic's target averages over all of them; beyond, it takes one draw."""


class Config(AgentConfig):
    """Hyper-parameters of the relaxed actor-critic.

    Attributes:
        critic: `linear` in the one-hot, whose slope is right by construction, or `concatenating`.
        num_critics: 2 takes the smaller of two values (clipped double Q); 1 trusts one.
        chord_weight: weight of the chord loss that straightens a concatenating critic; not used by a linear one.
        entropy_coefficient: weight of the entropy bonus; None learns it.
        target_entropy_ratio: entropy that the learned coefficient aims at, as a share of the most there can be.
        hidden_sizes: widths of the hidden layers of actor and critics.
        actor_learning_rate, critic_learning_rate, entropy_learning_rate: of the three Adam optimizers.
        anneal_learning_rate: lower the learning rates of actor and critics linearly to 0 over the run.
        discount: of rewards, a step.
        target_rate: share of the critics that enters the target critics at each update (Polyak averaging).
        average_rate: share of the policy that enters the averaged policy at each update. The averaged policy is the one
            that is evaluated and returned; the current one collects.
        batch_size: transitions an update.
        replay_capacity: transitions kept.
        warmup_steps: environment steps with uniform actions before learning begins; at most a tenth of the run, so
            that a short one learns too.
        steps_per_round: environment steps between rounds of updates; one compiled call a round.
        updates_per_step: updates for each environment step.
        audit_draws: gradient estimates, once a round, that the metrics `sampler/*` are made of: how near the sampler's
            gradient is to the exact one of the current critics, and how noisy. 0 for none.
    """

    name: str = "relaxed_actor_critic"
    critic: Literal["linear", "concatenating"] = "linear"
    num_critics: Literal[1, 2] = 2
    chord_weight: float = Field(default=1.0, ge=0)
    entropy_coefficient: float | None = Field(default=None, ge=0)
    target_entropy_ratio: float = Field(default=0.5, ge=0, le=1)
    hidden_sizes: tuple[int, ...] = (128, 128)
    actor_learning_rate: float = Field(default=1e-3, gt=0)
    critic_learning_rate: float = Field(default=1e-3, gt=0)
    entropy_learning_rate: float = Field(default=1e-3, gt=0)
    anneal_learning_rate: bool = True
    discount: float = Field(default=0.99, ge=0, le=1)
    target_rate: float = Field(default=0.02, gt=0, le=1)
    average_rate: float = Field(default=0.005, gt=0, le=1)
    batch_size: int = Field(default=256, ge=1)
    replay_capacity: int = Field(default=100_000, ge=1)
    warmup_steps: int = Field(default=1000, ge=1)
    steps_per_round: int = Field(default=64, ge=1)
    updates_per_step: float = Field(default=1.0, gt=0)
    audit_draws: int = Field(default=0, ge=0)


class Batch(NamedTuple):
    """Minibatches of transitions: `U` updates of `B` rows."""

    observation: Any  # float32 [U, B, D]
    mask: Any  # bool [U, B, (F,) K]
    action: Any  # int32 [U, B (, F)]
    reward: Any  # float32 [U, B]
    next_observation: Any  # float32 [U, B, D]
    next_mask: Any  # bool [U, B, (F,) K]
    terminated: Any  # bool [U, B]


def make_policy(config: RunConfig, observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights."""
    agent = cast(Config, config.agent)
    return Policy(observation_space, action_space, config.sampler, hidden_sizes=agent.hidden_sizes, activation="relu")


def train(config: RunConfig, run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the averaged policy."""
    agent = cast(Config, config.agent)
    keras.utils.set_random_seed(config.seed)
    generator = np.random.default_rng(config.seed)
    envs = config.env.make()
    policy = make_policy(config, envs.single_observation_space, envs.single_action_space)
    collector = Collector(envs, policy.factors, config.seed)
    averaged = make_policy(config, envs.single_observation_space, envs.single_action_space)
    learner = Learner(agent, policy, averaged, round(config.total_steps * agent.updates_per_step))
    replay = Replay(agent.replay_capacity)
    rounds_done, update, metrics = 0, 0, {}
    warmup_steps = min(agent.warmup_steps, config.total_steps // 10)

    for step in range(0, config.total_steps, envs.num_envs):
        if run.stopping:
            break
        seed = np.array([config.seed, step], np.int32)
        if step < warmup_steps:
            action = uniform_actions(generator, collector.mask)
        else:
            action = policy.sample(collector.observation, collector.mask, seed)
        transition = collector.step(action)
        fields = transition._asdict()
        replay.add({name: fields[name][transition.valid] for name in Batch._fields})

        step += envs.num_envs
        last = step >= config.total_steps
        if step >= warmup_steps and (last or step // agent.steps_per_round > rounds_done):
            rounds_done = step // agent.steps_per_round
            policy.head.temperature.assign(config.temperature(step))
            rounds = max(1, round(agent.steps_per_round * agent.updates_per_step))
            batch = Batch(**replay.sample(generator, (rounds, agent.batch_size)))
            metrics = learner.learn(batch, seed)
            update += rounds
            run.log(step, metrics | collector.pop_episodes(), update)
            run.evaluate_when_due(learner.averaged, step)
    envs.close()
    return learner.averaged


def uniform_actions(generator: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Legal factor indices drawn uniformly: int32 `[B]` or `[B, F]`."""
    return np.argmax(np.where(mask, generator.random(mask.shape), -1.0), -1).astype(np.int32)


class Learner:
    """Critics, targets, entropy coefficient, optimizers, and the compiled round of updates.

    Attributes:
        log_coefficient: logarithm of the entropy coefficient, a variable.
    """

    def __init__(self, config: Config, policy: Policy, averaged: Policy, total_updates: int) -> None:
        self.config, self.policy, self.averaged = config, policy, averaged
        averaged.model.set_weights(policy.model.get_weights())
        event_shape, features = policy.factors.event_shape, policy.model.input_shape[-1]
        make = CRITICS[config.critic]
        self.critics = [make(features, event_shape, config.hidden_sizes) for _ in range(config.num_critics)]
        self.targets = [make(features, event_shape, config.hidden_sizes) for _ in range(config.num_critics)]
        for critic, target in zip(self.critics, self.targets, strict=True):
            target.set_weights(critic.get_weights())
        initial = 0.2 if config.entropy_coefficient is None else config.entropy_coefficient
        self.log_coefficient = tf.Variable(np.log(max(initial, 1e-30)), dtype=tf.float32, name="log_coefficient")
        self.critic_weights = [weight for critic in self.critics for weight in critic.trainable_variables]
        end = 0.0 if config.anneal_learning_rate else 1.0

        def annealed(rate: float) -> keras.optimizers.schedules.LearningRateSchedule:
            return keras.optimizers.schedules.PolynomialDecay(rate, total_updates, end * rate)

        self.actor_optimizer = keras.optimizers.Adam(annealed(config.actor_learning_rate))
        self.critic_optimizer = keras.optimizers.Adam(annealed(config.critic_learning_rate))
        self.entropy_optimizer = keras.optimizers.Adam(config.entropy_learning_rate)
        self.actor_optimizer.build(policy.model.trainable_variables)
        self.critic_optimizer.build(self.critic_weights)
        self.entropy_optimizer.build([self.log_coefficient])
        outcomes = policy.factors.num_categories**policy.factors.num_factors
        self.target_sampler = samplers.create("exact" if outcomes <= EXACT_TARGET_OUTCOMES else "categorical")
        self._round = tf.function(self._learn_round, jit_compile=True)

    def learn(self, batch: Batch, seed: np.ndarray) -> dict[str, float]:
        """One update for each of the `U` minibatches; returns the metrics of the last.

        Raises:
            ValueError: a network gave NaN or inf for some observation: training has diverged.
        """
        usable, metrics = self._round(Batch(*map(tf.constant, batch)), tf.constant(seed))
        checks.raise_for_unusable(usable)
        return {name: float(value) for name, value in metrics.items()}

    def _learn_round(self, batch: Batch, seed: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        usable = tf.ones(batch.mask.shape[1:-1], tf.bool)
        zero = tf.zeros([])
        metrics = dict.fromkeys(("losses/critic", "losses/actor", "policy/entropy", "policy/coefficient"), zero)
        for index in tf.range(tf.shape(batch.reward)[0]):
            row = Batch(*(column[index] for column in batch))
            critic_seed, actor_seed = tf.unstack(ops.split(ops.fold_in(seed, index), 2))
            critic_loss = self._update_critics(row, critic_seed)
            actor_loss, entropy, logits = self._update_actor(row, actor_seed)
            self._update_averages()
            usable &= checks.usable_rows(logits)
            metrics = dict(zip(metrics, (critic_loss, actor_loss, entropy, tf.exp(self.log_coefficient)), strict=True))
        if self.config.audit_draws:
            metrics |= self._audit(Batch(*(column[-1] for column in batch)), ops.fold_in(seed, -1))
        return usable, metrics

    def _audit(self, row: Batch, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        law = self.policy.head.distribution(self.policy.model(row.observation), row.mask)
        report = lab.online(
            law.sampler,
            lambda one_hot: smallest(self.critics, row.observation, one_hot),
            law.logits,
            seed,
            max(2, self.config.audit_draws),
            temperature=law.temperature,
        )
        return {f"sampler/{name}": value for name, value in report._asdict().items()}

    def _update_critics(self, row: Batch, seed: tf.Tensor) -> tf.Tensor:
        target_seed, chord_seed, other_seed = tf.unstack(ops.split(seed, 3))
        law = self.policy.head.distribution(self.policy.model(row.next_observation), row.next_mask)
        value = self.target_sampler.expectation(
            lambda one_hot: smallest(self.targets, row.next_observation, one_hot), law.drawn_logits, target_seed
        )
        value += tf.exp(self.log_coefficient) * law.entropy()
        target = tf.stop_gradient(row.reward + self.config.discount * tf.where(row.terminated, 0.0, value))
        one_hot = tf.one_hot(row.action, self.policy.factors.num_categories)
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [tf.reduce_mean(tf.square(critic(row.observation, one_hot) - target)) for critic in self.critics]
            )
            if self.config.critic == "concatenating" and self.config.chord_weight:
                other = samplers.create("categorical")(tf.zeros_like(one_hot), other_seed, mask=row.mask).one_hot
                chords = [chord_loss(critic, row.observation, one_hot, other, chord_seed) for critic in self.critics]
                loss += self.config.chord_weight * tf.add_n(chords)
        self.critic_optimizer.apply(tape.gradient(loss, self.critic_weights), self.critic_weights)
        return loss

    def _update_actor(self, row: Batch, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        weights = self.policy.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.policy.model(row.observation)
            law = self.policy.head.distribution(logits, row.mask)
            value = law.expectation(lambda one_hot: smallest(self.critics, row.observation, one_hot), seed)
            entropy = law.entropy()
            loss = -tf.reduce_mean(value + tf.exp(self.log_coefficient) * entropy)
        self.actor_optimizer.apply(tape.gradient(loss, weights), weights)
        if self.config.entropy_coefficient is None:
            # Most entropy there can be in each row: the logarithm of its number of legal joint actions.
            counts = tf.reduce_sum(tf.cast(row.mask, tf.float32), -1)
            legal = tf.reduce_sum(tf.math.log(counts), range(1, counts.shape.rank))
            surplus = tf.reduce_mean(entropy - self.config.target_entropy_ratio * legal)
            self.entropy_optimizer.apply([surplus * tf.exp(self.log_coefficient)], [self.log_coefficient])
        return loss, tf.reduce_mean(entropy), logits

    def _update_averages(self) -> None:
        move_towards(self.averaged.model, self.policy.model, self.config.average_rate)
        for critic, target in zip(self.critics, self.targets, strict=True):
            move_towards(target, critic, self.config.target_rate)


def smallest(critics: list[keras.Model], observation: tf.Tensor, one_hot: tf.Tensor) -> tf.Tensor:
    """The least of the critics' values, `[B]`."""
    return tf.reduce_min(tf.stack([critic(observation, one_hot) for critic in critics]), 0)
