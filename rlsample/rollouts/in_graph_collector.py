"""Collecting from an environment inside the compiled program, gradients included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.in_graph.environment import FunctionalEnv
from rlsample.learning.loops import repeat
from rlsample.rollouts.transition import Transition
from rlsample.samplers import Sampler
from rlsample.spaces.observations import specs

Act = Callable[[Any, Any, Any], Any]
"""(observations `[B, ...]`, mask or None, seed int32 `[2]`) -> actions int32 `[B]` or `[B, F]`; for an in-graph
environment also one-hots, hard or relaxed, `[B, K]` or `[B, F, K]`, through which gradients then flow."""

RememberingAct = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
"""As `Act`, but (observations, mask, seed, memory `[B, S]`) -> (actions, memory)."""


class Running(NamedTuple):
    """Episodes under way in B in-graph environments: what one rollout hands to the next.

    Attributes:
        state: of the environments.
        length: int32 `[B]`, steps taken in the episode.
        score: float32 `[B]`, rewards earned in it.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector
        >>> running = InGraphCollector(CartPole(), num_envs=3).start((0, 1))
        >>> running.length.numpy(), running.score.numpy()
        (array([0, 0, 0], dtype=int32), array([0., 0., 0.], dtype=float32))
    """

    state: Any
    length: tf.Tensor
    score: tf.Tensor


class Finished(NamedTuple):
    """Sums over the episodes that ended: float32 `[B]` each.

    Examples:
        >>> from rlsample.rollouts.in_graph_collector import Finished
        >>> count, sums = tf.constant([2.0, 1.0]), tf.constant([40.0, 20.0])  # three episodes in two environments
        >>> finished = Finished(count, length=sums, score=sums)
        >>> float(tf.reduce_sum(finished.score) / tf.reduce_sum(finished.count))  # their mean return
        20.0
    """

    count: tf.Tensor
    length: tf.Tensor
    score: tf.Tensor


def in_graph_env(envs: gym.vector.VectorEnv) -> FunctionalEnv | None:
    """The in-graph environment behind a Gymnasium vector environment, or None if there is none.

    Examples:
        >>> import envs
        >>> from rlsample.rollouts.in_graph_collector import in_graph_env
        >>> in_graph_env(gym.make_vec("rlsample/CartPole-v1", num_envs=2)).action_space
        Discrete(2)
        >>> print(in_graph_env(gym.make_vec("CartPole-v1", num_envs=2)))
        None
    """
    return getattr(envs.unwrapped, "functional", None)


def check_differentiable(sampler: Sampler, env_id: str, make: Callable[..., gym.vector.VectorEnv]) -> None:
    """Checks that gradients can pass through a sampler, an environment and what is observed of it.

    Args:
        sampler: draws the actions.
        env_id: names the environment.
        make: makes a vector of it, given `num_envs`.

    Raises:
        ValueError: they cannot; says which of them is at fault.

    Examples:
        >>> from rlsample.rollouts.in_graph_collector import check_differentiable
        >>> make = lambda num_envs: gym.make_vec("CartPole-v1", num_envs=num_envs)
        >>> check_differentiable(samplers.create("reinmax"), "CartPole-v1", make)
        Traceback (most recent call last):
            ...
        ValueError: Expected an environment with a gradient. Received: env='CartPole-v1'. Use an in-graph ...
    """
    if not sampler.pathwise:
        hint = "Use straight_through_gumbel_softmax, straight_through or reinmax."
        raise checks.invalid("a sampler whose draws carry a gradient", sampler=sampler.name, hint=hint)
    envs = make(num_envs=1)
    env, space = in_graph_env(envs), envs.single_observation_space
    envs.close()
    if not getattr(env, "differentiable", False):
        hint = "Use an in-graph environment whose rewards or states have a slope, such as rlsample/CartPole-v1."
        raise checks.invalid("an environment with a gradient", env=env_id, hint=hint)
    if not isinstance(space, gym.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        hint = "Leave out wrappers that put other parts beside the environment's own."
        raise checks.invalid("observations with a gradient, one Box of floats", observation_space=space, hint=hint)


def max_truncations(envs: gym.vector.VectorEnv, num_steps: int) -> int | None:
    """How often one environment can run out of time in so many steps; None if it is not in-graph, and may tell.

    Examples:
        >>> import envs
        >>> from rlsample.rollouts.in_graph_collector import max_truncations
        >>> vector = gym.make_vec("rlsample/CartPole-v1", num_envs=2)  # at most 500 steps an episode
        >>> max_truncations(vector, num_steps=128), max_truncations(vector, num_steps=1024)
        (1, 3)
    """
    if in_graph_env(envs) is None:
        return None
    limit = getattr(envs.unwrapped, "max_episode_steps", None)
    return 1 + (num_steps - 1) // limit if limit else 0


class InGraphCollector:
    """Steps in-graph environments inside a compiled program; holds no tensors.

    Args:
        env: the environment.
        num_envs: B.
        max_episode_steps: steps after which an episode is truncated; None or 0 for never.

    Raises:
        ValueError: observations that are not arrays.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector
        >>> collector = InGraphCollector(CartPole(), num_envs=2, max_episode_steps=500)
        >>> strength = tf.Variable(0.5)  # of a push to the right, the same at each step
        >>> def push(observation, mask, seed):
        ...     return tf.stack([1 - strength, strength])[None] * tf.ones([2, 1])
        >>> running = collector.start((0, 1))
        >>> with tf.GradientTape() as tape:
        ...     steps, running, finished = collector.collect(push, running, num_steps=4, seed=(0, 2))
        ...     speed = tf.reduce_mean(steps.next_observation[-1, :, 1])
        >>> print(steps.reward.shape, tape.gradient(speed, strength).numpy())
        (4, 2) 1.5615562
    """

    def __init__(self, env: FunctionalEnv, num_envs: int, max_episode_steps: int | None = None) -> None:
        self.env = env
        self._specs = specs(env.observation_space)
        self.num_envs = checks.check_count("num_envs", num_envs)
        self.max_episode_steps = max_episode_steps or np.iinfo(np.int32).max

    def start(self, seed: tf.Tensor) -> Running:
        """Begins an episode in each environment."""
        zeros = tf.zeros([self.num_envs])
        return Running(self.env.initial(seed, self.num_envs), tf.cast(zeros, tf.int32), zeros)

    def observe(self, state: Any) -> tuple[Any, tf.Tensor | None]:
        """What is seen of states of environments: observations, a tree of `[B, ...]`, and a mask or None."""
        return self.seen(self.env.observation(state)), self.env.action_mask(state)

    def collect(
        self,
        act: Act | RememberingAct,
        running: Running,
        num_steps: int,
        seed: tf.Tensor,
        memory: Any = (),
        next_masks: bool = False,
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
            memory: what `act` remembers before the first step, float `[B, S]`, zeros where an episode begins; () for
                one that remembers nothing.
            next_masks: whether somebody asks for `next_mask`.

        Returns:
            (tensors `[T, B, ...]`; `mask`, `next_mask` and `valid` None where they say nothing), episodes under way,
            episodes that ended.
        """
        seeds = ops.split(seed, 2 * num_steps)
        zeros = tf.zeros([self.num_envs])
        columns = self._columns(running, num_steps, next_masks)

        def write(step: tf.Tensor) -> Callable[[tf.TensorArray, tf.Tensor], tf.TensorArray]:
            return lambda column, value: column.write(step, value)

        def take(step: tf.Tensor, carry: Any) -> Any:
            running, finished, columns, memory = carry
            act_seed, step_seed = seeds[2 * step], seeds[2 * step + 1]
            row, running, finished, memory = self._step(act, running, finished, memory, act_seed, step_seed)
            written = {name: tf.nest.map_structure(write(step), columns[name], row[name]) for name in columns}
            return running, finished, written, memory

        carry = running, Finished(zeros, zeros, zeros), columns, memory
        running, finished, columns, _ = repeat(take, num_steps, carry)
        stacked = tf.nest.map_structure(lambda column: column.stack(), columns)
        empty = dict.fromkeys(Transition._fields)
        return Transition(**(empty | stacked)), running, finished

    def _step(
        self,
        act: Any,
        running: Running,
        finished: Finished,
        memory: Any,
        act_seed: tf.Tensor,
        step_seed: tf.Tensor,
    ) -> tuple[dict[str, Any], Running, Finished, Any]:
        env, state, remembers = self.env, running.state, tf.is_tensor(memory)
        observation, mask = self.observe(state)
        if remembers:
            action, memory = act(observation, mask, act_seed, memory)
        else:
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
            "next_observation": self.seen(following),
            "next_mask": self._next_mask(state, terminated),
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
        if remembers:
            memory = tf.where(done[:, None], tf.zeros([], memory.dtype), memory)
        return row, Running(state, tf.where(done, 0, length), tf.where(done, 0.0, score)), finished, memory

    def _next_mask(self, state: Any, terminated: tf.Tensor) -> tf.Tensor | None:
        """What is legal in the states that actions led to; everything that exists where the task ended."""
        mask, exists = self.env.action_mask(state), self.env.factors.padding_mask
        if mask is None:
            return None
        return mask | tf.reshape(terminated, [-1, *[1] * (mask.shape.rank - 1)]) & (True if exists is None else exists)

    def _columns(self, running: Running, num_steps: int, next_masks: bool) -> dict[str, Any]:
        """Arrays for T rows of everything `_step` gives."""
        observation, mask = self.observe(running.state)
        batch = [self.num_envs]
        kinds = {
            "observation": observation,
            "action": tf.TensorSpec([*batch, *self.env.factors.action_shape], tf.int32),
            "reward": tf.TensorSpec(batch),
            "next_observation": observation,
            "terminated": tf.TensorSpec(batch, tf.bool),
            "truncated": tf.TensorSpec(batch, tf.bool),
        }
        if mask is not None:
            kinds |= dict.fromkeys(("mask", "next_mask") if next_masks else ("mask",), mask)

        def array(kind: Any) -> tf.TensorArray:
            return tf.TensorArray(kind.dtype, num_steps, element_shape=kind.shape)

        return tf.nest.map_structure(array, kinds)

    def seen(self, observation: Any) -> Any:
        """Observations, a tree of `[B, ...]`, in the shapes that the space declares and the dtypes they are kept in."""

        def one(spec: tf.TensorSpec, part: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.reshape(part, [part.shape[0], *spec.shape]), spec.dtype)

        return tf.nest.map_structure(one, self._specs, observation)
