"""Proximal policy optimization for discrete actions of any kind, stepped by Python or compiled whole.

    python -m scripts.train agents/configs/ppo_cartpole.yaml seed=3
    python -m scripts.train agents/configs/ppo_cartpole.yaml env.id=CartPole-v1

An environment that can be stepped inside the graph (`rlsample/CartPole-v1`) is collected in the same XLA program as the
update, any other one through Gymnasium, by runners in other processes if there are any (`scale`); all give the same
`Rollout` to learn from. The learner below is of one network; `agent.population` trains several of it side by side.
What a network with a memory changes is in `agents/recurrent_ppo.py`.

Sources: Schulman et al. (2017), arXiv 1707.06347; Huang et al. (2022), The 37 implementation details of proximal policy
optimization, whose settings for classic control are the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym
import keras
import tensorflow as tf
from pydantic import Field

from rlsample import checks, ops
from rlsample.learning import losses, shuffle
from rlsample.learning.adam import Adam
from rlsample.learning.loops import repeat
from rlsample.learning.replicas import mean_over_replicas, mirrored
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.advantages import advantages
from rlsample.rollouts.in_graph_collector import max_truncations
from rlsample.rollouts.in_graph_turns import remember_and_learn
from rlsample.rollouts.on_policy import train_on_policy
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.rollouts.transition import Transition
from rlsample.rollouts.transitions import finite_steps, over_steps, to_rollout
from rlsample.runs import PerMember, PopulationConfig, Run, RunConfig
from rlsample.scale.environments import make_environments
from rlsample.streams import Streams
from rlsample.types import Rollout

from .ppo_state import Minibatch, State

METRICS = ("losses/policy", "losses/value", "policy/entropy", "policy/approximate_kl", "policy/clip_fraction")

ROWS_IN_CACHE = 4096
"""More rows than this go through the networks in pieces: their activations no longer stay near the processor."""


class Config(PopulationConfig):
    """Hyper-parameters of PPO. With a population, a tuple gives each member its own value."""

    members_differ_in: ClassVar = ("learning_rate", "entropy_coefficient")
    scales: ClassVar = True
    scales_memory: ClassVar = True
    shares_minibatches: ClassVar = True

    name: str = "ppo"
    num_steps: int = Field(default=128, ge=1, description="Steps that each environment takes in a rollout.")
    num_epochs: int = Field(default=4, ge=1, description="Passes over a rollout.")
    num_minibatches: int = Field(default=4, ge=1, description="Gradient steps per pass; divides a rollout evenly.")
    learning_rate: PerMember = Field(default=2.5e-4, description="Of Adam; a tuple gives each member its own.")
    anneal_learning_rate: bool = Field(default=True, description="Lower the learning rate linearly to 0 over the run.")
    discount: float = Field(default=0.99, ge=0, le=1, description="Of rewards, per step.")
    trace_decay: float = Field(default=0.95, ge=0, le=1, description="Lambda of the advantage estimates.")
    clip_range: float = Field(default=0.2, gt=0, description="How far a probability ratio may move and gain by it.")
    clip_values: bool = Field(default=True, description="Hold values to that range too; for rewards of that scale.")
    normalize_advantages: bool = Field(default=True, description="To mean 0 and deviation 1 in each minibatch.")
    entropy_coefficient: PerMember = Field(default=0.01, description="Weight of the entropy bonus.")
    value_coefficient: float = Field(default=0.5, ge=0, description="Weight of the value loss.")
    max_gradient_norm: float = Field(default=0.5, gt=0, description="Longer gradients, all together, are shortened.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights.

    Raises:
        ValueError: a rollout does not divide into the minibatches asked for.
    """
    check_minibatches(config)
    return policy_for(observation_space, action_space, config.sampler, config.network)


