"""What one step of an environment does, learned by models that remember what came before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample.learning.model_steps import Models, deal
from rlsample.learning.normalization import normalize, start_statistics
from rlsample.learning.one_step_models import check_imaginable
from rlsample.networks import Network, recurrent_model_of, with_outputs
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.transitions import swap_axes


class SequenceModels:
    """Members that each say what a step does by the features of a state of their own, linear in the one-hot.

        h_t = f(h_{t-1}, (s_t, a_{t-1})),  (change, reward, end) = sum_k a_k g_k(h_t)

    They are as `learning.one_step_models.OneStepModels` otherwise; none is chosen.

    Attributes:
        state_size: S, what each remembers of a sequence.

    Args:
        network: with a memory, what reads observations and the actions before them.
        space: of one observation, a Box of floats `[D]`.
        event_shape: `(K,)` or `(F, K)`, shape of one action as one-hots.
        members: E, how many models.

    Raises:
        ValueError: other observations, or a network without a memory.

    Examples:
        >>> from rlsample.rollouts.recurrent.models import SequenceModels
        >>> space, network = gym.spaces.Box(-1, 1, (3,)), networks.Recurrent(units=8)
        >>> ensemble = SequenceModels(network, space, event_shape=(2,), members=4)
        >>> steps, before = tf.ones([5, 12, 3]), tf.zeros([5, 12, 2])  # five steps of twelve environments
        >>> begun = ensemble.nothing(12), tf.zeros([5, 12], tf.bool)
        >>> outputs, states = ensemble.over(ensemble.start(), steps, before, *begun)
        >>> outputs.shape, states.shape  # for each of two actions three changes, a reward and an end
        (TensorShape([5, 12, 10]), TensorShape([5, 12, 8]))
    """

    def __init__(self, network: Network, space: gym.Space, event_shape: Sequence[int], members: int) -> None:
        check_imaginable(space)
        self.state_size, self.members, self._features = network.state_size, members, space.shape[0]
        width = math.prod(event_shape)
        both = gym.spaces.Box(-np.inf, np.inf, (self._features + width,))
        models = [recurrent_model_of(network, both) for _ in range(members)]
        outputs = width * (self._features + 2)
        self._networks = [FlatNetwork(with_outputs(model, outputs)) for model in models]

    def start(self) -> Models:
        """The ensemble before training, every member with weights of its own."""
        weights = tf.stack([network.weights() for network in self._networks])
        return Models(weights, (), *[start_statistics((self._features,))] * 2)

    def nothing(self, num_envs: int) -> tf.Tensor:
        """What is remembered where sequences begin: zeros `[B, S]`."""
        return tf.zeros([num_envs, self.state_size])

    def over(
        self, models: Models, observation: tf.Tensor, previous: tf.Tensor, state: tf.Tensor, starts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What is said of each step, and remembered after it; the environments are dealt out to the members.

        Args:
            models: the ensemble, of which the trained weights are used.
            observation: `[T, B, D]`, B a multiple of the members in number.
            previous: the actions before, one-hots `[T, B, (F,) K]`; zeros where there are none.
            state: what is remembered before the first step, `[B, S]`.
            starts: bool `[T, B]`, whether an episode begins at the step.

        Returns:
            (outputs as `model_steps.mixed` takes them, `[T, B, ...]`; states `[T, B, S]`).
        """
        flat = tf.reshape(previous, [*starts.shape, -1])
        seen = tf.concat([normalize(observation, models.observations), flat], -1)
        columns = [tf.unstack(deal(each, self.members)) for each in (swap_axes(seen), state, swap_axes(starts))]
        found = []
        for weights, own, before, begins in zip(tf.unstack(models.trained), *columns, strict=True):
            network = self._networks[0].at(weights)
            found.append(memory.over_rollout(network, swap_axes(own), before, swap_axes(begins)))
        outputs, states = zip(*found, strict=True)
        return tf.concat(outputs, 1), tf.concat(states, 1)
