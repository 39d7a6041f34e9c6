"""Short-horizon actor-critic: the policy gradient is the derivative of a few simulated steps and of the value beyond.

    python -m scripts.train agents/configs/short_horizon_cartpole.yaml sampler=reinmax

Copies of a differentiable environment play segments of `horizon` steps, in the same compiled program that updates the
networks. The actions come from a pathwise sampler. With a hard one (straight-through, ReinMax, ...) the environment
takes ordinary discrete steps, and yet what comes of them has a gradient with respect to the logits of every step. What
comes after the segment is the critic's to say:

    G_t = r_t + discount ((1 - trace_decay) V(s_{t+1}) + trace_decay G_{t+1}),  G_T = V(s_T)

The actor climbs the return G of the step a segment begins with, the critic learns G at every step. The end of an
episode cuts a segment in two: no gradient passes a reset, a terminated state is worth 0, one at the time limit V(s).

Source: Xu et al. (2022), Accelerated policy learning with parallel differentiable simulation, arXiv 2204.07137. Other
than there, actions are discrete; the critic learns many times from several of the latest segments, because its slope is
all there is to follow where rewards have none (CartPole pays 1 a step); and an averaged policy is what is evaluated.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from pydantic import Field

from rlsample import checks, ops
from rlsample.learning.loops import repeat
from rlsample.learning.normalization import RunningNormalization, normalized
from rlsample.learning.returns import lambda_returns
from rlsample.networks.mlp import mlp, move_towards
from rlsample.rollouts.gymnasium_collector import Transition
from rlsample.rollouts.in_graph_collector import Finished, InGraphCollector, Running, in_graph_env
from rlsample.rollouts.loop import InGraph
from rlsample.rollouts.policy import Policy
from rlsample.runs import AgentConfig, Run, RunConfig

METRICS = ("losses/actor", "losses/critic", "policy/entropy", "policy/gradient_norm")


class Config(AgentConfig):
    """Hyper-parameters of the short-horizon actor-critic.

    Attributes:
        horizon: steps of a segment, through which the policy gradient flows.
        discount: of rewards, a step.
        trace_decay: lambda of the returns; 1 is the sum of the segment's rewards and the value at its end.
        actor_learning_rate, critic_learning_rate: of the two Adam optimizers.
        anneal_learning_rate: lower both linearly to 0 over the run.
        max_gradient_norm: a longer gradient of the actor is shortened to it.
        entropy_coefficient: weight of the entropy bonus.
        memory: how many of the latest segments the critic learns from; 1 for the present one only.
        critic_updates: gradient steps of the critic for each one of the actor.
        critic_batch_size: segments of single environments in each.
        target_rate: share of the critic that enters the target critic at each of its steps (Polyak averaging).
        average_rate: share of the policy that enters the averaged policy at each of its steps. The averaged policy is
            the one that is evaluated and returned; the current one plays.
        hidden_sizes: widths of the hidden layers of actor and critic.
        jit_compile: by XLA; without it training starts seconds sooner and is several times slower.
    """

    name: str = "short_horizon_actor_critic"
    horizon: int = Field(default=16, ge=1)
    discount: float = Field(default=0.99, ge=0, lt=1)
    trace_decay: float = Field(default=0.95, ge=0, le=1)
    actor_learning_rate: float = Field(default=2e-3, gt=0)
    critic_learning_rate: float = Field(default=2e-3, gt=0)
    anneal_learning_rate: bool = True
    max_gradient_norm: float = Field(default=1.0, gt=0)
    entropy_coefficient: float = Field(default=1e-3, ge=0)
    memory: int = Field(default=32, ge=1)
    critic_updates: int = Field(default=32, ge=1)
    critic_batch_size: int = Field(default=32, ge=1)
    target_rate: float = Field(default=0.02, gt=0, le=1)
    average_rate: float = Field(default=0.1, gt=0, le=1)
    hidden_sizes: tuple[int, ...] = (64, 64)
    jit_compile: bool = True


def make_policy(config: RunConfig, observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights.

    Raises:
        ValueError: the sampler's draws carry no gradient, or the environment would not carry it on.
    """
    check_differentiable(config)
    hidden_sizes = cast(Config, config.agent).hidden_sizes
    policy = Policy(observation_space, action_space, config.sampler, hidden_sizes=hidden_sizes)
    policy.model = normalized(policy.model, RunningNormalization(name="normalization"))
    return policy


def check_differentiable(config: RunConfig) -> None:
    """Raises ValueError unless gradients can pass through the sampler and through the environment."""
    if not config.sampler.pathwise:
        hint = "Use straight_through_gumbel_softmax, straight_through or reinmax."
        raise checks.invalid("a sampler whose draws carry a gradient", sampler=config.sampler.name, hint=hint)
    envs = config.env.make(num_envs=1)
    env = in_graph_env(envs)
    envs.close()
    if env is None or not env.differentiable:
        hint = "Use an in-graph environment whose rewards or states have a slope, such as rlsample/CartPole-v1."
        raise checks.invalid("an environment with a gradient", env=config.env.id, hint=hint)


