"""REINFORCE: the policy gradient of whole returns, with or without a learned baseline.

    python -m scripts.train agents/configs/reinforce_cartpole.yaml
    python -m scripts.train agents/configs/reinforce_cartpole.yaml agent.baseline=false env.id=CartPole-v1

The loss is a weighted classification loss: the softmax cross-entropy between the policy and the action it took, times
what the action's return was above the baseline. Its gradient to the logits is weight * (probs - one_hot), with no
Jacobian and no second softmax (`ops.sparse_softmax_cross_entropy`). Where PPO goes over a rollout many times, this goes
over it once: the shortest agent there is, and the one to measure others by.

An in-graph environment is collected in the same XLA program as the update, any other one through Gymnasium. The sampler
decides what is drawn, and nothing else: no gradient passes through an action. What a network with a memory changes is
in `agents/recurrent_reinforce.py`.

Sources: Williams (1992), Simple statistical gradient-following algorithms for connectionist reinforcement learning;
Sutton and Barto (2018), Reinforcement learning: an introduction, sections 13.3 and 13.4, without the discount of later
steps' gradients.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import keras
import tensorflow as tf
from pydantic import Field

from rlsample import ops
from rlsample.distributions import CategoricalDistribution
from rlsample.learning import losses
from rlsample.learning.adam import Adam, AdamState
from rlsample.learning.loops import repeat
from rlsample.learning.returns import backward_recurrence, discounted_returns
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.in_graph_collector import max_truncations
from rlsample.rollouts.in_graph_turns import collect_and_learn, remember_and_learn
from rlsample.rollouts.on_policy import train_on_policy
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.rollouts.transition import Transition
from rlsample.rollouts.transitions import finite_steps, over_steps, to_rollout
from rlsample.runs import PerMember, PopulationConfig, Run, RunConfig
from rlsample.streams import Streams
from rlsample.types import Rollout

METRICS = ("losses/policy", "losses/value", "policy/entropy")


class Config(PopulationConfig):
    """Hyper-parameters of REINFORCE. With a population, a tuple gives each member its own value."""

    members_differ_in: ClassVar = ("learning_rate", "entropy_coefficient")

    name: str = "reinforce"
    num_steps: int = Field(
        default=256,
        ge=1,
        description="Steps that each environment takes in a rollout; without a baseline many episodes.",
    )
    learning_rate: PerMember = Field(
        default=1e-2, description="Of the policy's Adam; a tuple gives each member its own."
    )
    anneal_learning_rate: bool = Field(default=True, description="Lower the learning rates linearly to 0 over the run.")
    discount: float = Field(default=0.99, ge=0, le=1, description="Of rewards, per step.")
    baseline: bool = Field(
        default=True,
        description="Subtract a learned value, which also stands for the rest of episodes under way at the end of a "
        "rollout. Without it those are not learned from.",
    )
    baseline_learning_rate: float = Field(default=1e-2, gt=0, description="Of the baseline's Adam.")
    baseline_updates: int = Field(default=16, ge=1, description="Gradient steps of the baseline on each rollout.")
    normalize_advantages: bool = Field(default=True, description="To mean 0 and deviation 1 in each rollout.")
    entropy_coefficient: PerMember = Field(default=0.0, description="Weight of the entropy bonus.")
    max_gradient_norm: float = Field(default=0.5, gt=0, description="Longer gradients of the policy are shortened.")
    jit_compile: bool = Field(default=True, description="Compile by XLA: starts seconds later, several times quicker.")


class State(NamedTuple):
    """All that one member learns, and the rates it learns at."""

    policy: tf.Tensor  # float32 [P], the policy's weights
    baseline: tf.Tensor  # float32 [Q], the baseline's
    policy_adam: AdamState
    baseline_adam: AdamState
    learning_rate: tf.Tensor  # scalar
    entropy_coefficient: tf.Tensor  # scalar
    memory: Any = ()  # float32 [E, S] twice, what policy and baseline remember; nothing without a memory


def make_policy(config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> Policy:
    """The policy this agent trains, with fresh weights."""
    return policy_for(observation_space, action_space, config.sampler, config.network)


def train(config: RunConfig[Config], run: Run) -> Policy:
    """Trains until `config.total_steps` or until the run is asked to stop; returns the policy.

    Of a population it is the member whose latest episodes went best.
    """
    from . import recurrent_reinforce  # whose learner extends the one below

    agent, remembers = config.agent, config.network.state_size > 0
    envs = config.env.make(num_envs=config.env.num_envs * agent.population)
    num_turns = math.ceil(config.total_steps / (agent.num_steps * config.env.num_envs))
    return train_on_policy(
        envs,
        (recurrent_reinforce.Learner if remembers else Learner)(config, envs, num_turns),
        run,
        num_steps=agent.num_steps,
        num_turns=num_turns,
        updates_per_turn=1,
        metrics=METRICS,
        seed=config.seed,
        temperature=config.temperature,
        make_turn=remember_and_learn if remembers else collect_and_learn,
        population=agent.population,
        jit_compile=agent.jit_compile,
        hint="Lower agent.learning_rate.",
    )


class Learner:
    """Policy and baseline of one member, and what a compiled program does with them: see `population.Learner`.

    Attributes:
        policy: acts outside of compiled code; its weights are as of the last `publish`.
    """

    def __init__(self, config: RunConfig[Config], envs: gym.vector.VectorEnv, num_turns: int) -> None:
        self.config, self.agent = config, config.agent
        self.spaces = envs.single_observation_space, envs.single_action_space
        self.policy, baseline = self._networks()
        self.network, self.baseline = FlatNetwork(self.policy.model), FlatNetwork(baseline)
        turns = num_turns if self.agent.anneal_learning_rate else None
        self.policy_optimizer = Adam(max_gradient_norm=self.agent.max_gradient_norm, decay_steps=turns)
        self.baseline_optimizer = Adam(decay_steps=turns and turns * self.agent.baseline_updates)
        self.max_truncations = max_truncations(envs, self.agent.num_steps)

    def _networks(self) -> tuple[Policy, keras.Model]:
        policy = make_policy(self.config, *self.spaces)
        return policy, policy.another_network(1)

    def start(self, member: int) -> State:
        """The state before training, with fresh weights."""
        keras.utils.set_random_seed(Streams(self.config.seed).integer("weights", member))
        fresh, fresh_baseline = self._networks()
        policy, baseline = FlatNetwork(fresh.model).weights(), FlatNetwork(fresh_baseline).weights()
        adams = self.policy_optimizer.start(policy), self.baseline_optimizer.start(baseline)
        rates = (tf.constant(self.agent.by_member(name)[member]) for name in Config.members_differ_in)
        return State(policy, baseline, *adams, *rates)

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
        """Learns from one rollout `[T, E, ...]`: one step of the policy, several of the baseline.

        Returns:
            (state, metrics, `finite` bool `[E]` after this rollout). The state is as it was if anything has not been
            finite.
        """
        before, (rollout, memory) = state, self.rollout(state, transitions)
        returns = discounted_returns(
            rollout.reward, rollout.next_value, rollout.terminated, rollout.truncated, self.agent.discount
        )
        usable = tf.square(returns - rollout.value) + finite_steps(rollout.observation)
        finite &= tf.reduce_all(tf.math.is_finite(usable), 0)
        state, policy_loss, entropy = self.update_policy(state, transitions, rollout, returns - rollout.value)
        value_loss = tf.zeros([])
        if self.agent.baseline:
            state, value_loss = self.fit_baseline(state, transitions, rollout, returns)
        state, keep = state._replace(memory=memory), tf.reduce_all(finite)
        state = tf.nest.map_structure(lambda new, old: tf.where(keep, new, old), state, before)
        return state, dict(zip(METRICS, (policy_loss, value_loss, entropy), strict=True)), finite

    def rollout(self, state: State, steps: Transition) -> tuple[Rollout, Any]:
        """What to learn from, and what is remembered after it.

        Without a baseline the values are 0, and steps whose return is not known do not count.
        """
        rollout, memory = self._rollout(state, steps)
        if self.agent.baseline:
            return rollout, memory
        known = episode_ends(rollout.terminated | rollout.truncated)
        return rollout._replace(valid=known if rollout.valid is None else known & rollout.valid), memory

    def _rollout(self, state: State, steps: Transition) -> tuple[Rollout, Any]:
        critic = self.baseline.at(state.baseline)
        values = (lambda steps: over_steps(critic, steps)[..., 0]) if self.agent.baseline else _nothing
        return to_rollout(steps, lambda *_: None, values, self.max_truncations), ()

    def _logits(self, state: State, steps: Transition) -> tf.Tensor:
        """What the policy says of each step: `[T, E, K]` or `[T, E, F, K]`."""
        return over_steps(self.network.at(state.policy), steps.observation)

    def _values(self, state: State, steps: Transition) -> tf.Tensor:
        """What the baseline says of each step: `[T, E]`."""
        return over_steps(self.baseline.at(state.baseline), steps.observation)[..., 0]

    def update_policy(
        self, state: State, steps: Transition, rollout: Rollout, advantage: tf.Tensor
    ) -> tuple[State, tf.Tensor, tf.Tensor]:
        """One gradient step; returns also the loss and the entropy."""
        if self.agent.normalize_advantages:
            advantage = losses.standardize(advantage, rollout.valid)
        with tf.GradientTape() as tape:
            tape.watch(state.policy)
            policy = self.policy.head.distribution(self._logits(state, steps), rollout.mask)
            loss = weighted_cross_entropy(policy, rollout.action, advantage, rollout.valid)
            entropy = losses.masked_mean(policy.entropy(), rollout.valid)
            total = loss - state.entropy_coefficient * entropy
        slope = tape.gradient(total, state.policy)
        weights, adam = self.policy_optimizer.step(slope, state.policy_adam, state.policy, state.learning_rate)
        return state._replace(policy=weights, policy_adam=adam), loss, entropy

    def fit_baseline(
        self, state: State, steps: Transition, rollout: Rollout, returns: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Several gradient steps towards the returns; the loss is that of the last."""

        def update(index: tf.Tensor, carry: Any) -> Any:
            state, _ = carry
            with tf.GradientTape() as tape:
                tape.watch(state.baseline)
                loss = losses.value_loss(self._values(state, steps), returns, valid=rollout.valid)
            slope, rate = tape.gradient(loss, state.baseline), self.agent.baseline_learning_rate
            weights, adam = self.baseline_optimizer.step(slope, state.baseline_adam, state.baseline, rate)
            return state._replace(baseline=weights, baseline_adam=adam), loss

        return repeat(update, self.agent.baseline_updates, (state, tf.zeros([])))


def weighted_cross_entropy(
    policy: CategoricalDistribution, action: tf.Tensor, weight: tf.Tensor, valid: tf.Tensor | None = None
) -> tf.Tensor:
    """REINFORCE's loss: mean(-weight * log pi(action)), over the valid rows, with no gradient to the weight.

    Args:
        policy: of `[T, E]` actions, of one factor or several, masked or not.
        action: int32 `[T, E]` or `[T, E, F]`.
        weight: float32 `[T, E]`: the return, or what it is above the baseline.
        valid: bool `[T, E]`, or None where all rows count.
    """
    cost = ops.sparse_softmax_cross_entropy(action, policy.drawn_logits)
    joint = tf.reduce_sum(cost, range(2, cost.shape.rank))
    return losses.masked_mean(tf.stop_gradient(weight) * joint, valid)


def episode_ends(done: tf.Tensor) -> tf.Tensor:
    """Whether the episode of each step comes to its end within the rollout: bool `[T, E]` -> bool `[T, E]`."""
    ends = tf.cast(done, tf.float32)
    return backward_recurrence(ends, 1 - ends) > 0


def _nothing(steps: Any) -> tf.Tensor:
    return tf.zeros(tf.nest.flatten(steps)[0].shape[:2])
