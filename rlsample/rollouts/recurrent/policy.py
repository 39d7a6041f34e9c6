"""Observation and state -> action and state: a policy whose network has a memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks, networks
from rlsample.rollouts.policy import Policy
from rlsample.samplers import Sampler


class RecurrentPolicy(Policy):
    """A policy that remembers: what it acts on is an observation and its state, which it returns anew.

    `sample`, `mode` and `logits` take the pair (observation, state `[B, S]`) in place of the observation; `sample` and
    `mode` return (actions, state `[B, S]`).

    Attributes:
        model: (observations `[T * B, ...]`, state `[B, S]`, whether an episode begins at the step: bool `[T, B]`) ->
            (logits `[T * B, K]` or `[T * B, F, K]`, states `[T * B, S]`).

    Args:
        *arguments: as of `Policy`.
        **defaults: likewise.

    Raises:
        ValueError: as of `Policy`, or the network has no memory.

    Examples:
        >>> from rlsample.rollouts.recurrent.policy import RecurrentPolicy
        >>> env = gym.make("CartPole-v1")
        >>> spaces_of_it = env.observation_space, env.action_space
        >>> policy = RecurrentPolicy(*spaces_of_it, samplers.create("reinmax"), {"name": "recurrent", "units": 8})
        >>> observation, info = env.reset(seed=0)
        >>> action, state = policy.act(observation)  # an episode begins
        >>> action, state = policy.act(observation, state=state)  # it goes on
        >>> state.shape
        (8,)
    """

    def _features(self) -> keras.Model:
        return networks.recurrent_model_of(self.network, self.input_space)

    def initial_state(self, num_envs: int | None = None) -> np.ndarray:
        """The state where an episode begins: float32 zeros `[num_envs, S]`; `[S]` for a single environment."""
        batch = () if num_envs is None else (checks.check_count("num_envs", num_envs),)
        return np.zeros((*batch, self.state_size), np.float32)

    def act(self, observations: Any, mask: Any = None, seed: Any = None, state: Any = None) -> Any:
        """Chooses the most probable legal actions, or draws them if a seed is given; the rest as of `Policy.act`.

        Args:
            observations: as of `Policy.act`.
            mask: as of `Policy.act`.
            seed: as of `Policy.act`.
            state: what the last call returned, float `[B, S]`, or `[S]` for one observation, with zeros where an
                episode begins. None is zeros everywhere.

        Returns:
            (actions, state).

        Raises:
            ValueError: observations, a mask or a state of other shapes; names what was expected.
        """
        inputs, legal = self._read(observations, mask, state)
        function = self._mode if seed is None else self._draw
        actions, state = self._call(function, inputs, legal, (0, 0) if seed is None else seed)
        return self.factors.to_env(actions), state

    def action_probabilities(self, observations: Any, mask: Any = None, state: Any = None) -> np.ndarray:
        """The probability of each category; arguments as of `act`, result as of `Policy.action_probabilities`."""
        return self._call(self._probs, *self._read(observations, mask, state), (0, 0))

    def step_model(self) -> keras.Model:
        """(Observations `[B, ...]`, state `[B, S]`) -> (logits, state): what is to be exported."""
        observation, state, _ = self.model.input
        starts = keras.ops.reshape(keras.ops.zeros_like(state[:, :1], dtype="bool"), (1, -1))
        return keras.Model((observation, state), self.model((observation, state, starts)))

    def logits(self, observation: Any) -> tf.Tensor:
        """(Observations `[B, ...]`, state `[B, S]`) -> logits `[B, K]` or `[B, F, K]`."""
        return self.logits_and_state(*observation)[0]

    def logits_and_state(self, observation: Any, state: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor | None]:
        """See `Policy.logits_and_state`: one step, within an episode."""
        observation, state = tf.nest.map_structure(tf.convert_to_tensor, (observation, state))
        return self.model((observation, state, tf.zeros([1, tf.shape(state)[0]], tf.bool)))

    def _draw(self, observation: Any, mask: tf.Tensor, seed: tf.Tensor) -> Any:
        logits, state = self.logits_and_state(*observation)
        return self.head.sample(logits, seed, mask=mask).action, state

    def _mode(self, observation: Any, mask: tf.Tensor, seed: tf.Tensor) -> Any:
        logits, state = self.logits_and_state(*observation)
        return self.head.mode(logits, mask=mask).action, state

    def _read(self, observations: Any, mask: Any, state: Any) -> tuple[Any, np.ndarray]:
        observation, legal = self.read(observations, mask)
        shape = (*legal.shape[: legal.ndim - len(self.factors.event_shape)], self.state_size)
        state = np.zeros(shape, np.float32) if state is None else np.asarray(state, np.float32)
        if state.shape != shape:
            raise checks.invalid(f"state to have shape {shape}", shape=state.shape)
        if not np.isfinite(state).all():
            raise checks.invalid("a finite state", state=state[~np.isfinite(state)].flat[0].item())
        return (observation, state), legal


def policy_for(
    observation_space: gym.Space, action_space: gym.Space, sampler: Sampler, network: Any = None, **defaults: Any
) -> Policy:
    """A `RecurrentPolicy` for a network with a memory, else a `Policy`; arguments and errors as there.

    Examples:
        >>> from rlsample.rollouts.recurrent.policy import policy_for
        >>> env = gym.make("CartPole-v1")
        >>> spaces_of_it = env.observation_space, env.action_space
        >>> made = [policy_for(*spaces_of_it, samplers.create("reinmax"), name) for name in ("mlp", "recurrent")]
        >>> [type(policy).__name__ for policy in made]
        ['Policy', 'RecurrentPolicy']
    """
    kind = RecurrentPolicy if networks.create(network).state_size else Policy
    return kind(observation_space, action_space, sampler, network, **defaults)


class Remembering:
    """A recurrent policy that keeps its state itself, and so acts in a batch of environments as any policy does.

    Args:
        policy: the policy.

    Examples:
        >>> from rlsample.rollouts.recurrent.policy import RecurrentPolicy, Remembering
        >>> envs = gym.make_vec("CartPole-v1", num_envs=4)
        >>> spaces_of_it = envs.single_observation_space, envs.single_action_space
        >>> acting = Remembering(RecurrentPolicy(*spaces_of_it, samplers.create("reinmax"), "recurrent"))
        >>> observations, info = envs.reset(seed=0)
        >>> actions = acting.act(observations)
        >>> acting.forget(np.array([True, False, False, False]))  # where an episode has ended
        >>> acting.act(observations).shape
        (4,)
    """

    def __init__(self, policy: RecurrentPolicy) -> None:
        self.policy, self.model = policy, policy.model
        self._state: np.ndarray | None = None

    def act(self, observations: Any, mask: Any = None, seed: Any = None) -> Any:
        """See `Policy.act`."""
        actions, self._state = self.policy.act(observations, mask, seed, self._state)
        return actions

    def forget(self, where: np.ndarray) -> None:
        """Begins anew in the environments that bool `[B]` marks."""
        if self._state is not None:
            self._state = np.where(where[:, None], np.float32(0), self._state)


class RolloutActor:
    """Draws the actions of a rollout by TensorFlow, from what the policy remembers; see `in_numpy.policy`.

    Attributes:
        seen: (observations, state) that it last acted on.

    Args:
        policy: the policy.
        state: before the first step, float32 `[B, S]`.
        starts: tells, before each step, where an episode begins with it: bool `[B]`.
        seed: int32 `[2]`, of the whole rollout.

    Examples:
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> from rlsample.rollouts.recurrent.policy import RecurrentPolicy, RolloutActor
        >>> envs = gym.make_vec("CartPole-v1", num_envs=4)
        >>> spaces_of_it = envs.single_observation_space, envs.single_action_space
        >>> policy = RecurrentPolicy(*spaces_of_it, samplers.create("reinmax"), {"name": "recurrent", "units": 8})
        >>> collector = GymnasiumCollector(envs, policy.factors, seed=0)
        >>> act = RolloutActor(policy, policy.initial_state(4), lambda: collector.starts, np.array([0, 1], np.int32))
        >>> collector.collect(act, num_steps=6).action.shape
        (6, 4)
    """

    def __init__(
        self, policy: RecurrentPolicy, state: np.ndarray, starts: Callable[[], np.ndarray], seed: np.ndarray
    ) -> None:
        self.seen: Any = None
        self._policy, self._state, self._starts = policy, state, starts
        self._seed, self._steps = seed, itertools.count()

    def __call__(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """See `in_numpy.actor.NumpyAct`."""
        self.seen = observation, np.where(self._starts()[:, None], np.float32(0), self._state)
        seed = self._seed + np.array([0, next(self._steps)], np.int32)
        action, self._state = self._policy.sample(self.seen, mask, seed)
        return action
