"""Proximal policy optimization for discrete actions of any kind, stepped by Python or compiled whole.

    python -m scripts.train agents/configs/ppo_cartpole.yaml seed=3
    python -m scripts.train agents/configs/ppo_cartpole.yaml env.id=CartPole-v1

An environment that can be stepped inside the graph (`rlsample/CartPole-v1`) is collected in the same XLA program as the
update, any other one through Gymnasium; both give the same `Rollout` to learn from.

Sources: Schulman et al. (2017), arXiv 1707.06347; Huang et al. (2022), The 37 implementation details of proximal policy
optimization, whose settings for classic control are the defaults.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import gymnasium as gym
import keras
import numpy as np
import pydantic
import tensorflow as tf
from pydantic import Field

from rlsample import checks, ops
from rlsample.learning import losses, shuffle
from rlsample.learning.loops import repeat
from rlsample.learning.population import StackedModel, for_each_member, split_rows
from rlsample.learning.returns import generalized_advantage_estimation
from rlsample.networks.mlp import mlp
from rlsample.rollouts import in_graph_collector as rollout
from rlsample.rollouts.gymnasium_collector import Transition
from rlsample.rollouts.loop import training_loop
from rlsample.rollouts.observations import feature_size
from rlsample.rollouts.policy import Policy
from rlsample.runs import AgentConfig, Run, RunConfig

METRICS = ("losses/policy", "losses/value", "policy/entropy", "policy/approximate_kl", "policy/clip_fraction")

MAX_STEPS_PER_CALL = 65536
"""About so many steps are taken between two looks at whether to log, evaluate or stop."""

ROWS_IN_CACHE = 4096
"""More rows than this go through the networks in pieces: their activations no longer stay near the processor."""

Rate = float | tuple[float, ...]


class Config(AgentConfig):
    """Hyper-parameters of PPO. With a population, a tuple gives each member its own value.

    Attributes:
        num_steps: steps that each environment takes in a rollout.
        num_epochs: passes over a rollout.
        num_minibatches: gradient steps a pass; divides `num_steps * env.num_envs`.
        learning_rate: of Adam.
        anneal_learning_rate: lower it linearly to 0 over the run.
        discount: of rewards, a step.
        trace_decay: lambda of the advantage estimates.
        clip_range: how far the probability ratio of an action may move from 1 and gain by it.
        clip_values: hold values to the same range around the old ones; sensible only for rewards of that scale.
        normalize_advantages: to mean 0 and deviation 1 in each minibatch.
        entropy_coefficient: weight of the entropy bonus.
        value_coefficient: weight of the value loss.
        max_gradient_norm: longer gradients, of policy and critic together, are shortened to it.
        hidden_sizes: widths of the hidden layers of policy and critic.
        population: agents trained side by side, each with weights and `env.num_envs` environments of its own.
        jit_compile: by XLA; without it training starts two seconds sooner and is several times slower.
    """

    name: str = "ppo"
    num_steps: int = Field(default=128, ge=1)
    num_epochs: int = Field(default=4, ge=1)
    num_minibatches: int = Field(default=4, ge=1)
    learning_rate: Rate = 2.5e-4
    anneal_learning_rate: bool = True
    discount: float = Field(default=0.99, ge=0, le=1)
    trace_decay: float = Field(default=0.95, ge=0, le=1)
    clip_range: float = Field(default=0.2, gt=0)
    clip_values: bool = True
    normalize_advantages: bool = True
    entropy_coefficient: Rate = 0.01
    value_coefficient: float = Field(default=0.5, ge=0)
    max_gradient_norm: float = Field(default=0.5, gt=0)
    hidden_sizes: tuple[int, ...] = (64, 64)
    population: int = Field(default=1, ge=1)
    jit_compile: bool = True

    @pydantic.model_validator(mode="after")
    def _one_for_each_member(self) -> Config:
        for name in ("learning_rate", "entropy_coefficient"):
            value = getattr(self, name)
            received: dict[str, Any] = {name: value}
            if isinstance(value, tuple) and len(value) != self.population:
                raise checks.invalid("one number, or one for each member", population=self.population, **received)
            if self.by_member(name).min() < 0 or not self.by_member("learning_rate").all():
                raise checks.invalid("learning_rate > 0 and entropy_coefficient >= 0", **received)
        return self

    def by_member(self, name: str) -> np.ndarray:
        """The hyper-parameter of each member: float32 `[S]`."""
        return np.broadcast_to(np.asarray(getattr(self, name), np.float32), [self.population])


class Minibatch(NamedTuple):
    """Rows to learn from, `[n, ...]` each; None where there is nothing to say, as in `Rollout`."""

    observation: Any
    action: Any
    log_prob: Any
    value: Any
    advantage: Any
    target: Any
    mask: Any = None
    valid: Any = None


def make_policy(config: RunConfig, observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights.

    Raises:
        ValueError: a rollout does not divide into the minibatches asked for.
    """
    agent = cast(Config, config.agent)
    if agent.num_steps * config.env.num_envs % agent.num_minibatches:
        raise checks.invalid(
            "agent.num_steps * env.num_envs to be a multiple of agent.num_minibatches",
            num_steps=agent.num_steps,
            num_envs=config.env.num_envs,
            num_minibatches=agent.num_minibatches,
        )
    return Policy(observation_space, action_space, config.sampler, hidden_sizes=agent.hidden_sizes)


