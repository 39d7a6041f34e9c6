"""Observation -> action: the model an agent trains, and the three ways to act with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import heads, ops
from rlsample.samplers import Sampler
from rlsample.training.networks import mlp
from rlsample.training.observations import encode, feature_size


class Policy:
    """A network and a policy head for a pair of Gymnasium spaces.

    Attributes:
        model: float32 `[B, D]` features -> logits `[B, K]` or `[B, F, K]`; all the weights there are.
        head: the last layer of the model; holds the sampler and the temperature.
        factors: the action space as categorical factors.

    Args:
        observation_space: the space of one observation.
        action_space: the space of one action, any discrete one.
        sampler: the gradient estimator of the head.
        hidden_sizes: widths of the hidden layers.
        activation: of the hidden layers.

    Raises:
        ValueError: a space that is not supported; names it and the way out.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        sampler: Sampler,
        *,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
    ) -> None:
        self.observation_space = observation_space
        self.head = heads.for_space(action_space, sampler=sampler, kernel_gain=0.01)
        self.factors = self.head.factors
        torso = mlp(feature_size(observation_space), hidden_sizes, activation=activation)
        self.model = keras.Model(torso.inputs, self.head(torso.outputs[0]))
        self._draw = tf.function(self._draw_in_graph)
        self._concrete: dict[int, Any] = {}

    def sample(self, features: np.ndarray, mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """Draws actions for encoded observations: factor indices int32 `[B]` or `[B, F]`.

        Args:
            features: float32 `[B, D]` from `observations.encode`.
            mask: bool, shape of the logits.
            seed: int32 `[2]`.
        """
        # A concrete function spares the Python dispatch, two thirds of the time of so small a call.
        if len(features) not in self._concrete:
            self._concrete[len(features)] = self._draw.get_concrete_function(
                tf.TensorSpec(features.shape, tf.float32),
                tf.TensorSpec(mask.shape, tf.bool),
                tf.TensorSpec((2,), tf.int32),
            )
        draw = self._concrete[len(features)]
        return draw(tf.constant(features), tf.constant(mask), tf.constant(seed, tf.int32)).numpy()

    def act(self, observations: Any, mask: Any = None, seed: Any = None) -> Any:
        """Chooses actions for a batch of observations: the most probable legal ones, or draws if a seed is given.

        Args:
            observations: a batch, as a vector environment returns it.
            mask: what is legal, in any form `Factors.mask` reads.
            seed: stateless seed int32 `[2]`; None for no noise.

        Returns:
            A batch of actions, as the vector environment takes them.
        """
        features = encode(self.observation_space, observations)
        legal = self.factors.mask(mask, batch=len(features))
        logits = self.model(features)
        if seed is None:
            return self.factors.to_env(ops.mode(logits, legal))
        return self.factors.to_env(self.head.sample(logits, seed, mask=legal).action)

    def _draw_in_graph(self, features: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return self.head.sample(self.model(features), seed, mask=mask).action
