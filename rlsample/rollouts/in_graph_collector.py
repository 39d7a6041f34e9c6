"""Rollouts: the same from Gymnasium, stepped by Python, and from an environment inside the compiled program.

Either collector gives the transitions of T steps, `[T, B, ...]`; `evaluate` adds what the networks say of them,
which makes the `Rollout` that an agent learns from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.learning.loops import repeat
from rlsample.rollouts.gymnasium_collector import Collector, Transition
from rlsample.rollouts.numpy_policy import HostAct
from rlsample.spaces import Factors
from rlsample.types import Rollout

Act = Callable[[Any, Any, Any], Any]
"""(features float32 `[B, D]`, mask or None, seed int32 `[2]`) -> actions int32 `[B]` or `[B, F]`; for an in-graph
environment also one-hots, hard or relaxed, `[B, K]` or `[B, F, K]`, through which gradients then flow."""


class InGraphEnv(Protocol):
    """A batched environment of pure functions of tensors: what can be stepped inside a compiled program.

    A state is a tensor or a structure of tensors with B in front; seeds are int32 `[2]`.
    """

    observation_space: gym.Space
    factors: Factors

    def initial(self, seed: tf.Tensor, num_envs: int) -> Any:
        """Draws starting states."""

    def observation(self, state: Any) -> tf.Tensor:
        """What the agent sees: float `[B, ...]`."""

    def action_mask(self, state: Any) -> tf.Tensor | None:
        """What is legal: bool `[B, K]` or `[B, F, K]`, or None where everything always is."""

    def step(self, state: Any, action: tf.Tensor, seed: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor, tf.Tensor]:
        """(state, observation, reward `[B]`, terminated `[B]`), with neither a reset nor a time limit."""

    def reset_where(self, done: tf.Tensor, state: Any, seed: tf.Tensor) -> Any:
        """The states, those of the environments that are done replaced by starting states."""


class Running(NamedTuple):
    """Episodes under way in B in-graph environments: what one rollout hands to the next.

    Attributes:
        state: of the environments.
        length: int32 `[B]`, steps taken in the episode.
        score: float32 `[B]`, rewards earned in it.
    """

    state: Any
    length: tf.Tensor
    score: tf.Tensor


class Finished(NamedTuple):
    """Sums over the episodes that ended: float32 `[B]` each."""

    count: tf.Tensor
    length: tf.Tensor
    score: tf.Tensor


def in_graph_env(envs: gym.vector.VectorEnv) -> Any:
    """The in-graph environment behind a Gymnasium vector environment, or None if there is none."""
    return getattr(envs.unwrapped, "functional", None)


class InGraphCollector:
    """Steps in-graph environments inside a compiled program; holds no tensors.

    Args:
        env: the environment.
        num_envs: B.
        max_episode_steps: steps after which an episode is truncated; None or 0 for never.

    Raises:
        ValueError: observations that are not arrays.
    """

    def __init__(self, env: InGraphEnv, num_envs: int, max_episode_steps: int | None = None) -> None:
        if not isinstance(env.observation_space, gym.spaces.Box):
            raise checks.invalid("in-graph observations that are a Box", observation_space=env.observation_space)
        self.env = env
        self.num_envs = checks.check_count("num_envs", num_envs)
        self.max_episode_steps = max_episode_steps or np.iinfo(np.int32).max

    def start(self, seed: tf.Tensor) -> Running:
        """Begins an episode in each environment."""
        zeros = tf.zeros([self.num_envs])
        return Running(self.env.initial(seed, self.num_envs), tf.cast(zeros, tf.int32), zeros)

    def collect(
        self, act: Act, running: Running, num_steps: int, seed: tf.Tensor
    ) -> tuple[Transition, Running, Finished]:
        """Takes T steps in every environment.

        An environment whose episode ends is reset at once, so every row is valid; the row's `next_observation` is
        still the last one of the episode, whether it was terminated or ran out of time. Under a gradient tape, rewards
        and observations have gradients wherever the environment and the actions do; none flows through a reset.

        Args:
            act: chooses actions.
            running: from `start`, or from the last rollout.
            num_steps: T.
            seed: int32 `[2]`.

        Returns:
            (tensors `[T, B, ...]`; `mask`, `next_mask` and `valid` None where they say nothing), episodes under way,
            episodes that ended.
        """
        seeds = ops.split(seed, 2 * num_steps)
        zeros = tf.zeros([self.num_envs])
        columns = self._columns(running, num_steps)

        def take(step: tf.Tensor, carry: Any) -> Any:
            running, finished, columns = carry
            row, running, finished = self._step(act, running, finished, seeds[2 * step], seeds[2 * step + 1])
            return running, finished, {name: column.write(step, row[name]) for name, column in columns.items()}

        running, finished, columns = repeat(take, num_steps, (running, Finished(zeros, zeros, zeros), columns))
        stacked = {name: column.stack() for name, column in columns.items()}
        empty = dict.fromkeys(Transition._fields)
        return Transition(**(empty | stacked)), running, finished

    def _step(
        self, act: Act, running: Running, finished: Finished, act_seed: tf.Tensor, step_seed: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], Running, Finished]:
        env, state = self.env, running.state
        observation, mask = _flatten(env.observation(state)), env.action_mask(state)
        action = act(observation, mask, act_seed)
        state, following, reward, terminated = env.step(state, action, step_seed)
        reward = tf.cast(reward, tf.float32)
        length, score = running.length + 1, running.score + reward
        truncated = length >= self.max_episode_steps
        done = terminated | truncated
        row = {
            "observation": observation,
            "mask": mask,
            "action": action if action.dtype.is_integer else tf.argmax(action, -1, output_type=tf.int32),
            "reward": reward,
            "next_observation": _flatten(following),
            "terminated": terminated,
            "truncated": truncated,
        }
        ended = tf.cast(done, tf.float32)
        finished = Finished(
            finished.count + ended,
            finished.length + ended * tf.cast(length, tf.float32),
            finished.score + tf.where(done, score, 0.0),
        )
        state = env.reset_where(done, state, step_seed)
        return row, Running(state, tf.where(done, 0, length), tf.where(done, 0.0, score)), finished

    def _columns(self, running: Running, num_steps: int) -> dict[str, tf.TensorArray]:
        """Room for T rows of everything `_step` gives."""
        observation = _flatten(self.env.observation(running.state))
        mask = self.env.action_mask(running.state)
        batch = (self.num_envs,)
        kinds = {
            "observation": (tf.float32, observation.shape),
            "action": (tf.int32, (*batch, *self.env.factors.action_shape)),
            "reward": (tf.float32, batch),
            "next_observation": (tf.float32, observation.shape),
            "terminated": (tf.bool, batch),
            "truncated": (tf.bool, batch),
        }
        if mask is not None:
            kinds["mask"] = (tf.bool, mask.shape)
        return {name: tf.TensorArray(kind, num_steps, element_shape=shape) for name, (kind, shape) in kinds.items()}


def collect(collector: Collector, act: HostAct, num_steps: int) -> Transition:
    """Takes T steps in every environment of a Gymnasium vector environment.

    Args:
        collector: the environments.
        act: chooses actions.
        num_steps: T.

    Returns:
        arrays `[T, B, ...]`; rows in which an environment ignored the action to reset itself are not `valid`.
    """
    rows = [collector.step(act(collector.observation, collector.mask)) for _ in range(num_steps)]
    return Transition(*(np.stack(column) for column in zip(*rows, strict=True)))


def evaluate(
    transitions: Transition,
    log_prob: Callable[[tf.Tensor, tf.Tensor | None, tf.Tensor], tf.Tensor],
    value: Callable[[tf.Tensor], tf.Tensor],
) -> Rollout:
    """Adds to transitions what the networks that collected them say: the `Rollout` to learn from.

    One batch of T x B rows for each network is quicker than T batches of B rows while collecting.

    Args:
        transitions: from either collector, tensors `[T, B, ...]`.
        log_prob: (features `[T, B, D]`, mask, action) -> `[T, B]`.
        value: features `[t, B, D]` -> `[t, B]`, for any t.
    """
    values = value(transitions.observation)
    return Rollout(
        observation=transitions.observation,
        mask=transitions.mask,
        action=transitions.action,
        log_prob=log_prob(transitions.observation, transitions.mask, transitions.action),
        reward=transitions.reward,
        value=values,
        next_value=_next_values(transitions, values, value),
        terminated=transitions.terminated,
        truncated=transitions.truncated,
        valid=transitions.valid,
    )


def _next_values(transitions: Transition, values: tf.Tensor, value: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Values of `next_observation`, with the network run only where they are not the next row's `values`.

    That is in the last row and where an episode was truncated: few rows, so they are looked up one an environment at a
    time, until none is left.
    """
    following = transitions.next_observation
    shifted = tf.concat([values[1:], value(following[-1:])], 0)
    count = tf.cumsum(tf.cast(transitions.truncated, tf.int32))  # which truncation of its environment a row is

    def fill(index: tf.Tensor, filled: tf.Tensor) -> tf.Tensor:
        here = transitions.truncated & (count == index + 1)
        final = tf.reduce_sum(tf.where(here[..., None], following, 0.0), 0, keepdims=True)
        return tf.where(here, value(final), filled)

    return repeat(fill, tf.reduce_max(count), shifted)


def _flatten(observation: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reshape(observation, [observation.shape[0], -1]), tf.float32)
