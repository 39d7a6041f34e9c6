"""Deep Q-learning: values of actions learned from replay; the policy plays the best one.

    python -m scripts.train agents/configs/dqn_cartpole.yaml
    python -m scripts.train agents/configs/dqn_cartpole.yaml agent.prioritized=true agent.num_steps=3

The value-based agent to measure the others by. A row of the replay spans `num_steps` steps, of k <= num_steps rewards:

    target = r_1 + discount r_2 + ... + discount^k Q_target(s', argmax_a Q(s', a))

over the legal actions of s'; with `double_q=false` the target network chooses too. Actions of several factors have the
sum of their factors' values, so that each factor's best choice is found by itself.

The policy's logits are the values divided by `policy_temperature`, which makes it one like the others: the greedy
action is its mode, and drawing from it explores as Boltzmann did. Training draws nothing from it: actions are greedy,
or with probability epsilon uniform among the legal ones. The sampler is not used. What is evaluated and kept is the
target network, which moves less from one update to the next.

Sources: Mnih et al. (2015), Human-level control through deep reinforcement learning; van Hasselt, Guez and Silver
(2016), arXiv 1509.06461 (double); Wang et al. (2016), arXiv 1511.06581 (dueling); Schaul et al. (2016), arXiv
1511.05952 (prioritized replay); Sunehag et al. (2018), arXiv 1706.05296 (sums of values).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from pydantic import Field

from rlsample import checks
from rlsample.learning.adam import Adam, AdamState
from rlsample.learning.averaging import move_towards
from rlsample.learning.loops import repeat
from rlsample.learning.n_step import NStep
from rlsample.learning.prioritized_replay import PrioritizedReplay
from rlsample.learning.replay import Replay, batches_per_call, check_memory
from rlsample.networks import model_of, with_outputs
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.loop import finite_metrics
from rlsample.rollouts.numpy_network import NumpyAct
from rlsample.rollouts.numpy_policy import epsilon_greedy_actor
from rlsample.rollouts.off_policy import kept_specs, replay_capacity, train_off_policy
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.updates import Updates
from rlsample.runs import AgentConfig, Run, RunConfig
from rlsample.streams import Streams

METRICS = ("losses/value", "policy/value", "policy/epsilon")


class Config(AgentConfig):
    """Hyper-parameters of deep Q-learning."""

    name: str = "dqn"
    double_q: bool = Field(default=True, description="Choose the next action by the online network, not by the target.")
    dueling: bool = Field(default=False, description="Learn the state's value apart from the advantages of actions.")
    num_steps: int = Field(default=3, ge=1, description="Rewards that are summed before a value is trusted.")
    discount: float = Field(default=0.99, ge=0, le=1, description="Of rewards, per step.")
    target_rate: float = Field(default=0.02, gt=0, le=1, description="Share of the network entering the target.")
    target_period: int = Field(default=1, ge=1, description="Updates between; with target_rate 1 it is copied.")
    prioritized: bool = Field(default=False, description="Replay what was predicted badly more often.")
    priority_exponent: float = Field(default=0.6, ge=0, le=1, description="How much more often; 0 is uniform.")
    priority_correction: float = Field(
        default=0.4, ge=0, le=1, description="Importance weights' exponent at first; it rises linearly to 1."
    )
    epsilon_start: float = Field(default=1.0, ge=0, le=1, description="Probability of a random action at first.")
    epsilon_end: float = Field(default=0.02, ge=0, le=1, description="The same once it no longer falls.")
    exploration_share: float = Field(default=0.2, gt=0, le=1, description="Share of the run over which it falls.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Of Adam.")
    anneal_learning_rate: bool = Field(default=True, description="Lower it linearly to 0 over the run.")
    max_gradient_norm: float = Field(default=10.0, gt=0, description="Longer gradients are shortened.")
    largest_error: float | None = Field(
        default=None, gt=0, description="Errors beyond it cost linearly (Huber's loss); null squares all."
    )
    policy_temperature: float = Field(default=1.0, gt=0, description="The policy's logits are the values over this.")
    batch_size: int = Field(default=64, ge=1, description="Rows per update.")
    replay_capacity: int = Field(default=100_000, ge=1, description="Rows kept.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")
    warmup_steps: int = Field(default=1000, ge=1, description="Steps before learning; at most a tenth of the run.")
    steps_per_round: int = Field(default=32, ge=1, description="Environment steps between rounds of updates.")
    updates_per_step: float = Field(default=1.0, gt=0, description="Updates per environment step after the warm-up.")


class Batch(NamedTuple):
    """Minibatches of rows: `U` updates of `B` rows."""

    observation: Any  # a tree of tensors [U, B, ...]
    action: Any  # int32 [U, B (, F)]
    reward: Any  # float32 [U, B], of all steps of the row
    discount: Any  # float32 [U, B], of the value after them
    next_observation: Any  # likewise
    next_mask: Any  # bool [U, B, (F,) K]
    terminated: Any  # bool [U, B]
    weight: Any  # float32 [U, B]


KEPT = tuple(name for name in Batch._fields if name != "weight")
"""What the replay keeps of each row; the weight comes with a draw."""


class State(NamedTuple):
    """All that is learned; weights are float32 `[P]`."""

    network: tf.Tensor
    target: tf.Tensor
    adam: AdamState


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights.

    Raises:
        ValueError: a dueling network for an action of several factors, a network that does not fit the observations, or
            a replay that does not fit into memory.
    """
    spaces = observation_space, action_space
    policy = Policy(*spaces, config.sampler, config.network, hidden_sizes=(128, 128), activation="relu")
    check_memory(replay_capacity(config), kept_specs(policy, KEPT))
    if config.agent.dueling:
        if not policy.factors.single:
            hint = "Set agent.dueling=false."
            raise checks.invalid("an action of one factor for a dueling network", action_space=action_space, hint=hint)
        inputs, advantage = policy.model.input, policy.model.output
        value = with_outputs(model_of(policy.network, policy.observation_space), 1)(inputs)
        policy.model = keras.Model(inputs, value + advantage - keras.ops.mean(advantage, -1, keepdims=True))
    return policy


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the policy."""
    agent, envs, capacity = config.agent, config.env.make(), replay_capacity(config)
    learner = Learner(config, envs.single_observation_space, envs.single_action_space)
    return train_off_policy(
        GymnasiumCollector(envs, learner.policy.factors, Streams(config.seed).integer("environments")),
        learner,
        run,
        kept=learner.kept,
        replay=PrioritizedReplay(capacity, agent.priority_exponent) if agent.prioritized else Replay(capacity),
        n_step=NStep(agent.num_steps, agent.discount),
        seed=config.seed,
        temperature=config.temperature,
    )


class Learner:
    """The network, its target and the compiled round of updates.

    Attributes:
        policy, averaged: act outside of compiled code; their weights are as of the last `actor` or `publish_averaged`.
        state: what was learned so far.
        update: updates so far.
        updates: how many updates there are; the learning rate ends with them.
        kept: what the replay keeps of a row.
        per_call: updates that one call of the program makes at most.
    """

    def __init__(self, config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> None:
        agent, streams = config.agent, Streams(config.seed)
        self.config, self.agent = config, agent
        self.update, self.update_seeds = 0, streams.generator("updates")
        self.updates = Updates.planned(agent, config.total_steps)
        keras.utils.set_random_seed(streams.integer("weights"))
        self.policy, self.averaged = (make_policy(config, observation_space, action_space) for _ in range(2))
        self.network = FlatNetwork(self.policy.model)
        decay_steps = self.updates.total if agent.anneal_learning_rate else None
        self.adam = Adam(decay_steps=decay_steps, max_gradient_norm=agent.max_gradient_norm)
        weights = self.network.weights()
        self.state = State(weights, weights, self.adam.start(weights))
        self.kept = kept_specs(self.policy, KEPT)
        self.per_call = batches_per_call(self.updates.per_call, agent.batch_size, self.kept)
        self._round = tf.function(self._learn_round, jit_compile=agent.jit_compile, autograph=False)

    def epsilon(self, step: int) -> float:
        """The probability of a random action at an environment step."""
        agent = self.agent
        share = min(1.0, step / (agent.exploration_share * self.config.total_steps))
        return agent.epsilon_start + share * (agent.epsilon_end - agent.epsilon_start)

    def actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """The greedy action, or at times a random one."""
        self.network.assign(self.state.network)
        return epsilon_greedy_actor(self.policy, self.epsilon(step), seed)

    def publish_averaged(self) -> Policy:
        """Copies the target network into `averaged`, and returns it."""
        FlatNetwork(self.averaged.model).assign(self.state.target)
        return self.averaged

    def learn(self, replay: Replay, generator: np.random.Generator, step: int) -> dict[str, float]:
        """Makes the updates that are due after so many environment steps; returns the metrics of the last.

        Raises:
            ValueError: a loss is not finite: training has diverged.
        """
        metrics: dict[str, float] = {}
        due, per_call = self.updates.due(step), self.per_call
        while self.update < due:
            count, shape = min(per_call, due - self.update), (per_call, self.agent.batch_size)
            if isinstance(replay, PrioritizedReplay):
                rows = replay.sample(generator, shape, self._correction(step))
            else:
                rows = replay.sample(generator, shape) | {"weight": np.ones(shape, np.float32)}
            batch = tf.nest.map_structure(tf.constant, Batch(*(rows[name] for name in Batch._fields)))
            state, errors, loss, value = self._round(self.state, batch, tf.constant(count))
            values = float(loss), float(value), self.epsilon(step)
            metrics |= finite_metrics(dict(zip(METRICS, values, strict=True)), "Lower agent.learning_rate.")
            if isinstance(replay, PrioritizedReplay):
                replay.set_errors(rows["place"][:count], errors[:count].numpy())
            self.state, self.update = state, self.update + count
        return metrics

    def _correction(self, step: int) -> float:
        first = self.agent.priority_correction
        return first + (1 - first) * min(1.0, step / self.config.total_steps)

    def _learn_round(self, state: State, batch: Batch, count: tf.Tensor) -> Any:
        """One update for each of the first `count` minibatches; the errors `[U, B]`, and loss and value of the last."""

        def once(index: tf.Tensor, carry: Any) -> Any:
            state, errors, _, _ = carry
            row = tf.nest.map_structure(lambda column: column[index], batch)
            target = self.target(state, row)
            with tf.GradientTape() as tape:
                tape.watch(state.network)
                value = chosen(self.values(state.network, row.observation), row.action)
                error = value - target
                loss = tf.reduce_mean(row.weight * huber(error, self.agent.largest_error))
            gradient = tape.gradient(loss, state.network)
            network, adam = self.adam.step(gradient, state.adam, state.network, self.agent.learning_rate)
            moves = tf.equal(adam.count % self.agent.target_period, 0)
            target_network = move_towards(state.target, network, tf.where(moves, self.agent.target_rate, 0.0))
            errors = tf.tensor_scatter_nd_update(errors, [[index]], [error])
            return State(network, target_network, adam), errors, loss, tf.reduce_mean(value)

        return repeat(once, count, (state, tf.zeros_like(batch.reward), tf.zeros([]), tf.zeros([])))

    def values(self, weights: tf.Tensor, observation: Any) -> tf.Tensor:
        """Q of every action, `[B, K]`, or what each factor adds to it, `[B, F, K]`; -inf for padding."""
        return self.agent.policy_temperature * self.network(weights, observation)

    def target(self, state: State, row: Batch) -> tf.Tensor:
        """What the value of a row `[B]` is to become; no gradient flows to it."""
        values = self.values(state.target, row.next_observation)
        judged = self.values(state.network, row.next_observation) if self.agent.double_q else values
        best = tf.argmax(tf.where(row.next_mask, judged, float("-inf")), -1, output_type=tf.int32)
        return row.reward + tf.where(row.terminated, 0.0, row.discount * chosen(values, best))


def chosen(values: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """The value of an action: `[B, K]`, `[B]` -> `[B]`; of several factors `[B, F, K]`, `[B, F]` their sum."""
    taken = tf.one_hot(action, values.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    # Selected, not multiplied: what is not chosen may be -inf.
    return tf.reduce_sum(tf.where(taken, values, 0.0), range(1, values.shape.rank))


def huber(error: tf.Tensor, largest: float | None) -> tf.Tensor:
    """Half the square of errors up to the largest, and the tangent there beyond it; None squares all."""
    size = tf.abs(error)
    inside = size if largest is None else tf.minimum(size, largest)
    return inside * (size - 0.5 * inside)