def check_minibatches(config: RunConfig[Any]) -> None:
    """Raises ValueError for a rollout that does not divide into the minibatches asked for."""
    agent, num_envs = config.agent, config.env.num_envs
    received: dict[str, Any] = {"num_envs": num_envs, "num_minibatches": agent.num_minibatches}
    if agent.num_steps * num_envs % agent.num_minibatches:
        rule = "agent.num_steps * env.num_envs to be a multiple of agent.num_minibatches"
        raise checks.invalid(rule, num_steps=agent.num_steps, **received)
    if config.network.state_size and num_envs % agent.num_minibatches:
        hint = "With a memory, a minibatch is whole sequences of some environments."
        raise checks.invalid("env.num_envs to be a multiple of agent.num_minibatches", hint=hint, **received)


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the policy.

    Of a population it is the member whose latest episodes went best. Steps are those of one member: each takes
    `config.total_steps`.
    """
    from . import recurrent_ppo  # whose learner extends the one below

    if config.network.state_size:
        return train_learner(recurrent_ppo.Learner, config, run, make_turn=remember_and_learn)
    return train_learner(Learner, config, run)


def train_learner(kind: type[Learner], config: RunConfig[Any], run: Run, **options: Any) -> Policy:
    """As `train`, for a kind of learner; options as of `train_on_policy`."""
    agent = config.agent
    envs = make_environments(config, agent.population)
    num_turns = math.ceil(config.total_steps / (agent.num_steps * config.env.num_envs))
    return train_on_policy(
        envs,
        kind(config, envs, num_turns),
        run,
        num_steps=agent.num_steps,
        num_turns=num_turns,
        updates_per_turn=agent.num_epochs * agent.num_minibatches,
        metrics=METRICS,
        seed=config.seed,
        temperature=config.temperature,
        population=agent.population,
        jit_compile=agent.jit_compile and config.scale.devices == 1,  # Else each device's part alone.
        hint="Lower agent.learning_rate.",
        **options,
    )


class Learner:
    """Policy and critic of one member, and what a compiled program does with them: see `population.Learner`.

    Attributes:
        policy: acts outside of compiled code; its weights are as of the last `publish`.
    """

    def __init__(self, config: RunConfig[Config], envs: gym.vector.VectorEnv, num_turns: int) -> None:
        self.config, self.agent = config, config.agent
        self.spaces = envs.single_observation_space, envs.single_action_space
        self.policy, critic = self._networks()
        self.network, self.critic = FlatNetwork(self.policy.model), FlatNetwork(critic)
        updates = num_turns * self.agent.num_epochs * self.agent.num_minibatches
        self.optimizer = Adam(
            epsilon=1e-5,
            max_gradient_norm=self.agent.max_gradient_norm,
            decay_steps=updates if self.agent.anneal_learning_rate else None,
        )
        self.max_truncations = max_truncations(envs, self.agent.num_steps)
        self.strategy = mirrored(config.scale.devices) if config.scale.devices > 1 else None

    def _networks(self) -> tuple[Policy, keras.Model]:
        policy = make_policy(self.config, *self.spaces)
        return policy, policy.another_network(1)

    def start(self, member: int) -> State:
        """The state before training, with fresh weights."""
        keras.utils.set_random_seed(Streams(self.config.seed).integer("weights", member))
        policy, critic = self._networks()
        weights = FlatNetwork(policy.model).weights(), FlatNetwork(critic).weights()
        rates = (self.agent.by_member(name)[member] for name in ("learning_rate", "entropy_coefficient"))
        return State(*weights, self.optimizer.start(weights), *map(tf.constant, rates))

    def publish(self, state: State) -> Policy:
        """Copies a state into the policy, and returns it."""
        self.network.assign(state.policy)
        return self.policy

    def split(self, state: State) -> list[tf.Tensor]:
        """The weights that `logits` takes."""
        return self.network.split(state.policy)

    def logits(self, parameters: list[tf.Tensor], observation: Any) -> tf.Tensor:
        """Observations `[E, ...]` -> logits `[E, K]` or `[E, F, K]`."""
        return self.network.apply(parameters, observation)

    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """Draws factor indices: int32 `[E]` or `[E, F]`."""
        return self.policy.head.distribution(logits, mask).sample(seed).action

    def learn(
        self, state: State, transitions: Transition, seed: tf.Tensor, finite: tf.Tensor
    ) -> tuple[State, dict[str, tf.Tensor], tf.Tensor]:
        """Learns from one rollout `[T, E, ...]`, in several passes over it in minibatches.

        Returns:
            (state, metrics: means over minibatches, `finite` bool `[E]` after this rollout). The state is as it was if
            anything has not been finite.
        """
        agent, before = self.agent, state
        columns, memory = self._columns(state, transitions)
        usable = tf.math.is_finite(finite_steps((tf.square(columns["advantage"]), columns["observation"])))
        finite &= tf.reduce_all(usable, 0)
        rows, unpack = self._rows(columns)
        updates = agent.num_epochs * agent.num_minibatches

        def epoch(index: tf.Tensor, carry: Any) -> Any:
            order = shuffle.permutation(rows[0].shape[0], ops.fold_in(seed, index))
            shape = agent.num_minibatches, -1
            minibatches = [tf.reshape(tf.gather(matrix, order), [*shape, matrix.shape[1]]) for matrix in rows]

            def minibatch(index: tf.Tensor, carry: Any) -> Any:
                state, means = carry
                state, metrics = self._update(state, unpack([matrix[index] for matrix in minibatches]))
                return state, {name: mean + metrics[name] / updates for name, mean in means.items()}

            return repeat(minibatch, agent.num_minibatches, carry)

        state, metrics = repeat(epoch, agent.num_epochs, (state, dict.fromkeys(METRICS, tf.zeros([]))))
        state = state._replace(memory=memory)
        keep = tf.reduce_all(finite)
        state = tf.nest.map_structure(lambda new, old: tf.where(keep, new, old), state, before)
        return state, metrics, finite

    def _columns(self, state: State, transitions: Transition) -> tuple[dict[str, Any], Any]:
        """The fields of a `Minibatch`, `[T, E, ...]`, without those that are None; what is remembered after them."""
        rollout, more, memory = self._rollout(state, transitions)
        judged = advantages(rollout, transitions, self.agent.discount, self.agent.trace_decay)
        columns = rollout._asdict() | more | judged._asdict()
        return {name: columns[name] for name in Minibatch._fields if columns.get(name) is not None}, memory

    def _rollout(self, state: State, transitions: Transition) -> tuple[Rollout, dict[str, Any], Any]:
        """What the networks say of the transitions, other columns of a `Minibatch`, and what is remembered after."""
        network, critic = self.network.at(state.policy), self.critic.at(state.critic)
        distribution = self.policy.head.distribution
        rollout = to_rollout(
            transitions,
            lambda observation, mask, action: distribution(over_steps(network, observation), mask).log_prob(action),
            lambda observation: over_steps(critic, observation)[..., 0],
            self.max_truncations,
        )
        return rollout, {}, ()

    def _rows(self, columns: dict[str, Any]) -> tuple[list[tf.Tensor], Callable[[list[tf.Tensor]], Any]]:
        """What minibatches are drawn of: matrices `[n, width]`, and how a minibatch is made of some of their rows."""
        packed, unpack = shuffle.pack(columns, axes=2)
        return [tf.reshape(matrix, [-1, matrix.shape[-1]]) for matrix in packed], unpack

    def _update(self, state: State, columns: dict[str, tf.Tensor]) -> tuple[State, dict[str, tf.Tensor]]:
        """One gradient step on a minibatch `[n, ...]`."""
        if self.agent.normalize_advantages:
            columns = columns | {"advantage": self._standardized(columns["advantage"], columns.get("valid"))}
        weights = state.policy, state.critic

        def gradients(columns: dict[str, tf.Tensor]) -> tuple[Any, dict[str, tf.Tensor]]:
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss, metrics = self._loss(state, Minibatch(**columns))
            return tape.gradient(loss, weights), metrics

        # A mean over rows is the mean of those over equal pieces, unless some of the rows do not count.
        max_rows = None if "valid" in columns else max(1, ROWS_IN_CACHE // math.prod(columns["advantage"].shape[1:]))
        zeros = tf.nest.map_structure(tf.zeros_like, weights), dict.fromkeys(METRICS, tf.zeros([]))
        if self.strategy is None:
            slopes, metrics = shuffle.mean_over_pieces(gradients, columns, zeros, max_rows)
        else:
            compiled = tf.function(gradients, jit_compile=self.agent.jit_compile, autograph=False)
            slopes, metrics = mean_over_replicas(self.strategy, compiled, columns, columns.get("valid"))
        (policy, critic), adam = self.optimizer.step(slopes, state.adam, weights, state.learning_rate)
        return state._replace(policy=policy, critic=critic, adam=adam), metrics

    def _standardized(self, advantage: tf.Tensor, valid: tf.Tensor | None) -> tf.Tensor:
        """The advantages of a minibatch with mean 0 and deviation 1."""
        return losses.standardize(advantage, valid)

    def _loss(self, state: State, rows: Minibatch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss of a minibatch, and the metrics."""
        agent = self.agent
        logits, value = self._outputs(state, rows)
        policy = self.policy.head.distribution(logits, rows.mask)
        log_ratio = policy.log_prob(rows.action) - rows.log_prob
        advantage = rows.advantage if rows.weight is None else rows.weight * rows.advantage
        policy_loss = losses.clipped_surrogate_loss(log_ratio, advantage, agent.clip_range, rows.valid)
        value_range = agent.clip_range if agent.clip_values else None
        value_loss = losses.value_loss(value, rows.target, rows.value, value_range, rows.valid)
        entropy = losses.masked_mean(policy.entropy(), rows.valid)
        loss = policy_loss + agent.value_coefficient * value_loss - state.entropy_coefficient * entropy
        kl = losses.approximate_kl(log_ratio, rows.valid)
        clipped = losses.clip_fraction(log_ratio, agent.clip_range, rows.valid)
        return loss, dict(zip(METRICS, (policy_loss, value_loss, entropy, kl, clipped), strict=True))

    def _outputs(self, state: State, rows: Minibatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits and values of a minibatch."""
        logits = self.network(state.policy, rows.observation)
        return logits, self.critic(state.critic, rows.observation)[..., 0]
