"""World-model actor-critic: the policy gradient is the derivative of a few imagined steps of a learned model.

    python -m scripts.train agents/configs/world_model_cartpole.yaml sampler=reinmax

An ensemble learns from replay what one step does (`learning.one_step_models`). From states of the replay the policy
imagines `horizon` steps, each of these rollouts by one member:

    G_t = r_t + discount c_t ((1 - trace_decay) V(s_{t+1}) + trace_decay G_{t+1}),  G_H = V(s_H)

with c the probability that the episode goes on. With a pathwise sampler (straight-through, ReinMax, ...) the actor
climbs the derivative of G_0 through model, actions and values. `categorical`, `score_function` and `leave_one_out` make
the same loop REINFORCE: the log-probability of each imagined action times its G_t less a baseline, which is V(s_t), or
the mean of the other rollouts from the same state. The critic learns G at every imagined step.

With a network that remembers the models do, too: `recurrent_world_model.py`.
Against exploiting the models' mistakes: several of them, chosen on rows held out; a price on what they disagree about.
Sources: Heess et al. (2015), arXiv 1510.09142; Janner et al. (2019), arXiv 1906.08253 (short rollouts from replay);
Yu et al. (2020), arXiv 2005.13239 (the price); Hafner et al. (2020), arXiv 1912.01603 (learning in imagination).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from pydantic import Field

from rlsample import checks, ops
from rlsample.learning import normalization
from rlsample.learning.adam import Adam, AdamState, global_norm
from rlsample.learning.averaging import move_towards
from rlsample.learning.held_out import places
from rlsample.learning.loops import repeat
from rlsample.learning.model_steps import Imagined, Models, Rows, see
from rlsample.learning.normalization import normalize
from rlsample.learning.one_step_models import OneStepModels, check_imaginable
from rlsample.learning.replay import Replay, batches_per_call, check_memory
from rlsample.learning.returns import imagined_returns, leave_one_out_advantages
from rlsample.networks import model_of, with_outputs
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.in_numpy.policy import quickest_actor
from rlsample.rollouts.loop import finite_metrics
from rlsample.rollouts.off_policy.from_replay import train_from_replay
from rlsample.rollouts.off_policy.kept_rows import kept_specs, replay_capacity
from rlsample.rollouts.off_policy.training import train_off_policy
from rlsample.rollouts.off_policy.updates import Updates
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.rollouts.transitions import over_steps
from rlsample.runs import AgentConfig, Run, RunConfig
from rlsample.streams import Streams

METRICS = ("losses/model", "losses/held_out", "losses/actor", "losses/critic", "policy/entropy", "policy/gradient_norm")
REINFORCE = ("categorical", "score_function", "leave_one_out")


class Config(AgentConfig):
    """Hyper-parameters of the world-model actor-critic."""

    name: str = "world_model_actor_critic"
    members: int = Field(default=4, ge=1, description="Models of the ensemble.")
    horizon: int = Field(default=8, ge=1, description="Imagined steps, through which the policy gradient flows.")
    disagreement_price: float = Field(default=0.0, ge=0, description="Reward lost per unit the members disagree by.")
    discount: float = Field(default=0.99, ge=0, lt=1, description="Of rewards, per step.")
    trace_decay: float = Field(default=0.95, ge=0, le=1, description="Lambda of the returns; 1 uses V only at the end.")
    model_learning_rate: float = Field(default=1e-3, gt=0, description="Of the models' Adam.")
    actor_learning_rate: float = Field(default=1e-3, gt=0, description="Of the actor's Adam.")
    critic_learning_rate: float = Field(default=1e-3, gt=0, description="Of the critic's Adam.")
    anneal_learning_rate: bool = Field(default=True, description="Lower all three linearly to 0 over the run.")
    max_gradient_norm: float = Field(default=1.0, gt=0, description="A longer gradient of the actor is cut to it.")
    entropy_coefficient: float = Field(default=1e-3, ge=0, description="Weight of the entropy bonus.")
    target_rate: float = Field(default=0.02, gt=0, le=1, description="Share of the critic entering its average.")
    average_rate: float = Field(default=0.02, gt=0, le=1, description="Share of the policy entering its average.")
    batch_size: int = Field(default=128, ge=1, description="Rows per update, dealt out to the members.")
    replay_capacity: int = Field(default=100_000, ge=1, description="Transitions kept.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")
    warmup_steps: int = Field(default=200, ge=1, description="Steps before learning; at most a tenth of the run.")
    steps_per_round: int = Field(default=32, ge=1, description="Environment steps between rounds of updates.")
    updates_per_step: float = Field(default=0.5, gt=0, description="Updates per environment step after the warm-up.")
    sequence_length: int = Field(default=16, ge=2, description="With a memory: steps that are replayed together.")
    burn_in: int = Field(
        default=8, ge=1, description="With a memory: the first of them, which only bring it up to date."
    )


class Batch(NamedTuple):
    """Rows of the replay: minibatches of `U` updates, `B` rows each."""

    observation: Any  # float32 [U, B, D]
    mask: Any  # bool [U, B, (F,) K]
    action: Any  # int32 [U, B (, F)]
    reward: Any  # float32 [U, B]
    next_observation: Any  # float32 [U, B, D]
    terminated: Any  # bool [U, B]


class State(NamedTuple):
    """All that is learned; weights are float32 `[P]` and `[Q]`."""

    policy: tf.Tensor
    averaged: tf.Tensor
    critic: tf.Tensor  # V in units of 1 / (1 - discount), the value of a reward of 1 at every step
    target: tf.Tensor  # its running average
    models: Models
    policy_adam: AdamState
    critic_adam: AdamState
    model_adam: AdamState


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights.

    Raises:
        ValueError: something of it does not fit, or not into memory.
    """
    from . import recurrent_world_model  # which extends what is below

    agent, sampler = config.agent, config.sampler
    if not sampler.pathwise and sampler.name not in REINFORCE:
        raise checks.invalid(f"a pathwise sampler or one of {', '.join(REINFORCE)}", sampler=sampler.name)
    policy = policy_for(observation_space, action_space, sampler, config.network)
    check_imaginable(policy.observation_space)
    dealt = agent.members * group_size(sampler)
    if agent.batch_size % dealt:
        raise checks.invalid(f"agent.batch_size to be a multiple of {dealt}", batch_size=agent.batch_size)
    policy.model = normalization.normalized(policy.model, normalization.RunningNormalization(name="normalization"))
    if config.network.state_size:
        recurrent_world_model.check(config, policy)
    else:
        check_memory(replay_capacity(config), kept_specs(policy, Batch._fields))
    return policy


