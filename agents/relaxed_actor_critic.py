"""Relaxed actor-critic: off-policy actor-critic whose policy gradient flows through a differentiable discrete action.

    python -m scripts.train agents/configs/cartpole.yaml sampler=reinmax

The critic learns Q(s, one_hot) from replay; the actor climbs `sampler.expectation(one_hot -> Q(s, one_hot))` plus an
entropy bonus. Which gradient that is, is the sampler's business: with `exact` this is discrete SAC, with
`straight_through_gumbel_softmax`, one critic and no entropy bonus the actor update of MADDPG, and so on. A row of the
replay spans `num_steps` steps, of k <= num_steps rewards; the entropy bonus of the steps between is left out:

    target = r_1 + discount r_2 + ... + discount^k (E Q_target(s', a') + entropy_coefficient H(s'))

Sources: Haarnoja et al. (2018), arXiv 1812.05905; Christodoulou (2019), arXiv 1910.07207 (discrete SAC); Lowe et al.
(2017), arXiv 1706.02275 (MADDPG with Gumbel-softmax actions).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import gymnasium as gym
import keras
import tensorflow as tf
from pydantic import Field

from rlsample import ops, samplers
from rlsample.learning.adam import Adam, AdamState
from rlsample.learning.averaging import move_towards, rate_at
from rlsample.learning.critics import CRITICS, chord_loss, on_the_way
from rlsample.learning.losses import huber
from rlsample.learning.replicas import mean_over_replicas, mirrored
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.off_policy.from_replay import train_from_replay
from rlsample.rollouts.off_policy.kept_rows import check_replay
from rlsample.rollouts.off_policy.learner import ReplayLearner
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.network import critic_of
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.rollouts.sampler_metrics import CriticAudit, relaxation_metrics
from rlsample.runs import PopulationConfig, Run, RunConfig
from rlsample.scale.environments import make_environments
from rlsample.streams import Streams

METRICS = ("losses/critic", "losses/actor", "policy/entropy", "policy/coefficient")

EXACT_TARGET_OUTCOMES = 64
"""Up to so many joint actions the critic's target averages over all of them; beyond, it takes one draw."""


class Config(PopulationConfig):
    """Hyper-parameters of the relaxed actor-critic."""

    scales: ClassVar = True
    shares_minibatches: ClassVar = True

    name: str = "relaxed_actor_critic"
    critic: Literal["linear", "concatenating", "interpolated"] = Field(
        default="linear", description="Linear in the one-hot; or of any form, learned at actions or on the way to them."
    )
    num_critics: Literal[1, 2] = Field(default=2, description="2 takes the smaller of two values; 1 trusts one.")
    chord_weight: float = Field(default=1.0, ge=0, description="Of the loss that straightens a concatenating critic.")
    largest_error: float | None = Field(default=None, gt=0, description="Of the critics; larger ones cost linearly.")
    entropy_coefficient: float | None = Field(default=None, ge=0, description="Of the entropy bonus; null learns it.")
    target_entropy_ratio: float = Field(default=0.5, ge=0, le=1, description="Entropy aimed at: a share of the most.")
    actor_learning_rate: float = Field(default=1e-3, gt=0, description="Of the actor's Adam.")
    critic_learning_rate: float = Field(default=1e-3, gt=0, description="Of the critics' Adam.")
    entropy_learning_rate: float = Field(default=1e-3, gt=0, description="Of the entropy coefficient's Adam.")
    anneal_learning_rate: bool = Field(default=True, description="Lower actor's and critics' rates linearly to 0.")
    num_steps: int = Field(default=1, ge=1, description="Rewards that are summed before a value is trusted.")
    discount: float = Field(default=0.99, ge=0, le=1, description="Of rewards, per step.")
    target_rate: float = Field(default=0.02, gt=0, le=1, description="Share of the critics entering their averages.")
    target_period: int = Field(default=1, ge=1, description="Updates between; with target_rate 1 they are copied.")
    average_rate: float = Field(default=0.005, gt=0, le=1, description="Share of the policy entering its average.")
    batch_size: int = Field(default=256, ge=1, description="Transitions per update.")
    replay_capacity: int = Field(default=100_000, ge=1, description="Transitions kept.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")
    warmup_steps: int = Field(default=1000, ge=1, description="Steps before learning; at most a tenth of the run.")
    sequence_length: int = Field(default=32, ge=2, description="With a memory: steps that are replayed together.")
    burn_in: int = Field(
        default=8, ge=0, description="With a memory: the first of them, which only bring it up to date."
    )
    steps_per_round: int = Field(default=64, ge=1, description="Environment steps between rounds of updates.")
    updates_per_step: float = Field(default=1.0, gt=0, description="Updates per environment step after the warm-up.")
    audit_draws: int = Field(default=0, ge=0, description="Gradient estimates per round, to measure their quality.")


