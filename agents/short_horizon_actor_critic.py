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

import math
from typing import Any, NamedTuple

import gymnasium as gym
import keras
import tensorflow as tf
from pydantic import Field

from rlsample import ops
from rlsample.learning import normalization
from rlsample.learning.adam import Adam, AdamState, global_norm
from rlsample.learning.averaging import move_towards
from rlsample.learning.loops import repeat
from rlsample.learning.normalization import Statistics, normalize
from rlsample.learning.returns import lambda_returns
from rlsample.learning.ring import Ring, add_rows, draw_rows, start_ring
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.in_graph_collector import check_differentiable
from rlsample.rollouts.in_graph_turns import play_and_learn, play_remembering_and_learn
from rlsample.rollouts.on_policy import train_on_policy
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.rollouts.sampler_metrics import OneStepAudit
from rlsample.rollouts.transition import Transition
from rlsample.rollouts.transitions import finite_steps, over_steps, swap_axes
from rlsample.runs import PerMember, PopulationConfig, Run, RunConfig
from rlsample.streams import Streams

METRICS = ("losses/actor", "losses/critic", "policy/entropy", "policy/gradient_norm")


class Config(PopulationConfig):
    """Hyper-parameters of the short-horizon actor-critic. With a population, a tuple gives each member its own."""

    members_differ_in = ("actor_learning_rate", "entropy_coefficient")

    name: str = "short_horizon_actor_critic"
    horizon: int = Field(default=16, ge=1, description="Steps of a segment, through which the policy gradient flows.")
    discount: float = Field(default=0.99, ge=0, lt=1, description="Of rewards, per step.")
    trace_decay: float = Field(default=0.95, ge=0, le=1, description="Lambda of the returns; 1 uses V only at the end.")
    actor_learning_rate: PerMember = Field(default=2e-3, description="Of the actor's Adam.")
    critic_learning_rate: float = Field(default=2e-3, gt=0, description="Of the critic's Adam.")
    anneal_learning_rate: bool = Field(default=True, description="Lower both linearly to 0 over the run.")
    max_gradient_norm: float = Field(default=1.0, gt=0, description="A longer gradient of the actor is cut to it.")
    entropy_coefficient: PerMember = Field(default=1e-3, description="Weight of the entropy bonus.")
    memory: int = Field(default=32, ge=1, description="How many of the latest segments the critic learns from.")
    critic_updates: int = Field(default=32, ge=1, description="Gradient steps of the critic for each of the actor.")
    critic_batch_size: int = Field(default=32, ge=1, description="Segments of single environments in each.")
    target_rate: float = Field(default=0.02, gt=0, le=1, description="Share of the critic entering its average.")
    average_rate: float = Field(default=0.1, gt=0, le=1, description="Share of the policy entering its average.")
    audit_draws: int = Field(default=0, ge=0, description="Gradient estimates per measurement of their quality.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")


class Segment(NamedTuple):
    """What the critic learns from, `[T, B, ...]`; among the latest `[B, T, ...]`."""

    observation: Any  # float32 [T, B, ...]
    reward: Any  # float32 [T, B]
    next_observation: Any  # float32 [T, B, ...]
    terminated: Any  # bool [T, B]
    truncated: Any  # bool [T, B]
    starts: Any = ()  # bool [T, B], whether an episode begins at the step; nothing without a memory
    memory: Any = ()  # float32 [B, S], what the critic remembered before the first; likewise


class State(NamedTuple):
    """All that one member learns; weights are float32 `[P]` and `[Q]`."""

    policy: tf.Tensor
    averaged: tf.Tensor
    critic: tf.Tensor  # V in units of 1 / (1 - discount), the value of a reward of 1 at every step
    target: tf.Tensor  # its running average
    policy_adam: AdamState
    critic_adam: AdamState
    learning_rate: tf.Tensor  # of the policy
    entropy_coefficient: tf.Tensor
    statistics: Statistics  # of all observations
    latest: Ring  # segments, one row for each environment
    memory: Any = ()  # float32 [E, S] twice, what policy and critic remember; nothing without a memory


class Played(NamedTuple):
    """A segment as the policy that played it sees it."""

    segment: Segment
    loss: tf.Tensor  # scalar
    returns: tf.Tensor  # [T, B]
    entropy: tf.Tensor  # [T, B]
    memory: Any = ()  # what is remembered after it, as in State


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights.

    Raises:
        ValueError: the sampler's draws carry no gradient, or the environment would not carry it on.
    """
    check_differentiable(config.sampler, config.env.id, config.env.make)
    policy = policy_for(observation_space, action_space, config.sampler, config.network)
    policy.model = normalization.normalized(policy.model, normalization.RunningNormalization(name="normalization"))
    return policy


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the averaged policy.

    Of a population it is that of the member whose latest episodes went best.
    """
    from . import recurrent_short_horizon  # whose learner extends the one below

    agent, remembers = config.agent, config.network.state_size > 0
    envs = config.env.make(num_envs=config.env.num_envs * agent.population)
    num_turns = math.ceil(config.total_steps / (agent.horizon * config.env.num_envs))
    learner = (recurrent_short_horizon.Learner if remembers else Learner)(config, envs, num_turns)
    return train_on_policy(
        envs,
        learner,
        run,
        num_steps=agent.horizon,
        num_turns=num_turns,
        updates_per_turn=1,
        metrics=METRICS,
        seed=config.seed,
        temperature=config.temperature,
        make_turn=play_remembering_and_learn if remembers else play_and_learn,
        audit=OneStepAudit(learner.going_on, agent.discount, agent.audit_draws) if agent.audit_draws else None,
        population=agent.population,
        jit_compile=agent.jit_compile,
        hint="Lower agent.actor_learning_rate or agent.horizon.",
    )