def group_size(sampler: Any) -> int:
    """How many rollouts begin in each state: those whose mean is each other's baseline."""
    return int(sampler.num_draws(1)) if sampler.name == "leave_one_out" else 1


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the averaged policy."""
    from . import recurrent_world_model  # likewise

    envs = config.env.make()
    spaces = envs.single_observation_space, envs.single_action_space
    if config.network.state_size:
        return train_from_replay(config, envs, recurrent_world_model.Learner(config, *spaces), run)
    learner = Learner(config, *spaces)
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
    """Actor, critic, models and the compiled round of updates; see `off_policy.OffPolicyLearner`."""

    def __init__(self, config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> None:
        agent, streams = config.agent, Streams(config.seed)
        self.agent, self.update, self.update_seeds = agent, 0, streams.generator("updates")
        self.updates = Updates.planned(agent, config.total_steps)
        keras.utils.set_random_seed(streams.integer("weights"))
        self.policy, self.averaged = (make_policy(config, observation_space, action_space) for _ in range(2))
        parts = self.policy.network, self.policy.observation_space
        self.models, features = OneStepModels(*parts, self.policy.factors.event_shape, agent.members), model_of(*parts)
        self.network, self.critic = FlatNetwork(self.policy.model.layers[-1]), FlatNetwork(with_outputs(features, 1))
        turns = self.updates.total if agent.anneal_learning_rate else None
        self.adam, self.critic_adam = Adam(decay_steps=turns), Adam(decay_steps=turns and turns * agent.horizon)
        self.actor_adam = Adam(decay_steps=turns, max_gradient_norm=agent.max_gradient_norm)
        policy, critic, models = self.network.weights(), self.critic.weights(), self.models.start()
        adams = self.actor_adam.start(policy), self.critic_adam.start(critic), self.adam.start(models.trained)
        self.state = State(policy, policy, critic, critic, models, *adams)
        self.kept = kept_specs(self.policy, Batch._fields)
        self.per_call = batches_per_call(self.updates.per_call, agent.batch_size, self.kept)
        self._round = tf.function(self._learn_round, jit_compile=agent.jit_compile, autograph=False)

    def actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """Draws from the policy as it is now."""
        return quickest_actor(self._assigned(self.policy, self.state.policy), seed)

    def publish_averaged(self) -> Policy:
        """Copies the running average of the policy into `averaged`, and returns it."""
        self.averaged.head.temperature.assign(self.policy.head.temperature)
        return self._assigned(self.averaged, self.state.averaged)

    def _assigned(self, policy: Policy, weights: tf.Tensor) -> Policy:
        FlatNetwork(policy.model).assign(weights)
        policy.model.get_layer("normalization").assign(self.state.models.observations)
        return policy

    def learn(self, replay: Replay, generator: np.random.Generator, step: int) -> dict[str, float]:
        """Makes the updates that are due; raises ValueError where a loss is not finite: training has diverged."""
        metrics: dict[str, float] = {}
        due, per_call, rows = self.updates.due(step), self.per_call, self.agent.batch_size
        while self.update < due:
            count = min(per_call, due - self.update)
            batch = Batch(**replay.at(places(generator, len(replay), (per_call, rows))))
            held_out = Batch(**replay.at(places(generator, len(replay), (rows,), held_out=True)))
            seed = self.update_seeds.integers(-(2**31), 2**31, 2, np.int32)
            tensors = tf.nest.map_structure(tf.constant, (batch, held_out, count, seed))
            state, values = self._round(self.state, *tensors)
            metrics |= finite_metrics({name: float(value) for name, value in values.items()})
            self.state, self.update = state, self.update + count
        return metrics

    def _learn_round(self, state: State, batch: Batch, held_out: Batch, count: tf.Tensor, seed: tf.Tensor) -> Any:
        """One update for each of the first `count` minibatches, then the choice of the models to imagine with."""

        def once(index: tf.Tensor, carry: Any) -> Any:
            row = tf.nest.map_structure(lambda column: column[index], batch)
            state, model_loss = self.learn_models(carry[0], row)
            state, metrics = self.learn_behaviour(state, row, ops.fold_in(seed, index))
            return state, {"losses/model": model_loss, **metrics}

        zeros = {name: tf.zeros([]) for name in METRICS if name != "losses/held_out"}
        state, metrics = repeat(once, count, (state, zeros))
        models, loss = self.models.choose(state.models, self.rows_of(held_out))
        return state._replace(models=models), metrics | {"losses/held_out": loss}

    def rows_of(self, batch: Batch) -> Rows:
        """A minibatch `[B, ...]` as the models take it."""
        one_hot = tf.one_hot(batch.action, self.policy.factors.num_categories)
        return Rows(batch.observation, one_hot, batch.reward, batch.next_observation, batch.terminated)

    def learn_models(self, state: State, row: Batch) -> tuple[State, tf.Tensor]:
        """One step of every member, on rows of its own; returns the mean of their losses."""
        rows = self.rows_of(row)
        models = see(state.models, rows)
        with tf.GradientTape() as tape:
            tape.watch(models.trained)
            loss = tf.reduce_sum(self.models.losses(models, rows))
        gradient, rate = tape.gradient(loss, models.trained), self.agent.model_learning_rate
        trained, adam = self.adam.step(gradient, state.model_adam, models.trained, rate)
        return state._replace(models=models._replace(trained=trained), model_adam=adam), loss / self.agent.members

    def imagine(self, state: State, weights: tf.Tensor, batch: Batch, seed: tf.Tensor) -> Imagined:
        """Plays a policy from a minibatch, whose masks are all that is known of them; notes log_prob and entropy."""
        layers, statistics = self.network.split(weights), state.models.observations

        def act(observation: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            logits = self.network.apply(layers, normalize(observation, statistics))
            policy = self.policy.head.distribution(logits, batch.mask | (index > 0))
            draw = policy.sample(ops.fold_in(seed, index))
            return draw.one_hot, [policy.log_prob(draw.action), policy.entropy()]

        parts = state.models, act, batch.observation, self.agent.horizon
        return self.models.imagine(*parts, notes=2, price=self.agent.disagreement_price)

    def learn_behaviour(self, state: State, batch: Batch, seed: tf.Tensor) -> tuple[State, dict[str, tf.Tensor]]:
        """One step of the actor and one of the critic, on rollouts imagined from a minibatch; their metrics."""
        agent, group = self.agent, group_size(self.policy.head.sampler)
        batch = tf.nest.map_structure(lambda rows: tf.repeat(rows[: agent.batch_size // group], group, 0), batch)
        with tf.GradientTape() as tape:
            tape.watch(state.policy)
            imagined = self.imagine(state, state.policy, batch, seed)
            values = self.values(state.target, state, imagined.observation)
            loss, returns, entropy = climb(agent, self.policy.head.sampler, imagined, values)
        gradient, rate = tape.gradient(loss, state.policy), agent.actor_learning_rate
        policy, adam = self.actor_adam.step(gradient, state.policy_adam, state.policy, rate)
        averaged = move_towards(state.averaged, policy, agent.average_rate)
        state = state._replace(policy=policy, averaged=averaged, policy_adam=adam)
        state, critic_loss = self.learn_values(state, imagined, tf.stop_gradient(returns))
        return state, dict(zip(METRICS[2:], (loss, critic_loss, entropy, global_norm(gradient)), strict=True))

    def learn_values(self, state: State, imagined: Imagined, returns: tf.Tensor) -> tuple[State, tf.Tensor]:
        """A step of the critic for each step imagined, on all rollouts; returns the last loss."""

        def update(index: tf.Tensor, carry: Any) -> Any:
            state, _ = carry
            with tf.GradientTape() as tape:
                tape.watch(state.critic)
                error = self.values(state.critic, state, imagined.observation[index][tf.newaxis])[0] - returns[index]
                loss = tf.reduce_mean(imagined.reached[index] * tf.square((1 - self.agent.discount) * error))
            step = tape.gradient(loss, state.critic), state.critic_adam, state.critic, self.agent.critic_learning_rate
            critic, adam = self.critic_adam.step(*step)
            target = move_towards(state.target, critic, self.agent.target_rate)
            return state._replace(critic=critic, target=target, critic_adam=adam), loss

        return repeat(update, self.agent.horizon, (state, tf.zeros([])))

    def values(self, weights: tf.Tensor, state: State, observation: tf.Tensor) -> tf.Tensor:
        """V by a critic with the given weights: `[T, B, D]` -> `[T, B]`."""
        critic, statistics = self.critic.at(weights), state.models.observations
        values = over_steps(lambda rows: critic(normalize(rows, statistics)), observation)
        return values[..., 0] / (1 - self.agent.discount)


def climb(agent: Config, sampler: Any, imagined: Imagined, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The actor's loss, the returns G `[H, B]` and the mean entropy, of values `[H + 1, B]` along rollouts."""
    outcome = imagined.reward, values[1:], imagined.goes_on
    returns = imagined_returns(*outcome, agent.discount, agent.trace_decay)
    gain = tf.reduce_mean(returns[0] + tf.reduce_sum(scores(sampler, imagined, returns, values), 0))
    entropy = tf.reduce_mean(imagined.reached * imagined.noted[1])
    return -(1 - agent.discount) * gain - agent.entropy_coefficient * entropy, returns, entropy


def scores(sampler: Any, imagined: Imagined, returns: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """0, with the gradient of REINFORCE where the sampler is one of its kind: `[H, B]`."""
    if sampler.pathwise:
        return tf.zeros_like(returns)
    if sampler.name == "leave_one_out":
        advantages = leave_one_out_advantages(returns, group_size(sampler))
    else:
        advantages = sampler.advantages(returns - values[:-1])
    log_prob = imagined.noted[0]
    return tf.stop_gradient(imagined.reached * advantages) * (log_prob - tf.stop_gradient(log_prob))
