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

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from pydantic import Field

from rlsample import checks
from rlsample.learning.adam import Adam, AdamState
from rlsample.learning.averaging import move_towards, rate_at
from rlsample.learning.losses import huber
from rlsample.learning.prioritized_replay import PrioritizedReplay
from rlsample.learning.replay import Replay
from rlsample.networks import model_of, with_outputs
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.in_numpy.policy import epsilon_greedy_actor
from rlsample.rollouts.off_policy.from_replay import train_from_replay
from rlsample.rollouts.off_policy.kept_rows import check_replay
from rlsample.rollouts.off_policy.learner import ReplayLearner
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.runs import PopulationConfig, Run, RunConfig
from rlsample.scale.environments import make_environments
from rlsample.streams import Streams

METRICS = ("losses/value", "policy/value")


class Config(PopulationConfig):
    """Hyper-parameters of deep Q-learning."""

    scales: ClassVar = True

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
    sequence_length: int = Field(default=32, ge=2, description="With a memory: steps that are replayed together.")
    burn_in: int = Field(
        default=8, ge=0, description="With a memory: the first of them, which only bring it up to date."
    )
    steps_per_round: int = Field(default=32, ge=1, description="Environment steps between rounds of updates.")
    updates_per_step: float = Field(default=1.0, gt=0, description="Updates per environment step after the warm-up.")


class Batch(NamedTuple):
    """A minibatch of rows."""

    observation: Any  # a tree of tensors [B, ...]
    action: Any  # int32 [B (, F)]
    reward: Any  # float32 [B], of all steps of the row
    discount: Any  # float32 [B], of the value after them
    next_observation: Any  # likewise
    next_mask: Any  # bool [B, (F,) K], or None where everything is legal
    terminated: Any  # bool [B]
    weight: Any = 1.0  # float32 [B]


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
    policy = policy_for(*spaces, config.sampler, config.network, hidden_sizes=(128, 128), activation="relu")
    check_replay(config, policy, KEPT)
    if config.agent.prioritized and policy.network.state_size:
        hint = "Set agent.prioritized=false."
        raise checks.invalid("a uniform replay for a network with a memory", network=policy.network.name, hint=hint)
    if config.agent.dueling:
        if not policy.factors.single:
            hint = "Set agent.dueling=false."
            raise checks.invalid("an action of one factor for a dueling network", action_space=action_space, hint=hint)
        policy.model = dueling(policy)
    return policy