class Batch(NamedTuple):
    """A minibatch of transitions."""

    observation: Any  # a tree of tensors [B, ...]
    mask: Any  # bool [B, (F,) K], or None where everything is legal
    action: Any  # int32 [B (, F)]
    reward: Any  # float32 [B], of the steps that the row spans
    discount: Any  # float32 [B], of the value after them
    next_observation: Any  # likewise
    next_mask: Any  # bool [B, (F,) K], or None
    terminated: Any  # bool [B]


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
    policy = policy_for(*spaces, config.sampler, config.network, hidden_sizes=(128, 128), activation="relu")
    check_replay(config, policy, Batch._fields, 1 + config.agent.num_critics)
    return policy


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the averaged policy.

    Of a population it is that of the member whose latest episodes went best.
    """
    envs = make_environments(config, config.agent.population)
    learner = Learner(config, envs.single_observation_space, envs.single_action_space)
    return train_from_replay(config, envs, learner, run)


class Learner(ReplayLearner):
    """Actor and critics of one member and their averages; see `ReplayLearner`.

    Attributes:
        averaged: acts outside of compiled code; its weights are as of the last `publish`.
    """

    metrics = METRICS

    def __init__(self, config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> None:
        self.spaces = observation_space, action_space
        self.averaged = make_policy(config, *self.spaces)
        super().__init__(config, make_policy(config, *self.spaces), Batch._fields, 1 + config.agent.num_critics)
        self.num_steps = self.agent.num_steps
        self.critics = self._critics()
        self.networks += self.critics
        self.adam = Adam(decay_steps=self.updates.total if self.agent.anneal_learning_rate else None)
        self.coefficient_adam = Adam()
        self.outcomes = self.policy.factors.num_categories**self.policy.factors.num_factors
        draws = self.agent.audit_draws
        audit = CriticAudit(lambda state, observation, action: self.judge(state.critics, observation)(action), draws)
        self.audit = audit if draws else None
        self.strategy = mirrored(config.scale.devices) if config.scale.devices > 1 else None

    def _critics(self) -> list[Any]:
        make, numbers = CRITICS[self.agent.critic], range(self.agent.num_critics)
        return [critic_of(self.policy, make, number) for number in numbers]

    def start(self, member: int) -> State:
        """The state before training, with fresh weights."""
        keras.utils.set_random_seed(Streams(self.config.seed).integer("weights", member))
        policy = FlatNetwork(make_policy(self.config, *self.spaces).model).weights()
        critics = [critic.weights() for critic in self._critics()]
        initial = self.agent.entropy_coefficient
        log_coefficient = tf.constant(math.log(max(0.2 if initial is None else initial, 1e-30)))
        adams = map(self.adam.start, (policy, critics, log_coefficient))
        return State(policy, policy, critics, critics, log_coefficient, *adams)

    def publish(self, state: State) -> Policy:
        """Copies the running average of the policy into `averaged`, and returns it."""
        FlatNetwork(self.averaged.model).assign(state.averaged)
        self.averaged.head.temperature.assign(self.policy.head.temperature)
        return self.averaged

    def weights(self, state: State) -> list[tf.Tensor]:
        """See `ReplayLearner.weights`."""
        return [state.policy, *state.critics]

    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """Draws factor indices: int32 `[E]` or `[E, F]`."""
        return self.policy.head.distribution(logits, mask).sample(seed).action

    def learn_from(self, state: State, rows: dict[str, Any], seed: tf.Tensor) -> tuple[State, Any, tf.Tensor]:
        """One update on a minibatch; the metrics; and the errors of the critics `[B]`, their mean."""
        row = Batch(**rows)
        critic_seed, actor_seed = tf.unstack(ops.split(seed, 2))
        state, critic_loss, error = self._update_critics(state, row, critic_seed)
        state, actor_loss, entropy = self._update_actor(state, row, actor_seed)
        rate = rate_at(state.critic_adam.count, self.agent.target_rate, self.agent.target_period)
        targets = move_towards(state.targets, state.critics, rate)
        averaged = move_towards(state.averaged, state.policy, self.agent.average_rate)
        values = critic_loss, actor_loss, entropy, tf.exp(state.log_coefficient)
        return state._replace(targets=targets, averaged=averaged), dict(zip(METRICS, values, strict=True)), error

    def measure(self, state: State, rows: dict[str, Any], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the sampler does, on one minibatch."""
        row = Batch(**rows)
        policy = self.policy.head.distribution(self.network(state.policy, row.observation), row.mask)
        metrics = relaxation_metrics(policy, ops.fold_in(seed, -2))
        if self.audit is None:
            return metrics
        return metrics | self.audit.measure(state, policy, row.observation, ops.fold_in(seed, -1))

    def judge(self, critics: list[tf.Tensor], observation: Any) -> Callable[[tf.Tensor], tf.Tensor]:
        """Actions at observations, as one-hots or integers -> the least of the critics' values `[B]`."""
        values = [critic.seeing(weights, observation) for critic, weights in zip(self.critics, critics, strict=True)]
        return lambda action: tf.reduce_min(tf.stack([value(action) for value in values]), 0)

    def _ahead(self, state: State, observation: Any, logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """What the targets say of the policy's actions `[B]`: their mean over all, or one drawn of many."""
        value = self.judge(state.targets, observation)
        if self.outcomes <= EXACT_TARGET_OUTCOMES:
            return samplers.create("exact").expectation(value, logits, seed)
        return value(samplers.create("categorical")(logits, seed).action)

    def _update_critics(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[State, tf.Tensor, tf.Tensor]:
        gradients, loss, error = self._over_devices(lambda *share: self._critic_gradients(state, *share), row, seed)
        rate = self.agent.critic_learning_rate
        weights, adam = self.adam.step(gradients, state.critic_adam, state.critics, rate)
        return state._replace(critics=weights, critic_adam=adam), loss, error

    def _critic_gradients(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor]:
        """Gradients of the critics' loss, the loss, and the errors `[B]`."""
        target_seed, chord_seed, other_seed = tf.unstack(ops.split(seed, 3))
        policy = self.policy.head.distribution(self.network(state.policy, row.next_observation), row.next_mask)
        value = self._ahead(state, row.next_observation, policy.drawn_logits, target_seed)
        value += tf.exp(state.log_coefficient) * policy.entropy()
        target = tf.stop_gradient(row.reward + tf.where(row.terminated, 0.0, row.discount * value))
        taken: tf.Tensor = row.action
        if self.agent.critic == "interpolated":
            present = self.policy.head.distribution(self.network(state.policy, row.observation), row.mask)
            taken = on_the_way(present.probs(), tf.one_hot(taken, self.policy.factors.num_categories), chord_seed)
        with tf.GradientTape() as tape:
            tape.watch(state.critics)
            pairs = zip(self.critics, state.critics, strict=True)
            critics = [critic.seeing(weights, row.observation) for critic, weights in pairs]
            errors = [critic(taken) - target for critic in critics]
            loss = tf.add_n([tf.reduce_mean(2.0 * huber(error, self.agent.largest_error)) for error in errors])
            if self.agent.critic == "concatenating" and self.agent.chord_weight:
                one_hot = tf.one_hot(row.action, self.policy.factors.num_categories)
                other = samplers.create("categorical")(tf.zeros_like(one_hot), other_seed, mask=row.mask).one_hot
                for critic in critics:
                    ends = row.observation, one_hot, other
                    chord = chord_loss(lambda _, action, critic=critic: critic(action), *ends, chord_seed)
                    loss += self.agent.chord_weight * chord
        return tape.gradient(loss, state.critics), loss, tf.add_n(errors) / len(errors)

    def _update_actor(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[State, tf.Tensor, tf.Tensor]:
        found = self._over_devices(lambda *share: (*self._actor_gradient(state, *share), ()), row, seed)
        gradient, loss, entropy, surplus, _ = found
        rate = self.agent.actor_learning_rate
        weights, adam = self.adam.step(gradient, state.policy_adam, state.policy, rate)
        state = state._replace(policy=weights, policy_adam=adam)
        if self.agent.entropy_coefficient is None:
            slope, rate = surplus * tf.exp(state.log_coefficient), self.agent.entropy_learning_rate
            adam = state.coefficient_adam
            coefficient, adam = self.coefficient_adam.step(slope, adam, state.log_coefficient, rate)
            state = state._replace(log_coefficient=coefficient, coefficient_adam=adam)
        return state, loss, entropy

    def _actor_gradient(self, state: State, row: Batch, seed: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Gradient of the actor's loss, the loss, the mean entropy, and by how much it exceeds what is aimed at."""
        with tf.GradientTape() as tape:
            tape.watch(state.policy)
            logits = self.network(state.policy, row.observation)
            policy = self.policy.head.distribution(logits, row.mask)
            value = policy.expectation(self.judge(state.critics, row.observation), seed)
            entropy = policy.entropy()
            loss = -tf.reduce_mean(value + tf.exp(state.log_coefficient) * entropy)
        surplus = tf.reduce_mean(entropy - self.agent.target_entropy_ratio * self._most_entropy(row.mask))
        return tape.gradient(loss, state.policy), loss, tf.reduce_mean(entropy), surplus

    def _over_devices(self, function: Callable[[Batch, tf.Tensor], Any], row: Batch, seed: tf.Tensor) -> Any:
        """What a function of rows and a seed says: means over rows, and last of all something for each row.

        Several devices compute it each of a share of the rows, with noise of its own.
        """
        if self.strategy is None:
            return function(row, seed)
        count, size, variable = self.agent.batch_size, self.strategy.num_replicas_in_sync, self.policy.head.temperature
        temperature = tf.convert_to_tensor(variable)  # Which a program of another device could not read.

        def share(place: tf.Tensor, columns: dict[str, Any]) -> Any:
            row = Batch(**dict.fromkeys(Batch._fields) | columns)
            with keras.StatelessScope([(variable, temperature)]):
                *means, each = function(row, ops.fold_in(seed, place[0]))
            # A mean over the devices, too: zeros where another device has the row.
            return *means, tf.nest.map_structure(lambda own: tf.scatter_nd(place[:, None], size * own, [count]), each)

        columns = {name: column for name, column in row._asdict().items() if column is not None}
        compiled = tf.function(share, jit_compile=self.agent.jit_compile, autograph=False)
        return mean_over_replicas(self.strategy, lambda pair: compiled(*pair), (tf.range(count), columns))

    def _most_entropy(self, mask: tf.Tensor | None) -> Any:
        """The most entropy there can be in each row: the logarithm of its number of legal joint actions."""
        if mask is None:
            return math.log(math.prod(self.policy.factors.sizes))
        counts = tf.reduce_sum(tf.cast(mask, tf.float32), -1)
        return tf.reduce_sum(tf.math.log(counts), range(1, counts.shape.rank))
