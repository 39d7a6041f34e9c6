"""What one step of an environment does, learned: an ensemble to imagine with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.learning.loops import repeat
from rlsample.learning.model_steps import SMALLEST_VARIANCE, Imagined, Models, Rows, Step, after, deal, loss_of, mixed
from rlsample.learning.normalization import normalize, start_statistics
from rlsample.networks import Network, model_of, with_outputs
from rlsample.networks.flat import FlatNetwork

Act = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, list[tf.Tensor]]]
"""How to act in imagination; see `OneStepModels.imagine`."""


class OneStepModels:
    """Members that each say what a step does, linear in the one-hot: (change, reward, end) = sum_k a_k f_k(s).

    A gradient through the action follows the slope of a model between the corners of the simplex, where no step was
    seen. Here it is the difference between the corners. Factors of a joint action add up.

    Args:
        network: what reads the observations.
        space: of one observation, a Box of floats `[D]`.
        event_shape: `(K,)` or `(F, K)`, shape of one action as one-hots.
        members: how many models.

    Raises:
        ValueError: other observations.

    Examples:
        >>> from rlsample.learning.one_step_models import OneStepModels
        >>> ensemble = OneStepModels(networks.create("mlp"), gym.spaces.Box(-1, 1, (3,)), event_shape=(2,), members=4)
        >>> models = ensemble.start()
        >>> following, reward, goes_on = ensemble.take(models, tf.ones([8, 3]), tf.one_hot([0] * 8, 2))
        >>> following.shape, reward.shape, goes_on.shape
        (TensorShape([8, 3]), TensorShape([8]), TensorShape([8]))
    """

    def __init__(self, network: Network, space: gym.Space, event_shape: Sequence[int], members: int) -> None:
        check_imaginable(space)
        self.event_shape, self.features = tuple(event_shape), space.shape[0]
        outputs = math.prod(self.event_shape) * (self.features + 2)
        self._networks = [FlatNetwork(with_outputs(model_of(network, space), outputs)) for _ in range(members)]

    def start(self) -> Models:
        """The ensemble before training, every member with weights of its own."""
        weights = tf.stack([network.weights() for network in self._networks])
        return Models(weights, weights, *[start_statistics((self.features,))] * 2)

    def step(self, weights: tf.Tensor, models: Models, observation: tf.Tensor, one_hot: tf.Tensor) -> Step:
        """What the member with weights `[M]` says: `[B, D]` and `[B, (F,) K]` -> `Step`."""
        outputs = self._networks[0](weights, normalize(observation, models.observations))
        return mixed(outputs, one_hot)

    def imagine(
        self, models: Models, act: Act, observation: tf.Tensor, horizon: int, *, notes: int = 0, price: float = 0.0
    ) -> Imagined:
        """Imagines so many steps from observations `[B, D]`; their gradients flow back to the actions.

        The rows, a multiple of the members in number, are dealt out to them in blocks.

        Args:
            models: the ensemble, of which the chosen weights are used.
            act: (observations `[B, D]`, index of the step) -> (one-hots `[B, (F,) K]`, a list of others, `[B]` each).
            observation: where the rollouts begin.
            horizon: how many steps.
            notes: how many others there are.
            price: reward lost per unit of `disagreement`.
        """
        columns = [tf.TensorArray(tf.float32, horizon) for _ in range(3 + notes)]

        def step(index: tf.Tensor, carry: Any) -> Any:
            observation, columns = carry
            one_hot, noted = act(observation, index)
            following, reward, goes_on = self.take(models, observation, one_hot)
            if price:
                reward -= price * self.disagreement(models, observation, one_hot)
            row = observation, reward, goes_on, *noted
            return following, [column.write(index, part) for column, part in zip(columns, row, strict=True)]

        last, columns = repeat(step, horizon, (observation, columns))
        seen, reward, goes_on, *noted = (column.stack() for column in columns)
        reached = tf.stop_gradient(tf.math.cumprod(goes_on, 0, exclusive=True))
        return Imagined(tf.concat([seen, last[tf.newaxis]], 0), reward, goes_on, reached, noted)

    def take(
        self, models: Models, observation: tf.Tensor, one_hot: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """One imagined step: next observations `[B, D]`; rewards and probabilities that the episode goes on, `[B]`."""
        blocks = (models.chosen, *(deal(each, models.chosen.shape[0]) for each in (observation, one_hot)))
        steps = self._over_members(lambda weights, *block: self.step(weights, models, *block), *blocks)
        step = Step(*(tf.reshape(part, [-1, *part.shape[2:]]) for part in steps))
        return after(models, observation, step)

    def disagreement(self, models: Models, observation: tf.Tensor, one_hot: tf.Tensor) -> tf.Tensor:
        """The root of the members' variance around their mean, over all features of the change: `[B]`."""
        changes = self._over_members(
            lambda weights: self.step(weights, models, observation, one_hot).change, models.chosen
        )
        return tf.sqrt(tf.reduce_mean(tf.math.reduce_variance(changes, 0), -1) + SMALLEST_VARIANCE)

    def loss(self, weights: tf.Tensor, models: Models, rows: Rows) -> tf.Tensor:
        """Squared errors of change and reward plus the cross-entropy of the end, of weights `[M]`: mean over rows."""
        return loss_of(self.step(weights, models, rows.observation, rows.one_hot), models, rows)

    def losses(self, models: Models, rows: Rows) -> tf.Tensor:
        """The loss of each member's trained weights on a block of the rows, its own: `[E]`."""
        blocks = [deal(each, models.trained.shape[0]) for each in rows]
        return self._over_members(
            lambda weights, *block: self.loss(weights, models, Rows(*block)), models.trained, *blocks
        )

    def choose(self, models: Models, held_out: Rows) -> tuple[Models, tf.Tensor]:
        """Keeps of each member's chosen and trained weights those with less loss on rows that were held out.

        Returns:
            (models, the mean loss of the weights chosen).
        """
        old, new = (
            self._over_members(lambda each: self.loss(each, models, held_out), weights)
            for weights in (models.chosen, models.trained)
        )
        chosen = tf.where((new <= old)[:, tf.newaxis], models.trained, models.chosen)
        return models._replace(chosen=chosen), tf.reduce_mean(tf.minimum(new, old))

    @staticmethod
    def _over_members(function: Callable[..., Any], *parts: tf.Tensor) -> Any:
        """The results of a function of each member's part `[E, ...]`, stacked."""
        results = [function(*member) for member in zip(*map(tf.unstack, parts), strict=True)]
        return tf.nest.map_structure(lambda *each: tf.stack(each), *results)


def check_imaginable(space: gym.Space) -> None:
    """Raises ValueError for observations other than a Box of floats `[D]`.

    Examples:
        >>> from rlsample.learning.one_step_models import check_imaginable
        >>> check_imaginable(gym.spaces.Box(-1, 1, (3,)))
        >>> check_imaginable(gym.spaces.Discrete(3))
        Traceback (most recent call last):
        ValueError: Expected observations that can be imagined, a Box of floats [D]. Received: ...
    """
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
        raise checks.invalid("observations that can be imagined, a Box of floats [D]", observation_space=space)
