"""Collecting and learning in turns: in one compiled program where the environment allows it, else through Gymnasium."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.learning.loops import repeat
from rlsample.rollouts.gymnasium_collector import Collector, Transition
from rlsample.rollouts.in_graph_collector import Act, Finished, InGraphCollector, Running, collect, in_graph_env
from rlsample.rollouts.numpy_policy import on_host
from rlsample.rollouts.policy import Policy

MAX_ROLLOUTS_PER_CALL = 16
"""In-graph rollouts a call: calling a compiled program takes about as long as collecting a small one."""


class Learner(Protocol):
    """What an on-policy agent brings: S members that act and learn, in compiled code, and then tell how it went.

    Attributes:
        policies: one a member, for acting outside of compiled code.
        zeros: the sums of no metrics.
    """

    policies: list[Policy]
    zeros: dict[str, tf.Tensor]

    @property
    def act(self) -> Act:
        """Draws actions in compiled code; read once a rollout, outside of the loop over its steps."""

    def learn(self, transitions: Transition, seed: tf.Tensor, sound: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Learns from one rollout, `[T, S * E, ...]`, but only if everything has been finite so far.

        Args:
            transitions: the rollout.
            seed: int32 `[2]`.
            sound: bool `[S * E]`, the environments that have been finite before.

        Returns:
            (metrics to be summed, as `zeros`; `sound` after this rollout).
        """

    def means(self, sums: dict[str, tf.Tensor], num_rollouts: int) -> dict[str, float]:
        """Turns summed metrics into those to log."""

    def publish(self) -> None:
        """Copies what was learned into `policies`."""


class InGraph:
    """Collects and learns in one compiled program, several rollouts a call.

    Attributes:
        most: rollouts in one call.
        scores: float `[S]`, mean return of each member's latest episodes; -inf before the first.
    """

    most = MAX_ROLLOUTS_PER_CALL

    def __init__(
        self, envs: gym.vector.VectorEnv, learner: Learner, num_steps: int, seed: int, jit_compile: bool = True
    ) -> None:
        self.learner, self.num_steps, self.seed = learner, num_steps, seed
        limit = getattr(envs.unwrapped, "max_episode_steps", None)
        self.collector = InGraphCollector(in_graph_env(envs), envs.num_envs, limit)
        self.running = self.collector.start(tf.constant([seed, -1]))
        self.scores = np.full(len(learner.policies), -np.inf)
        self._advance = tf.function(self._in_graph, jit_compile=jit_compile, autograph=False)

    @property
    def traces(self) -> int:
        """How often the program was traced."""
        return self._advance.experimental_get_tracing_count()

    def advance(self, num_rollouts: int, done: int) -> dict[str, float]:
        """Collects `num_rollouts` rollouts after the `done` so far, and learns from each; returns the metrics.

        Raises:
            ValueError: NaN or inf in a reward, an observation or a value, from which nothing was learned.
        """
        seed = tf.constant([self.seed, done])
        self.running, finished, sums, sound = self._advance(self.running, tf.constant(num_rollouts), seed)
        raise_for_unsound(sound)
        count, length, score = (total.numpy().reshape(len(self.scores), -1).sum(1) for total in finished)
        self.scores = np.where(count > 0, score / np.maximum(count, 1), self.scores)
        metrics = self.learner.means(sums, num_rollouts)
        if count.any():
            metrics["charts/episodic_return"] = float(score.sum() / count.sum())
            metrics["charts/episodic_length"] = float(length.sum() / count.sum())
        if len(self.scores) > 1:
            members = enumerate(self.scores)
            metrics |= {f"members/return_{member:02d}": score for member, score in members if np.isfinite(score)}
        return metrics

    def _in_graph(self, running: Running, num_rollouts: tf.Tensor, seed: tf.Tensor) -> Any:
        nothing = tf.zeros([self.collector.num_envs])

        def once(index: tf.Tensor, carry: Any) -> Any:
            running, finished, sums, sound = carry
            running, ended, more, sound = self._turn(running, ops.fold_in(seed, index), sound)
            return running, *tf.nest.map_structure(tf.add, (finished, sums), (ended, more)), sound

        carry = (running, Finished(nothing, nothing, nothing), self.learner.zeros, tf.equal(nothing, 0))
        return repeat(once, num_rollouts, carry)

    def _turn(self, running: Running, seed: tf.Tensor, sound: tf.Tensor) -> tuple[Running, Finished, Any, tf.Tensor]:
        """Collects one rollout and learns from it."""
        act_seed, learn_seed = tf.unstack(ops.split(seed, 2))
        transitions, running, ended = self.collector.collect(self.learner.act, running, self.num_steps, act_seed)
        more, sound = self.learner.learn(transitions, learn_seed, sound)
        return running, ended, more, sound


class Stepped:
    """Collects through Gymnasium, and learns in a compiled program, one rollout a call. Attributes as of `InGraph`."""

    most = 1

    def __init__(
        self, envs: gym.vector.VectorEnv, learner: Learner, num_steps: int, seed: int, jit_compile: bool = True
    ) -> None:
        if len(learner.policies) > 1:
            hint = "Such as rlsample/CartPole-v1."
            raise checks.invalid("an in-graph environment for a population", env=str(envs), hint=hint)
        self.learner, self.num_steps, self.seed = learner, num_steps, seed
        self.collector = Collector(envs, learner.policies[0].factors, seed)
        self.scores = np.full(1, -np.inf)
        self._learn = tf.function(learner.learn, jit_compile=jit_compile, autograph=False)

    @property
    def traces(self) -> int:
        """See `InGraph.traces`."""
        return self._learn.experimental_get_tracing_count()

    def advance(self, num_rollouts: int, done: int) -> dict[str, float]:
        """See `InGraph.advance`; `num_rollouts` is 1."""
        seed = np.array([self.seed, done * self.num_steps], np.int32)
        transitions = collect(self.collector, on_host(self.learner.policies[0], seed), self.num_steps)
        everywhere = tf.ones(transitions.reward.shape[1:], tf.bool)
        sums, sound = self._learn(tf.nest.map_structure(tf.constant, transitions), tf.constant(seed), everywhere)
        raise_for_unsound(sound)
        metrics = self.learner.means(sums, 1) | self.collector.pop_episodes()
        self.learner.publish()
        self.scores[0] = metrics.get("charts/episodic_return", self.scores[0])
        return metrics


def training_loop(
    envs: gym.vector.VectorEnv, learner: Learner, num_steps: int, seed: int, jit_compile: bool = True
) -> InGraph | Stepped:
    """The fastest loop that an environment allows.

    Args:
        envs: S * E environments, those of the first member first.
        learner: the agent.
        num_steps: T, steps of each environment in a rollout.
        seed: of environments and actions.
        jit_compile: whether XLA compiles the program.

    Raises:
        ValueError: a population in an environment that is not in-graph.
    """
    loop = InGraph if in_graph_env(envs) is not None else Stepped
    return loop(envs, learner, num_steps, seed, jit_compile)


def raise_for_unsound(sound: tf.Tensor) -> None:
    """Raises ValueError for the first environment that is not `sound`, the flag `Learner.learn` returned."""
    flags = sound.numpy()
    if not flags.all():
        raise checks.invalid("finite rewards, observations and values", environment=int(np.argmin(flags)))