def train(config: RunConfig, run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the policy.

    Of a population it is the member whose latest episodes went best; `train_population` returns all.
    """
    policies, scores = train_population(config, run)
    return policies[int(np.argmax(scores))]


def train_population(config: RunConfig, run: Run) -> tuple[list[Policy], np.ndarray]:
    """Trains as `train` does; returns the policy of each member and the mean return of its latest episodes `[S]`.

    Steps are those of one member: each takes `config.total_steps`.
    """
    agent = cast(Config, config.agent)
    rows = agent.num_steps * config.env.num_envs
    num_rollouts, done = max(1, config.total_steps // rows), 0
    at_once = max(1, min(MAX_STEPS_PER_CALL, config.evaluation.every or MAX_STEPS_PER_CALL) // rows)
    envs = config.env.make(num_envs=config.env.num_envs * agent.population)
    learner = Learner(config, envs, num_rollouts)
    loop = training_loop(envs, learner, agent.num_steps, config.seed, agent.jit_compile)
    while done < num_rollouts and not run.stopping:
        learner.set_temperature(config.temperature(done * rows))
        count = min(loop.most, at_once, num_rollouts - done)
        metrics = loop.advance(count, done)
        done += count
        run.log(done * rows, metrics, done * agent.num_epochs * agent.num_minibatches)
        if config.evaluation.every:
            learner.publish()
            run.evaluate_when_due(learner.policies[int(np.argmax(loop.scores))], done * rows)
    learner.publish()
    envs.close()
    return learner.policies, loop.scores


class Learner:
    """Networks and optimizer, and what a compiled program does with them.

    Attributes:
        policies: one a member; their weights are as of the last `publish`.
        networks, critics: the weights that are learned, all members' in one.
        zeros: the sums of no metrics.
    """

    def __init__(self, config: RunConfig, envs: gym.vector.VectorEnv, num_rollouts: int) -> None:
        agent = cast(Config, config.agent)
        self.agent = agent
        self.policies, critics = [], []
        for member in range(agent.population):
            keras.utils.set_random_seed(config.seed + member)
            self.policies.append(make_policy(config, envs.single_observation_space, envs.single_action_space))
            size = feature_size(envs.single_observation_space)
            critics.append(mlp(size, agent.hidden_sizes, 1, activation="tanh"))
        self.networks, self.critics = StackedModel([policy.model for policy in self.policies]), StackedModel(critics)
        self.weights = [self.networks.weights, self.critics.weights]
        rates, updates = agent.by_member("learning_rate"), num_rollouts * agent.num_epochs * agent.num_minibatches
        fastest = float(rates.max())
        last = 0.0 if agent.anneal_learning_rate else fastest
        self.optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.PolynomialDecay(fastest, updates, last), epsilon=1e-5
        )
        self.optimizer.build(self.weights)
        self.shares = rates / fastest
        self.zeros = {name: tf.zeros([agent.population]) for name in METRICS}

    def set_temperature(self, temperature: tf.Tensor) -> None:
        """Sets the temperature of every head."""
        for policy in self.policies:
            policy.head.temperature.assign(temperature)

    def publish(self) -> None:
        """Copies what was learned into the policies."""
        self.networks.publish()

    @property
    def act(self) -> rollout.Act:
        """Draws int32 `[S * E]` or `[S * E, F]` for features `[S * E, D]`, with the weights as they are now."""
        networks = self.networks.snapshot()
        return lambda observation, mask, seed: self._law(networks(observation[None])[0], mask).sample(seed).action

    def learn(self, transitions: Transition, seed: tf.Tensor, sound: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Learns from one rollout `[T, S * E, ...]`; see `on_policy.Learner`. Metrics are summed over minibatches."""
        agent, size = self.agent, self.agent.population
        columns = self._evaluate(transitions)
        usable = tf.math.is_finite(columns["advantage"] + tf.reduce_sum(columns["observation"], -1))
        sound &= tf.reduce_all(usable, 0)
        columns = {name: split_rows(column, size) for name, column in columns.items()}
        packed, unpack = shuffle.pack(columns, axes=2)
        rows, width = packed.shape[1:]

        def epoch(index: tf.Tensor, sums: Any) -> Any:
            order = shuffle.permutation(rows, ops.fold_in(seed, index))
            shape = [size, agent.num_minibatches, rows // agent.num_minibatches, width]
            minibatches = tf.reshape(tf.gather(packed, order, axis=1), shape)

            def minibatch(index: tf.Tensor, sums: Any) -> Any:
                return tf.nest.map_structure(tf.add, sums, self._update(unpack(minibatches[:, index])))

            return repeat(minibatch, agent.num_minibatches, sums)

        return repeat(epoch, tf.where(tf.reduce_all(sound), agent.num_epochs, 0), self.zeros), sound

    def means(self, sums: dict[str, tf.Tensor], num_rollouts: int) -> dict[str, float]:
        """Turns what `learn` returned, summed over rollouts, into means over minibatches and members.

        Raises:
            ValueError: they are not finite.
        """
        updates = num_rollouts * self.agent.num_epochs * self.agent.num_minibatches
        means = {name: float(np.mean(total)) / updates for name, total in sums.items()}
        if not np.isfinite(list(means.values())).all():
            raise checks.invalid("finite losses", hint="Training diverged: lower agent.learning_rate.", **means)
        return means

    def _law(self, logits: tf.Tensor, mask: tf.Tensor | None) -> Any:
        return self.policies[0].head.distribution(logits, mask)

    def _evaluate(self, transitions: Transition) -> dict[str, tf.Tensor]:
        """The fields of a `Minibatch`, `[T, S * E, ...]`, without those that are None."""
        data = rollout.evaluate(
            transitions,
            lambda observation, mask, action: self._law(self.networks(observation), mask).log_prob(action),
            lambda observation: self.critics(observation)[..., 0],
        )
        advantage = generalized_advantage_estimation(
            data.reward,
            data.value,
            data.next_value,
            data.terminated,
            data.truncated,
            self.agent.discount,
            self.agent.trace_decay,
        )
        columns = data._asdict() | {"advantage": advantage, "target": data.value + advantage}
        return {name: columns[name] for name in Minibatch._fields if columns[name] is not None}

    def _update(self, columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One gradient step of every member on its minibatch `[S, n, ...]`; returns the metrics."""
        each = functools.partial(for_each_member, size=self.agent.population)
        if self.agent.normalize_advantages:
            flags = [columns["valid"]] if "valid" in columns else []
            columns = columns | {"advantage": each(losses.standardize)(columns["advantage"], *flags)}
        # A mean over rows is the mean of those over equal pieces, unless some of the rows do not count.
        most = None if "valid" in columns else ROWS_IN_CACHE
        zeros = ([tf.zeros_like(weight) for weight in self.weights], self.zeros)
        gradients, numbers = shuffle.mean_over_pieces(self._gradients, columns, zeros, most)
        gradients = each(lambda *gradients: shortened(gradients, self.agent.max_gradient_norm))(*gradients)
        before = [tf.convert_to_tensor(weight) for weight in self.weights]
        self.optimizer.apply(gradients, self.weights)
        if self.shares.min() < 1:
            # Adam's step is proportional to its rate: a share of the step is the step at that share of the rate.
            for old, weight in zip(before, self.weights, strict=True):
                weight.assign(old + self.shares[:, None] * (weight - old))
        return numbers

    def _gradients(self, columns: dict[str, tf.Tensor]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Gradients and metrics of every member's loss on columns `[S, n, ...]`."""

        def gradient(network: Any, critic: Any, entropy_coefficient: tf.Tensor, columns: dict[str, tf.Tensor]) -> Any:
            with tf.GradientTape() as tape:
                tape.watch((network, critic))
                loss, numbers = self._loss(network, critic, Minibatch(**columns), entropy_coefficient)
            return tape.gradient(loss, [network, critic]), numbers

        coefficients = tf.constant(self.agent.by_member("entropy_coefficient"))
        return for_each_member(gradient, self.agent.population)(*self.weights, coefficients, columns)

    def _loss(
        self, network: Any, critic: Any, rows: Minibatch, entropy_coefficient: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        """One member's loss and metrics."""
        agent = self.agent
        law = self._law(self.networks.member(network, rows.observation), rows.mask)
        log_ratio = law.log_prob(rows.action) - rows.log_prob
        policy = losses.clipped_surrogate_loss(log_ratio, rows.advantage, agent.clip_range, rows.valid)
        value = losses.value_loss(
            self.critics.member(critic, rows.observation)[..., 0],
            rows.target,
            rows.value,
            agent.clip_range if agent.clip_values else None,
            rows.valid,
        )
        entropy = losses.masked_mean(law.entropy(), rows.valid)
        loss = policy + agent.value_coefficient * value - entropy_coefficient * entropy
        kl = losses.approximate_kl(log_ratio, rows.valid)
        clipped = losses.clip_fraction(log_ratio, agent.clip_range, rows.valid)
        return loss, dict(zip(METRICS, (policy, value, entropy, kl, clipped), strict=True))


def shortened(gradients: Sequence[tf.Tensor], max_norm: float) -> list[tf.Tensor]:
    """Gradients scaled, all by the same factor, so that their joint norm is at most `max_norm`."""
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients]))
    return [gradient * (max_norm / tf.maximum(norm, max_norm)) for gradient in gradients]