def dueling(policy: Policy) -> keras.Model:
    """The model of a policy with the state's value in it: by a network of its own, but with a memory by the same."""
    inputs, outputs = policy.model.input, policy.model.output
    if not policy.network.state_size:
        value = with_outputs(model_of(policy.network, policy.observation_space), 1)(inputs)
        return keras.Model(inputs, value + outputs - keras.ops.mean(outputs, -1, keepdims=True))
    advantage, states = outputs
    value = keras.layers.Dense(1, kernel_initializer="orthogonal")(policy.head.input)
    return keras.Model(inputs, (value + advantage - keras.ops.mean(advantage, -1, keepdims=True), states))


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the policy of the target network.

    Of a population it is that of the member whose latest episodes went best.
    """
    envs = make_environments(config, config.agent.population)
    learner = Learner(config, envs.single_observation_space, envs.single_action_space)
    return train_from_replay(config, envs, learner, run)


class Learner(ReplayLearner):
    """The network of one member and its target; see `ReplayLearner`.

    Attributes:
        averaged: acts outside of compiled code; its weights are as of the last `publish`.
    """

    metrics, hint = METRICS, "Lower agent.learning_rate."

    def __init__(self, config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> None:
        self.spaces = observation_space, action_space
        self.averaged = make_policy(config, *self.spaces)
        super().__init__(config, make_policy(config, *self.spaces), KEPT)
        self.num_steps = self.agent.num_steps
        decay_steps = self.updates.total if self.agent.anneal_learning_rate else None
        self.adam = Adam(decay_steps=decay_steps, max_gradient_norm=self.agent.max_gradient_norm)

    def start(self, member: int) -> State:
        """The state before training, with fresh weights."""
        keras.utils.set_random_seed(Streams(self.config.seed).integer("weights", member))
        weights = FlatNetwork(make_policy(self.config, *self.spaces).model).weights()
        return State(weights, weights, self.adam.start(weights))

    def exploration(self, step: Any) -> tf.Tensor:
        """The probability of a random action at an environment step."""
        agent = self.agent
        share = tf.minimum(1.0, tf.cast(step, tf.float32) / (agent.exploration_share * self.config.total_steps))
        return agent.epsilon_start + share * (agent.epsilon_end - agent.epsilon_start)

    def told(self, step: int) -> dict[str, float]:
        """How random actions are from here on."""
        return {"policy/epsilon": float(self.exploration(step))}

    def quickest_actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """The greedy action, or at times a random one."""
        return epsilon_greedy_actor(self.policy, float(self.exploration(step)), seed)

    def publish(self, state: State) -> Policy:
        """Copies the target network into `averaged`, and returns it."""
        FlatNetwork(self.averaged.model).assign(state.target)
        return self.averaged

    def weights(self, state: State) -> list[tf.Tensor]:
        """See `ReplayLearner.weights`."""
        return [state.network]

    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """The greedy action: int32 `[E]` or `[E, F]`."""
        return self.policy.head.mode(logits, mask=mask).action

    def replay(self, capacity: int, masks: Sequence[str]) -> Replay | None:
        """See `ReplayLearner.replay`."""
        return PrioritizedReplay(capacity, self.agent.priority_exponent, masks) if self.agent.prioritized else None

    def draw(self, replay: Replay, generator: np.random.Generator, shape: tuple[int, int], step: int) -> dict[str, Any]:
        """See `ReplayLearner.draw`."""
        if isinstance(replay, PrioritizedReplay):
            return replay.sample(generator, shape, self._correction(step))
        return replay.sample(generator, shape)

    def weigh(self, replay: Replay, drawn: dict[str, Any], errors: tf.Tensor, count: int) -> None:
        """See `ReplayLearner.weigh`."""
        if isinstance(replay, PrioritizedReplay):
            replay.set_errors(drawn["place"][:count], errors[:count].numpy())

    def _correction(self, step: int) -> float:
        first = self.agent.priority_correction
        return first + (1 - first) * min(1.0, step / self.config.total_steps)

    def learn_from(self, state: State, rows: dict[str, Any], seed: tf.Tensor) -> tuple[State, Any, tf.Tensor]:
        """One update on a minibatch; loss and mean value; and the errors `[B]`."""
        row = Batch(**rows)
        target = self.target(state, row)
        with tf.GradientTape() as tape:
            tape.watch(state.network)
            value = chosen(self.values(state.network, row.observation), row.action)
            error = value - target
            loss = tf.reduce_mean(row.weight * huber(error, self.agent.largest_error))
        gradient = tape.gradient(loss, state.network)
        network, adam = self.adam.step(gradient, state.adam, state.network, self.agent.learning_rate)
        rate = rate_at(adam.count, self.agent.target_rate, self.agent.target_period)
        target_network = move_towards(state.target, network, rate)
        metrics = dict(zip(METRICS, (loss, tf.reduce_mean(value)), strict=True))
        return State(network, target_network, adam), metrics, error

    def values(self, weights: tf.Tensor, observation: Any) -> tf.Tensor:
        """Q of every action, `[B, K]`, or what each factor adds to it, `[B, F, K]`; -inf for padding."""
        return self.agent.policy_temperature * self.network(weights, observation)

    def target(self, state: State, row: Batch) -> tf.Tensor:
        """What the value of a row `[B]` is to become; no gradient flows to it."""
        values = self.values(state.target, row.next_observation)
        judged = self.values(state.network, row.next_observation) if self.agent.double_q else values
        legal = judged if row.next_mask is None else tf.where(row.next_mask, judged, float("-inf"))
        best = tf.argmax(legal, -1, output_type=tf.int32)
        return row.reward + tf.where(row.terminated, 0.0, row.discount * chosen(values, best))


def chosen(values: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """The value of an action: `[B, K]`, `[B]` -> `[B]`; of several factors `[B, F, K]`, `[B, F]` their sum."""
    taken = tf.one_hot(action, values.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    # Selected, not multiplied: what is not chosen may be -inf.
    return tf.reduce_sum(tf.where(taken, values, 0.0), range(1, values.shape.rank))
