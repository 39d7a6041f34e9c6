"""What models of an environment say of a step, what they learn from, and what is kept of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample.learning.normalization import Statistics, update_statistics

SMALLEST_VARIANCE = 1e-8
"""Added to the variance of changes: a feature that never changes is predicted to stay."""


class Rows(NamedTuple):
    """Steps to learn from: `[B, D]`, `[B, (F,) K]`, `[B]`, `[B, D]`, `[B]`.

    Examples:
        >>> from rlsample.learning.model_steps import Rows
        >>> seen = tf.constant([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
        >>> rows = Rows(seen, tf.one_hot([0, 1], 2), tf.ones([2]), seen + 1.0, tf.constant([False, True]))
        >>> (rows.next_observation - rows.observation).numpy()
        array([[1., 1., 1.],
               [1., 1., 1.]], dtype=float32)
    """

    observation: Any
    one_hot: Any
    reward: Any
    next_observation: Any
    terminated: Any


class Step(NamedTuple):
    """What a model says of a step.

    Attributes:
        change: float32 `[B, D]`, of the observation, with mean 0 and deviation 1 over what was seen.
        reward: float32 `[B]`.
        end: float32 `[B]`, logit of the probability that the episode is terminated.

    Examples:
        >>> from rlsample.learning.one_step_models import OneStepModels
        >>> ensemble = OneStepModels(networks.create("mlp"), gym.spaces.Box(-1, 1, (3,)), event_shape=(2,), members=4)
        >>> models = ensemble.start()
        >>> step = ensemble.step(models.chosen[0], models, tf.ones([8, 3]), tf.one_hot([0] * 8, 2))
        >>> step.change.shape, step.reward.shape, step.end.shape
        (TensorShape([8, 3]), TensorShape([8]), TensorShape([8]))
    """

    change: tf.Tensor
    reward: tf.Tensor
    end: tf.Tensor


class Imagined(NamedTuple):
    """A rollout of H steps from B states.

    Attributes:
        observation: float32 `[H + 1, B, D]`.
        reward: float32 `[H, B]`.
        goes_on: float32 `[H, B]`, probability that the episode goes on after the step.
        reached: float32 `[H, B]`, that it goes on until then; no gradient flows through it.
        noted: what `act` gave beside the actions, `[H, B]` each.

    Examples:
        >>> from rlsample.learning.one_step_models import OneStepModels
        >>> ensemble = OneStepModels(networks.create("mlp"), gym.spaces.Box(-1, 1, (3,)), event_shape=(2,), members=4)
        >>> def act(observation, index): return tf.one_hot([0] * 8, 2), []
        >>> imagined = ensemble.imagine(ensemble.start(), act, tf.ones([8, 3]), horizon=5)
        >>> imagined.observation.shape, imagined.reward.shape, float(imagined.reached[0, 0])
        (TensorShape([6, 8, 3]), TensorShape([5, 8]), 1.0)
    """

    observation: tf.Tensor
    reward: tf.Tensor
    goes_on: tf.Tensor
    reached: tf.Tensor
    noted: list[tf.Tensor]


class Models(NamedTuple):
    """The ensemble; weights are float32 `[E, M]`, one row for each member.

    Attributes:
        trained: the latest weights.
        chosen: those of each member that did best on rows that were held out, to imagine with; () where none are.
        observations: statistics of observations.
        changes: statistics of what a step adds to them.

    Examples:
        >>> from rlsample.learning.one_step_models import OneStepModels
        >>> ensemble = OneStepModels(networks.create("mlp"), gym.spaces.Box(-1, 1, (3,)), event_shape=(2,), members=4)
        >>> models = ensemble.start()
        >>> models.trained.shape[0], models.observations.mean.shape
        (4, TensorShape([3]))
    """

    trained: tf.Tensor
    chosen: Any
    observations: Statistics
    changes: Statistics


def mixed(outputs: tf.Tensor, one_hot: tf.Tensor) -> Step:
    """What a model says of a step, linear in the one-hot `[B, (F,) K]`, of its outputs `[B, ...]` for every category.

    Examples:
        >>> from rlsample.learning.model_steps import mixed
        >>> outputs = tf.constant([[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]])  # a change, a reward, an end; of two actions
        >>> [part.numpy().ravel().tolist() for part in mixed(outputs, tf.constant([[0.5, 0.5]]))]
        [[5.5], [11.0], [16.5]]
    """
    table = tf.reshape(outputs, [*one_hot.shape, -1])
    sums = tf.reduce_sum(table * one_hot[..., tf.newaxis], range(1, one_hot.shape.rank))
    return Step(sums[:, :-2], sums[:, -2], sums[:, -1])


def after(models: Models, observation: tf.Tensor, step: Step) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where a step leads: next observations `[B, D]`; rewards and probabilities that the episode goes on, `[B]`.

    Examples:
        >>> from rlsample.learning.model_steps import Models, Step, after
        >>> from rlsample.learning.normalization import start_statistics, update_statistics
        >>> changes = update_statistics(start_statistics((1,)), tf.constant([[1.0], [3.0]]))  # 2, give or take 1
        >>> step = Step(tf.constant([[3.0]]), reward=tf.ones([1]), end=tf.zeros([1]))
        >>> following, reward, goes_on = after(Models(None, None, None, changes), tf.constant([[10.0]]), step)
        >>> following.numpy(), goes_on.numpy()
        (array([[15.]], dtype=float32), array([0.5], dtype=float32))
    """
    change = models.changes.mean + deviation(models.changes) * step.change
    return observation + change, step.reward, tf.sigmoid(-step.end)


def loss_of(step: Step, models: Models, rows: Rows) -> tf.Tensor:
    """Squared errors of change and reward plus the cross-entropy of the end: their mean over rows.

    Examples:
        >>> from rlsample.learning.model_steps import Models, Rows, Step, loss_of
        >>> from rlsample.learning.normalization import start_statistics
        >>> rows = Rows(tf.zeros([1, 1]), None, tf.ones([1]), tf.zeros([1, 1]), tf.constant([True]))
        >>> models = Models(None, None, None, start_statistics((1,)))
        >>> float(loss_of(Step(tf.ones([1, 1]), tf.ones([1]), end=tf.constant([100.0])), models, rows))
        1.0
    """
    change = (rows.next_observation - rows.observation - models.changes.mean) / deviation(models.changes)
    losses = (
        tf.reduce_mean(tf.square(step.change - change), -1),
        tf.square(step.reward - rows.reward),
        tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(rows.terminated, tf.float32), step.end),
    )
    return tf.reduce_mean(tf.add_n(losses))


def see(models: Models, rows: Rows) -> Models:
    """Takes rows into the statistics.

    Examples:
        >>> from rlsample.learning.model_steps import Rows, see
        >>> from rlsample.learning.one_step_models import OneStepModels
        >>> ensemble = OneStepModels(networks.create("mlp"), gym.spaces.Box(-1, 1, (3,)), event_shape=(2,), members=4)
        >>> seen = tf.constant([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
        >>> rows = Rows(seen, tf.one_hot([0, 1], 2), tf.ones([2]), seen + 1.0, tf.constant([False, True]))
        >>> see(ensemble.start(), rows).observations.mean.numpy()
        array([1., 0., 0.], dtype=float32)
    """
    return models._replace(
        observations=update_statistics(models.observations, rows.observation),
        changes=update_statistics(models.changes, rows.next_observation - rows.observation),
    )


def deal(rows: tf.Tensor, members: int) -> tf.Tensor:
    """`[B, ...]` -> `[E, B / E, ...]`.

    Examples:
        >>> from rlsample.learning.model_steps import deal
        >>> deal(tf.range(6), members=2).numpy()
        array([[0, 1, 2],
               [3, 4, 5]], dtype=int32)
    """
    return tf.reshape(rows, [members, -1, *rows.shape[1:]])


def deviation(changes: Statistics) -> tf.Tensor:
    """The standard deviation of changes, a little above 0: `[D]`.

    Examples:
        >>> from rlsample.learning.model_steps import deviation
        >>> from rlsample.learning.normalization import start_statistics, update_statistics
        >>> changes = update_statistics(start_statistics((2,)), tf.constant([[1.0, 4.0], [1.0, 0.0]]))
        >>> deviation(changes).numpy()
        array([0., 2.], dtype=float32)
    """
    return tf.sqrt(changes.variance + SMALLEST_VARIANCE)
