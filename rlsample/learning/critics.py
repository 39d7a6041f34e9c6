"""Action values of a differentiable action: Q(observation, one_hot)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import keras
import tensorflow as tf

from rlsample import ops
from rlsample.networks import MLP, Joined, Network, model_of, with_outputs
from rlsample.networks.base import DenseNetwork

MANY = 256
"""Of so many values or more, one is computed from its own weights alone."""


@keras.saving.register_keras_serializable(package="rlsample")
class LinearCritic(keras.Model):
    """Q(s, a) = sum_k q_k(s) a_k: a table of values, linear in each one-hot.

    Its slope at a corner of the simplex is the difference between the corners, which is what a gradient through the
    action needs; the straight-through gradient is then the exact one. Factors of a joint action add up.

    Args:
        network: what reads the observations.
        space: of one observation.
        event_shape: `(K,)` or `(F, K)`, shape of one action as one-hots.

    Examples:
        >>> from rlsample.learning.critics import LinearCritic
        >>> critic = LinearCritic(networks.create("mlp"), gym.spaces.Box(-1, 1, (4,)), event_shape=(3,))
        >>> actions = tf.constant([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
        >>> values = critic(tf.ones([3, 4]), actions).numpy()
        >>> bool(abs(values[:2].mean() - values[2]) < 1e-6)  # half of each action is worth half of each value
        True
    """

    def __init__(self, network: Network, space: gym.Space, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.features = model_of(network, space)
        self.network = with_outputs(self.features, math.prod(self.event_shape))
        self.built = True

    def call(self, observation: Any, action: tf.Tensor) -> tf.Tensor:
        """Observations `[B, ...]`, one-hots `[B, K]` or `[B, F, K]`, or integers `[B]` or `[B, F]` -> values `[B]`."""
        if action.dtype.is_integer and math.prod(self.event_shape) >= MANY:
            return self._of_one(observation, action)
        table = tf.reshape(self.network(observation), (-1, *self.event_shape))
        return tf.reduce_sum(table * as_one_hot(action, self.event_shape[-1]), range(1, 1 + len(self.event_shape)))

    def _of_one(self, observation: Any, action: tf.Tensor) -> tf.Tensor:
        """The value of actions given as integers, without that of all the others."""
        *factors, categories = self.event_shape
        place = action + tf.range(factors[0]) * categories if factors else action[:, tf.newaxis]
        layer = self.network.layers[-1]
        # From the kernel as a vector: the gradient is then put together without turning the kernel over.
        rows = tf.range(layer.kernel.shape[0], dtype=tf.int64) * layer.kernel.shape[1]
        entries = rows + tf.cast(place, tf.int64)[..., tf.newaxis]
        weights = tf.gather(tf.reshape(layer.kernel, [-1]), entries)  # [B, F, H]
        values = tf.einsum("bh,bfh->bf", self.features(observation), weights) + tf.gather(layer.bias, place)
        return tf.reduce_sum(values, -1)


@keras.saving.register_keras_serializable(package="rlsample")
class ConcatenatingCritic(keras.Model):
    """Q(s, a) = network([s, a]): values of any interaction between observation and action factors.

    Nothing trains its slope at the corners of the simplex, where every action it sees lies, and a gradient through the
    action follows that slope: train it with `chord_loss`.

    Args: as for `LinearCritic`.

    Examples:
        >>> from rlsample.learning.critics import ConcatenatingCritic
        >>> critic = ConcatenatingCritic(networks.create("mlp"), gym.spaces.Box(-1, 1, (4,)), event_shape=(2, 3))
        >>> critic(tf.ones([5, 4]), tf.one_hot([[0, 2]] * 5, 3)).shape
        TensorShape([5])
    """

    def __init__(self, network: Network, space: gym.Space, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.categories = event_shape[-1]
        pair = gym.spaces.Tuple((space, gym.spaces.Box(0.0, 1.0, tuple(event_shape))))
        self.network = with_outputs(model_of(beside_an_action(network), pair), 1)
        self.built = True

    def call(self, observation: Any, action: tf.Tensor) -> tf.Tensor:
        """As of `LinearCritic`."""
        return self.network((observation, as_one_hot(action, self.categories)))[:, 0]


@keras.saving.register_keras_serializable(package="rlsample")
class OwnActionCritic(keras.Model):
    """Q(s, a) = sum_k q_k(s, a_others) a_own,k: linear in one factor's one-hot, of any form in the others.

    For the critic of one of several agents: it knows how their actions go together, and its slope in the own action is
    right at every corner of the simplex.

    Args:
        network: what reads the observations.
        space: of one observation.
        event_shape: `(F, K)`, shape of the joint action as one-hots.
        own: the factor to be linear in.

    Examples:
        >>> from rlsample.learning.critics import OwnActionCritic
        >>> critic = OwnActionCritic(networks.create("mlp"), gym.spaces.Box(-1, 1, (4,)), event_shape=(2, 3), own=1)
        >>> print(critic(tf.ones([5, 4]), tf.one_hot([[0, 2]] * 5, 3)).shape)
        (5,)
    """

    def __init__(self, network: Network, space: gym.Space, event_shape: Sequence[int], own: int) -> None:
        super().__init__()
        (factors, categories), self.own = event_shape, own
        pair = gym.spaces.Tuple((space, gym.spaces.Box(0.0, 1.0, (factors - 1, categories))))
        self.network = with_outputs(model_of(beside_an_action(network), pair), categories)
        self.built = True

    def call(self, observation: Any, one_hot: tf.Tensor) -> tf.Tensor:
        """Observations `[B, ...]`, one-hots `[B, F, K]` -> values `[B]`."""
        others = tf.concat([one_hot[:, : self.own], one_hot[:, self.own + 1 :]], 1)
        return tf.reduce_sum(self.network((observation, others)) * one_hot[:, self.own], -1)


def as_one_hot(action: tf.Tensor, categories: int) -> tf.Tensor:
    """One-hots as they are, and integers `[...]` as one-hots `[..., K]`.

    Examples:
        >>> from rlsample.learning.critics import as_one_hot
        >>> print(as_one_hot(tf.constant([1]), 3).numpy(), as_one_hot(tf.constant([[0.5, 0.5]]), 2).numpy())
        [[0. 1. 0.]] [[0.5 0.5]]
    """
    return tf.one_hot(action, categories) if action.dtype.is_integer else action


def with_factor(joint: tf.Tensor, own: int, weights: tf.Tensor) -> tf.Tensor:
    """A joint action `[B, F, K]` with the weights `[B, K]` of one factor in their place.

    Examples:
        >>> from rlsample.learning.critics import with_factor
        >>> print(with_factor(tf.one_hot([[0, 0]], 2), 1, tf.constant([[0.25, 0.75]])).numpy())
        [[[1.   0.  ]
          [0.25 0.75]]]
    """
    return tf.concat([joint[:, :own], weights[:, tf.newaxis], joint[:, own + 1 :]], 1)


CRITICS: dict[str, Callable[..., keras.Model]] = {
    "linear": LinearCritic,
    "concatenating": ConcatenatingCritic,
    "interpolated": ConcatenatingCritic,
}
"""By what an agent calls them; an interpolated one differs in what it is trained at: see `on_the_way`."""


def beside_an_action(network: Network) -> Network:
    """The network for pairs of an observation and one-hots: the one-hots enter below its dense layers.

    Examples:
        >>> from rlsample.learning.critics import beside_an_action
        >>> beside_an_action(networks.create({"name": "convolutional", "hidden_sizes": [64]})).hidden_sizes
        (64,)
    """
    if isinstance(network, MLP):
        return network
    if not isinstance(network, DenseNetwork):
        return Joined(parts={"0": network})
    encoder = dataclasses.replace(network, hidden_sizes=())
    options = {name: getattr(network, name) for name in ("hidden_sizes", "activation", "layer_normalization")}
    return Joined(parts={"0": encoder}, **options)


def chord_loss(critic: keras.Model, observation: Any, one: tf.Tensor, other: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Asks a critic to be straight between two corners: its value at a random point of the chord to be the mix of both.

        m = (1 - t) one + t other, t ~ U(0, 1);   mean (Q(s, m) - stop_gradient((1 - t) Q(s, one) + t Q(s, other)))^2

    Args:
        critic: (observation, one_hot) -> `[B]`.
        observation: observations, `[B, ...]`.
        one: one-hots `[B, K]` or `[B, F, K]`.
        other: more of them.
        seed: int32 `[2]`.

    Returns:
        A scalar; 0 for a critic that is linear in the one-hot.

    Examples:
        >>> from rlsample.learning.critics import chord_loss
        >>> curved = lambda observation, one_hot: tf.reduce_sum(one_hot, -1) * one_hot[:, 0] ** 2
        >>> loss = chord_loss(curved, tf.zeros([1000, 4]), tf.one_hot([0] * 1000, 2), tf.one_hot([1] * 1000, 2), (0, 1))
        >>> print(loss.numpy().round(3))  # E (t^2 - t)^2 = 1 / 30
        0.034
    """
    share = ops.uniform(tf.shape(one)[:1], seed)
    wide = tf.reshape(share, (-1, *[1] * (one.shape.rank - 1)))
    target = (1 - share) * critic(observation, one) + share * critic(observation, other)
    value = critic(observation, (1 - wide) * one + wide * other)
    return tf.reduce_mean(tf.square(value - tf.stop_gradient(target)))


def on_the_way(probs: tf.Tensor, one_hot: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Where interpolated critic learning trains a critic: between what the policy gives and the action that was taken.

        u = w p + (1 - w) one_hot, w ~ U(0, 1)

    No gradient flows to the probabilities.

    Args:
        probs: p, `[B, K]` or `[B, F, K]`.
        one_hot: of the same shape.
        seed: int32 `[2]`; each row has a w of its own.

    Source: distributions as actions, arXiv 2506.16608, interpolated critic learning.

    Examples:
        >>> from rlsample.learning.critics import on_the_way
        >>> points = on_the_way(tf.constant([[0.5, 0.5]] * 1000), tf.one_hot([0] * 1000, 2), (0, 1))
        >>> print(points.numpy().min(0).round(1), points.numpy().max(0).round(1))
        [0.5 0. ] [1.  0.5]
    """
    share = tf.reshape(ops.uniform(tf.shape(one_hot)[:1], seed), (-1, *[1] * (one_hot.shape.rank - 1)))
    return share * tf.stop_gradient(probs) + (1 - share) * one_hot
