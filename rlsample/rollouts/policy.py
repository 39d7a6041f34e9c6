"""Observation -> action: the model an agent trains, and the ways to act with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks, heads, networks
from rlsample.rollouts.environments.masks import observed_mask, without_mask
from rlsample.rollouts.environments.observations import batch_shape, read
from rlsample.samplers import Sampler


class Policy:
    """A network and a policy head for a pair of Gymnasium spaces.

    Attributes:
        model: observations -> logits `[B, K]` or `[B, F, K]`; all the weights there are. Observations are as
            `spaces.observations.specs(observation_space)` has them, with `B` in front.
        network: the part of it below the head, with every option decided.
        head: the last layer of the model; holds the sampler and the temperature.
        factors: the action space as categorical factors.

    Args:
        observation_space: the space of one observation.
        action_space: the space of one action, any discrete one.
        sampler: the gradient estimator of the head.
        network: as `networks.create` takes it; by default the one that suits the observations.
        **defaults: what its dense layers are where it does not say: `hidden_sizes`, `activation`.

    Raises:
        ValueError: a space that is not supported, or a network that does not fit; names it and the way out.

    Examples:
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("Taxi-v4")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("reinmax"))
        >>> observation, info = env.reset(seed=0)
        >>> probabilities = policy.action_probabilities(observation, info["action_mask"])
        >>> info["action_mask"], probabilities.round(1)
        (array([1, 1, 0, 0, 0, 0], dtype=int8), array([0.5, 0.5, 0. , 0. , 0. , 0. ], dtype=float32))
        >>> env.action_space.contains(policy.act(observation, info["action_mask"], seed=1))
        True
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        sampler: Sampler,
        network: Any = None,
        **defaults: Any,
    ) -> None:
        self.observation_space = without_mask(observation_space)
        self.head = heads.for_space(action_space, sampler=sampler)
        self.factors = self.head.factors
        self.network = networks.create(network).fitted(self.observation_space, **defaults)
        self.model = networks.on_features(self._features(), self.head)
        self._concrete: dict[tuple[str, int], Any] = {}

    @property
    def input_space(self) -> gym.Space:
        """Of what the model reads."""
        return self.observation_space

    @property
    def state_size(self) -> int:
        """S, how many numbers it remembers of each environment; 0 without a memory."""
        return self.network.state_size

    def another_network(self, outputs: int) -> keras.Model:
        """One like the policy's, with fresh weights of its own: reads what the policy reads, and gives `[B, outputs]`.

        With a memory it takes and gives states, as the policy's does.
        """
        return networks.with_outputs(self._features(), outputs)

    def read_in_graph(self, observation: Any) -> Any:
        """What the model reads of a batch of observations, in eager or compiled code: the observations themselves."""
        return observation

    def logits_and_state(self, observation: Any, state: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor | None]:
        """(What the model reads, state float32 `[B, S]`) -> (logits, state); states are None without a memory."""
        return self.model(observation), state

    def _features(self) -> keras.Model:
        return networks.model_of(self.network, self.input_space)

    def logits(self, observation: Any) -> tf.Tensor:
        """Observations `[B, ...]` -> logits `[B, K]` or `[B, F, K]`, in eager or compiled code."""
        return self.model(observation)

    def sample(self, observation: Any, mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """Draws actions for a batch of observations: factor indices int32 `[B]` or `[B, F]`.

        Args:
            observation: from `observations.read`.
            mask: bool, shape of the logits.
            seed: int32 `[2]`.
        """
        return self._call(self._draw, observation, mask, seed)

    def mode(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """The most probable legal actions for a batch of observations; arguments and result as of `sample`."""
        return self._call(self._mode, observation, mask, (0, 0))

    def act(self, observations: Any, mask: Any = None, seed: Any = None) -> Any:
        """Chooses the most probable legal actions, or draws them if a seed is given.

        Args:
            observations: one observation of the space, as an environment returns it, or a batch, as a vector
                environment does; told apart by their shapes, as `observations.read` says.
            mask: what is legal, in any form `Factors.mask` reads; by default the entry `action_mask` of Dict
                observations. For one observation it is one mask; for a batch one mask or a batch of them.
            seed: stateless seed, int32 `[2]` or an integer; None for no noise.

        Returns:
            For one observation an action that the action space contains; for a batch one of actions, as the vector
            environment takes them.

        Raises:
            ValueError: observations or a mask of other shapes; names what was expected.
        """
        observation, legal = self.read(observations, mask)
        if seed is None:
            return self.factors.to_env(self.mode(observation, legal))
        return self.factors.to_env(self._call(self._draw, observation, legal, seed))

    def action_probabilities(self, observations: Any, mask: Any = None) -> np.ndarray:
        """The probability of each category of each factor of the action.

        Args:
            observations: as of `act`.
            mask: as of `act`.

        Returns:
            float32 `[B, K]`, or `[B, F, K]` where actions have several factors; for one observation without the `B`.
            Exactly 0 for what is illegal, padding included.
        """
        return self._call(self._probs, *self.read(observations, mask), (0, 0))

    def export(self, path: str | Path) -> None:
        """Writes a SavedModel that TensorFlow serves without this library; see `rlsample.rollouts.export`."""
        from rlsample.rollouts.export import export

        export(self, path)

    def read(self, observations: Any, mask: Any = None) -> tuple[Any, np.ndarray]:
        """Observations as `observations.read` gives them, and a mask of the shape of the logits; arguments as of `act`.

        Returns:
            (a tree of arrays `[B, ...]`, bool `[B, K]` or `[B, F, K]`); for one observation both without the `B`.
        """
        observation = read(self.observation_space, observations)
        mask = observed_mask(observations) if mask is None else mask
        batch = batch_shape(self.observation_space, observation)
        legal = self.factors.mask(mask, batch)
        return observation, np.ones((*batch, *self.factors.event_shape), bool) if legal is None else legal

    def _call(self, function: Callable[..., Any], observation: Any, mask: np.ndarray, seed: Any) -> Any:
        if mask.ndim == len(self.factors.event_shape):
            batch = tf.nest.map_structure(lambda part: part[None], observation)
            return tf.nest.map_structure(lambda rows: rows[0], self._call(function, batch, mask[None], seed))
        # A concrete function spares the Python dispatch, two thirds of the time of so small a call.
        key = function.__name__, len(mask)
        if key not in self._concrete:
            specs = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), (observation, mask))
            self._concrete[key] = tf.function(function, autograph=False).get_concrete_function(
                *specs, tf.TensorSpec((2,), tf.int32)
            )
        tensors = tf.nest.map_structure(tf.constant, (observation, mask))
        outputs = self._concrete[key](*tensors, checks.check_seed(seed))
        return tf.nest.map_structure(lambda output: output.numpy(), outputs)

    def _draw(self, observation: Any, mask: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return self.head.sample(self.logits(observation), seed, mask=mask).action

    def _probs(self, observation: Any, mask: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.head.distribution(self.logits(observation), mask).probs(), tf.float32)

    def _mode(self, observation: Any, mask: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return self.head.mode(self.logits(observation), mask=mask).action