def train(config: RunConfig, run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the averaged policy."""
    keras.utils.set_random_seed(config.seed)
    agent = cast(Config, config.agent)
    envs = config.env.make()
    policy, averaged = (make_policy(config, envs.single_observation_space, envs.single_action_space) for _ in range(2))
    rows = agent.horizon * envs.num_envs
    num_segments, done = max(1, config.total_steps // rows), 0
    at_once = max(1, min(Loop.most, (config.evaluation.every or config.total_steps) // rows))
    learner = Learner(agent, policy, averaged, envs.num_envs, num_segments)
    loop = Loop(envs, cast(Any, learner), agent.horizon, config.seed, agent.jit_compile)
    while done < num_segments and not run.stopping:
        policy.head.temperature.assign(config.temperature(done * rows))
        count = min(at_once, num_segments - done)
        metrics = loop.advance(count, done)
        done += count
        run.log(done * rows, metrics, done)
        run.evaluate_when_due(averaged, done * rows)
    envs.close()
    return averaged


class Loop(InGraph):
    """Collects and learns in one compiled program, in which collecting is part of what is differentiated."""

    learner: Any

    def _turn(self, running: Running, seed: tf.Tensor, sound: tf.Tensor) -> tuple[Running, Finished, Any, tf.Tensor]:
        return self.learner.play_and_learn(self.collector, running, seed, sound)


class Segment(NamedTuple):
    """What the critic learns from, `[T, B, ...]`; in its memory `[B, T, ...]`."""

    observation: Any  # float32 [T, B, D]
    reward: Any  # float32 [T, B]
    next_observation: Any  # float32 [T, B, D]
    terminated: Any  # bool [T, B]
    truncated: Any  # bool [T, B]


class Learner:
    """Actor and critic, their averages, the memory of segments, and what the compiled program does with them.

    Attributes:
        policies, averaged: the policy that plays, and its running average.
        critic, target: V in units of 1 / (1 - discount), the value of a reward of 1 at every step; its running average.
        memory: the latest segments, one row for each environment.
        zeros: the sums of no metrics.
    """

    def __init__(self, config: Config, policy: Policy, averaged: Policy, num_envs: int, num_segments: int) -> None:
        self.config, self.policies, self.averaged, self.num_envs = config, [policy], averaged, num_envs
        self.actor = policy.model
        averaged.model.set_weights(self.actor.get_weights())
        self.normalizations = [model.get_layer("normalization") for model in (self.actor, averaged.model)]
        size = self.actor.input_shape[-1]
        self.critic, self.target = (
            normalized(mlp(size, config.hidden_sizes, 1, activation="tanh"), self.normalizations[0]) for _ in range(2)
        )
        self.target.set_weights(self.critic.get_weights())
        end = 0.0 if config.anneal_learning_rate else 1.0

        def annealed(rate: float, updates: int) -> keras.optimizers.schedules.LearningRateSchedule:
            return keras.optimizers.schedules.PolynomialDecay(rate, updates, end * rate)

        actor_rate = annealed(config.actor_learning_rate, num_segments)
        critic_rate = annealed(config.critic_learning_rate, num_segments * config.critic_updates)
        self.actor_optimizer = keras.optimizers.Adam(actor_rate, global_clipnorm=config.max_gradient_norm)
        self.critic_optimizer = keras.optimizers.Adam(critic_rate)
        self.actor_optimizer.build(self.actor.trainable_variables)
        self.critic_optimizer.build(self.critic.trainable_variables)
        shape = (config.memory * num_envs, config.horizon)
        features, numbers, flags = tf.zeros([*shape, size]), tf.zeros(shape), tf.zeros(shape, tf.bool)
        self.memory = Segment(*map(tf.Variable, (features, numbers, features, flags, flags)))
        self.segments_seen = tf.Variable(0)
        self.zeros = dict.fromkeys(METRICS, tf.zeros([]))

    def play_and_learn(
        self, collector: InGraphCollector, running: Running, seed: tf.Tensor, sound: tf.Tensor
    ) -> tuple[Running, Finished, dict[str, tf.Tensor], tf.Tensor]:
        """Plays one segment and learns from it, but only if everything has been finite so far (`sound`, bool `[B]`).

        Returns:
            (episodes under way, episodes that ended, metrics, `sound` after this segment).
        """
        play_seed, critic_seed = tf.unstack(ops.split(seed, 2))
        weights = self.actor.trainable_variables
        with tf.GradientTape() as tape:
            steps, running, ended = collector.collect(self.act, running, self.config.horizon, play_seed)
            segment = segment_of(steps)
            returns, entropy = self.returns(segment), self.entropy(steps)
            loss = -self.config.entropy_coefficient * tf.reduce_mean(entropy) - mean_return(returns, segment)
        gradients = tape.gradient(loss, weights)
        norm = tf.linalg.global_norm(gradients)
        numbers = returns + entropy + tf.reduce_sum(segment.observation + segment.next_observation, -1)
        sound &= tf.reduce_all(tf.math.is_finite(numbers), 0)

        def learn() -> tf.Tensor:
            self.actor_optimizer.apply(gradients, weights)
            move_towards(self.averaged.model, self.actor, self.config.average_rate)
            self.remember(segment)
            return self.learn_values(critic_seed)

        critic_loss = tf.cond(tf.reduce_all(sound) & tf.math.is_finite(norm), learn, lambda: tf.zeros([]))
        metrics = dict(zip(METRICS, (loss, critic_loss, tf.reduce_mean(entropy), norm), strict=True))
        return running, ended, metrics, sound

    def act(self, observation: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """Draws actions for features `[B, D]` as one-hots that carry a gradient: `[B, K]` or `[B, F, K]`."""
        return self.policies[0].head.distribution(self.actor(observation), mask).sample(seed).one_hot

    def entropy(self, steps: Transition) -> tf.Tensor:
        """Entropy of the policy at every step: `[T, B]`."""
        logits = self.actor(flatten(steps.observation))
        mask = None if steps.mask is None else flatten(steps.mask, logits.shape.rank)
        return tf.reshape(self.policies[0].head.distribution(logits, mask).entropy(), steps.reward.shape)

    def values(self, critic: keras.Model, observation: tf.Tensor) -> tf.Tensor:
        """V: `[T, B, D]` -> `[T, B]`."""
        return tf.reshape(critic(flatten(observation)), observation.shape[:2]) / (1 - self.config.discount)

    def returns(self, segment: Segment) -> tf.Tensor:
        """G: `[T, B]`, with the target critic for V."""
        next_values = self.values(self.target, segment.next_observation)
        ends = segment.terminated, segment.truncated
        return lambda_returns(segment.reward, next_values, *ends, self.config.discount, self.config.trace_decay)

    def remember(self, segment: Segment) -> None:
        """Puts a segment in the place of the oldest one, and its observations into the statistics."""
        for layer in self.normalizations:
            layer.update(segment.observation)
        first = self.segments_seen % self.config.memory * self.num_envs
        for column, steps in zip(self.memory, segment, strict=True):
            column.scatter_update(tf.IndexedSlices(swap(steps), first + tf.range(self.num_envs)))
        self.segments_seen.assign_add(1)

    def learn_values(self, seed: tf.Tensor) -> tf.Tensor:
        """Takes the critic's steps, each on a batch from memory; returns the last loss."""
        config, weights = self.config, self.critic.trainable_variables
        filled = tf.cast(tf.minimum(self.segments_seen, config.memory) * self.num_envs, tf.float32)

        def update(index: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            rows = tf.cast(ops.uniform([config.critic_batch_size], ops.fold_in(seed, index)) * filled, tf.int32)
            batch = Segment(*(swap(tf.gather(column, rows)) for column in self.memory))
            returns = self.returns(batch)
            with tf.GradientTape() as tape:
                errors = (1 - config.discount) * (self.values(self.critic, batch.observation) - returns)
                loss = tf.reduce_mean(tf.square(errors))
            self.critic_optimizer.apply(tape.gradient(loss, weights), weights)
            move_towards(self.target, self.critic, config.target_rate)
            return loss

        return repeat(update, config.critic_updates, tf.zeros([]))

    def means(self, sums: dict[str, tf.Tensor], num_rollouts: int) -> dict[str, float]:
        """Turns metrics summed over segments into their means.

        Raises:
            ValueError: they are not finite; nothing was learned from such a segment.
        """
        means = {name: float(total) / num_rollouts for name, total in sums.items()}
        if not np.isfinite(list(means.values())).all():
            hint = "Training diverged: lower agent.actor_learning_rate or agent.horizon."
            raise checks.invalid("finite losses and gradients", hint=hint, **means)
        return means


def segment_of(steps: Transition) -> Segment:
    """The columns of a rollout that the critic learns from."""
    return Segment(*(getattr(steps, name) for name in Segment._fields))


def mean_return(returns: tf.Tensor, segment: Segment) -> tf.Tensor:
    """The returns `[T, B]` of the steps that begin a segment or an episode, summed, a step played."""
    done = segment.terminated | segment.truncated
    begins = tf.concat([tf.ones_like(done[:1]), done[:-1]], 0)
    return tf.reduce_mean(tf.where(begins, returns, tf.zeros_like(returns)))


def flatten(steps: tf.Tensor, rank: int = 2) -> tf.Tensor:
    """`[T, B, ...]` -> `[T * B, ...]` of the given rank."""
    return tf.reshape(steps, [-1, *steps.shape[steps.shape.rank - rank + 1 :]])


def swap(steps: tf.Tensor) -> tf.Tensor:
    """`[T, B, ...]` <-> `[B, T, ...]`."""
    return tf.transpose(steps, [1, 0, *range(2, steps.shape.rank)])