class Learner:
    """Policy, critic, their averages and the latest segments of one member; see `population.Learner`.

    `policy` acts outside of compiled code; the averaged one as of the last `publish`.
    """

    def __init__(self, config: RunConfig[Config], envs: gym.vector.VectorEnv, num_turns: int) -> None:
        self.config, self.agent = config, config.agent
        self.spaces = envs.single_observation_space, envs.single_action_space
        self.policy, critic = self._networks()
        self.network, self.critic = FlatNetwork(self.policy.model.layers[-1]), FlatNetwork(critic)
        turns = num_turns if self.agent.anneal_learning_rate else None
        self.policy_optimizer = Adam(max_gradient_norm=self.agent.max_gradient_norm, decay_steps=turns)
        self.critic_optimizer = Adam(decay_steps=turns and turns * self.agent.critic_updates)

    def _networks(self) -> tuple[Policy, keras.Model]:
        policy = make_policy(self.config, *self.spaces)
        return policy, policy.another_network(1)

    def start(self, member: int) -> State:
        """The state before training, with fresh weights."""
        keras.utils.set_random_seed(Streams(self.config.seed).integer("weights", member))
        fresh, fresh_critic = self._networks()
        policy, critic = FlatNetwork(fresh.model).weights(), FlatNetwork(fresh_critic).weights()
        shape, horizon = fresh.observation_space.shape, self.agent.horizon
        seen, scalars = tf.TensorSpec([horizon, *shape]), tf.TensorSpec([horizon])
        rows = Segment(seen, scalars, seen, *[tf.TensorSpec([horizon], tf.bool)] * 2)
        if fresh.network.state_size:
            rows = rows._replace(starts=rows.terminated, memory=tf.TensorSpec([fresh.network.state_size]))
        adams = self.policy_optimizer.start(policy), self.critic_optimizer.start(critic)
        rate, bonus = (tf.constant(self.agent.by_member(name)[member]) for name in Config.members_differ_in)
        latest = start_ring(self.agent.memory * self.config.env.num_envs, rows)
        statistics = normalization.start_statistics(shape)
        return State(policy, policy, critic, critic, *adams, rate, bonus, statistics, latest)

    def publish(self, state: State) -> Policy:
        """Copies the averaged policy of a state into `policy`, and returns it."""
        self.network.assign(state.averaged)
        self.policy.model.get_layer("normalization").assign(state.statistics)
        return self.policy

    def split(self, state: State) -> tuple[list[tf.Tensor], Statistics]:
        """The weights and statistics that `logits` takes."""
        return self.network.split(state.policy), state.statistics

    def logits(self, parameters: tuple[list[tf.Tensor], Statistics], observation: tf.Tensor) -> tf.Tensor:
        """Observations `[n, ...]` -> logits `[n, K]` or `[n, F, K]`."""
        layers, statistics = parameters
        return self.network.apply(layers, normalize(observation, statistics))

    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """Draws actions as one-hots that carry a gradient: `[n, K]` or `[n, F, K]`."""
        return self.policy.head.distribution(logits, mask).sample(seed).one_hot

    def play(self, state: State, steps: Transition) -> Played:
        """The loss of a segment `[T, B, ...]`, to be differentiated through the actions of its steps."""
        segment, logits, memory = self._segment(state, steps)
        returns = self.returns(state, segment)
        entropy = self.policy.head.distribution(logits, steps.mask).entropy()
        loss = -state.entropy_coefficient * tf.reduce_mean(entropy) - mean_return(returns, segment)
        return Played(segment, loss, returns, entropy, memory)

    def _segment(self, state: State, steps: Transition) -> tuple[Segment, tf.Tensor, Any]:
        """The segment, the policy's logits in it `[T, B, ...]`, and what is remembered after it."""
        parameters = self.split(state)
        return segment_of(steps), over_steps(lambda rows: self.logits(parameters, rows), steps.observation), ()

    def descend(
        self, state: State, gradient: tf.Tensor, played: Played, seed: tf.Tensor, finite: tf.Tensor
    ) -> tuple[State, dict[str, tf.Tensor], tf.Tensor]:
        """Learns from a segment, but only if everything has been finite so far (`finite`, bool `[B]`).

        Returns:
            (state, metrics, `finite` after this segment).
        """
        agent, segment, before = self.agent, played.segment, state
        norm = global_norm(gradient)
        sums = finite_steps(segment.observation + segment.next_observation) + tf.square(segment.reward)
        finite &= tf.reduce_all(tf.math.is_finite(played.returns + played.entropy + sums), 0)
        policy, adam = self.policy_optimizer.step(gradient, state.policy_adam, state.policy, state.learning_rate)
        averaged = move_towards(state.averaged, policy, agent.average_rate)
        state = state._replace(policy=policy, averaged=averaged, policy_adam=adam)
        statistics = normalization.update_statistics(state.statistics, segment.observation)
        latest = add_rows(state.latest, turned(segment))
        state = state._replace(statistics=statistics, latest=latest, memory=played.memory)
        state, critic_loss = self.learn_values(state, seed)
        keep = tf.reduce_all(finite) & tf.math.is_finite(norm)
        state = tf.nest.map_structure(lambda new, old: tf.where(keep, new, old), state, before)
        metrics = played.loss, tf.where(keep, critic_loss, 0.0), tf.reduce_mean(played.entropy), norm
        return state, dict(zip(METRICS, metrics, strict=True)), finite

    def values(self, weights: tf.Tensor, statistics: Statistics, observation: tf.Tensor) -> tf.Tensor:
        """V by a critic with the given weights: `[T, B, ...]` -> `[T, B]`."""
        critic = self.critic.at(weights)
        values = over_steps(lambda rows: critic(normalize(rows, statistics)), observation)
        return self._in_rewards(values)

    def _in_rewards(self, outputs: tf.Tensor) -> tf.Tensor:
        """What a critic gives `[T, B, 1]` -> V `[T, B]`."""
        return outputs[..., 0] / (1 - self.agent.discount)

    def going_on(self, state: State, observation: tf.Tensor) -> tf.Tensor:
        """V by the target critic where the environments go on from here: `[T, B, ...]` -> `[T, B]`."""
        return self.values(state.target, state.statistics, observation)

    def values_before(self, weights: tf.Tensor, state: State, segment: Segment) -> tf.Tensor:
        """V by a critic with the given weights before each step: `[T, B]`."""
        return self.values(weights, state.statistics, segment.observation)

    def values_after(self, state: State, segment: Segment) -> tf.Tensor:
        """V by the target critic after each step: `[T, B]`."""
        return self.values(state.target, state.statistics, segment.next_observation)

    def returns(self, state: State, segment: Segment) -> tf.Tensor:
        """G: `[T, B]`, with the target critic for V."""
        next_values = self.values_after(state, segment)
        ends = segment.terminated, segment.truncated
        return lambda_returns(segment.reward, next_values, *ends, self.agent.discount, self.agent.trace_decay)

    def learn_values(self, state: State, seed: tf.Tensor) -> tuple[State, tf.Tensor]:
        """Takes the critic's steps, each on a batch from memory; returns the last loss."""
        agent = self.agent

        def update(index: tf.Tensor, carry: tuple[State, tf.Tensor]) -> tuple[State, tf.Tensor]:
            state, _ = carry
            batch = turned(draw_rows(state.latest, agent.critic_batch_size, ops.fold_in(seed, index)))
            returns = self.returns(state, batch)
            with tf.GradientTape() as tape:
                tape.watch(state.critic)
                values = self.values_before(state.critic, state, batch)
                loss = tf.reduce_mean(tf.square((1 - agent.discount) * (values - returns)))
            gradient, rate = tape.gradient(loss, state.critic), agent.critic_learning_rate
            critic, adam = self.critic_optimizer.step(gradient, state.critic_adam, state.critic, rate)
            target = move_towards(state.target, critic, agent.target_rate)
            return state._replace(critic=critic, critic_adam=adam, target=target), loss

        return repeat(update, agent.critic_updates, (state, tf.zeros([])))


def segment_of(steps: Transition) -> Segment:
    """The columns of a rollout that the critic learns from."""
    return Segment(*(getattr(steps, name) for name in Segment._fields if name in steps._fields))


def turned(segment: Segment) -> Segment:
    """Segments `[T, B, ...]` <-> `[B, T, ...]`; what was remembered before them stays `[B, S]`."""
    steps = tf.nest.map_structure(swap_axes, segment._replace(memory=()))
    return steps._replace(memory=segment.memory)


def mean_return(returns: tf.Tensor, segment: Segment) -> tf.Tensor:
    """The returns `[T, B]` of the steps that begin a segment or an episode, summed, per step played."""
    done = segment.terminated | segment.truncated
    begins = tf.concat([tf.ones_like(done[:1]), done[:-1]], 0)
    return tf.reduce_mean(tf.where(begins, returns, tf.zeros_like(returns)))
