"""The learned model of a step: what it says, learns, and is chosen by, and gradients through what it imagines."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from rlsample import networks
from rlsample.learning.adam import Adam
from rlsample.learning.held_out import places
from rlsample.learning.model_steps import Rows, deviation, see
from rlsample.learning.normalization import Statistics
from rlsample.learning.one_step_models import OneStepModels

SPACE = gym.spaces.Box(-1.0, 1.0, (3,))
GENERATOR = np.random.default_rng(0)
SLOPE, PUSH = GENERATOR.normal(size=(3, 3)) * 0.3, GENERATOR.normal(size=(2, 3))


def ensemble(members=2, hidden_sizes=(16,), event_shape=(2,)):
    network = networks.create({"name": "mlp", "hidden_sizes": list(hidden_sizes), "activation": "tanh"})
    made = OneStepModels(network, SPACE, event_shape, members)
    return made, made.start()


def rows(number, seed=0, noise=0.0):
    """Steps of a linear system that is pushed, pays its first feature, and ends where the second is positive."""
    generator = np.random.default_rng(seed)
    observation, action = generator.normal(size=(number, 3)), generator.integers(2, size=number)
    change = observation @ SLOPE + PUSH[action] + noise * generator.normal(size=(number, 3))
    columns = observation, np.eye(2)[action], observation[:, 0], observation + change, observation[:, 1] > 0
    return Rows(*(tf.constant(each, tf.bool if each.dtype == bool else tf.float32) for each in columns))


def fitted(made, models, steps=150):
    optimizer = Adam()
    adam = optimizer.start(models.trained)

    @tf.function(autograph=False)
    def update(models, adam, batch):
        models = see(models, batch)
        with tf.GradientTape() as tape:
            tape.watch(models.trained)
            loss = tf.reduce_sum(made.losses(models, batch))
        gradient = tape.gradient(loss, models.trained)
        trained, adam = optimizer.step(gradient, adam, models.trained, 1e-2)
        return models._replace(trained=trained), adam

    for index in range(steps):
        models, adam = update(models, adam, rows(128, seed=index))
    return models


class TestWhatItLearns:
    def test_a_known_system_is_found_and_the_weights_that_know_it_are_chosen(self):
        made, models = ensemble()
        before = models.chosen
        models, held_out = made.choose(fitted(made, models), rows(500, seed=10_000))
        assert float(held_out) < 0.3  # of 2 + log 2 for predicting the means; the end is sharp
        assert np.all(np.any(np.not_equal(before, models.chosen), -1))
        judged = rows(8, seed=20_000)
        following, reward, goes_on = made.take(models, judged.observation, judged.one_hot)
        np.testing.assert_allclose(following, judged.next_observation, atol=0.5)
        np.testing.assert_allclose(reward, judged.reward, atol=0.5)
        clear = np.abs(judged.observation[:, 1]) > 0.5
        np.testing.assert_array_equal((goes_on.numpy() < 0.5)[clear], judged.terminated.numpy()[clear])

    def test_weights_that_do_worse_on_rows_held_out_are_not_chosen_member_by_member(self):
        made, models = ensemble()
        judged = rows(100)
        models = see(models, judged)
        worse = models.trained + tf.constant([[3.0], [0.0]]) * tf.ones_like(models.trained)
        after, loss = made.choose(models._replace(trained=worse), judged)
        np.testing.assert_array_equal(after.chosen, models.chosen)
        each = [float(made.loss(weights, models, judged)) for weights in models.chosen]
        assert float(loss) == pytest.approx(np.mean(each))
        assert float(made.loss(worse[0], models, judged)) > each[0]

    def test_the_loss_is_that_of_its_formula(self):
        made, models = ensemble()
        batch = rows(40)
        models = see(models, batch)
        step = made.step(models.trained[0], models, batch.observation, batch.one_hot)
        change = np.asarray(batch.next_observation - batch.observation)
        change = (change - change.mean(0)) / np.sqrt(change.var(0) + 1e-8)
        logits, ended = np.asarray(step.end, np.float64), batch.terminated.numpy()
        expected = np.mean((step.change - change) ** 2) + np.mean((step.reward - batch.reward) ** 2)
        expected += np.mean(np.where(ended, np.log1p(np.exp(-logits)), np.log1p(np.exp(logits))))
        assert float(made.loss(models.trained[0], models, batch)) == pytest.approx(expected, rel=1e-4)

    def test_each_member_learns_from_rows_of_its_own(self):
        made, models = ensemble()
        batch = rows(20)
        models = see(models, batch)
        halves = [Rows(*(column[part] for column in batch)) for part in (slice(10), slice(10, 20))]
        expected = [made.loss(weights, models, half) for weights, half in zip(models.trained, halves, strict=True)]
        np.testing.assert_allclose(made.losses(models, batch), expected, rtol=1e-5)


class TestWhatItImagines:
    @staticmethod
    def act(slope):
        """A relaxed action of two categories that depends on the observation."""

        def chosen(observation, index):
            weight = tf.sigmoid(tf.linalg.matvec(observation, slope))
            return tf.stack([weight, 1 - weight], -1), [weight + tf.cast(index, tf.float32)]

        return chosen

    def test_a_linear_system_is_rolled_out_as_in_numpy(self):
        """Without hidden layers the models are linear: their rollouts are products of matrices."""
        made, models = ensemble(members=2, hidden_sizes=())
        models = models._replace(
            changes=Statistics(tf.constant(9.0), tf.constant([0.1, 0.2, 0.3]), tf.ones([3]) * 0.25)
        )
        start, slope = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32), tf.constant([0.5, -1.0, 2.0])
        imagined = made.imagine(models, self.act(slope), tf.constant(start), 3, notes=1)
        for member, own in enumerate((slice(2), slice(2, 4))):
            weights = models.chosen[member].numpy()
            kernel, bias = weights[:30].reshape(3, 10), weights[30:]
            observation, reached = start[own], np.ones(2)
            for index in range(3):
                weight = 1 / (1 + np.exp(-observation @ slope.numpy()))
                np.testing.assert_allclose(imagined.observation[index, own], observation, rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(imagined.reached[index, own], reached, rtol=1e-4)
                np.testing.assert_allclose(imagined.noted[0][index, own], weight + index, rtol=1e-4)
                table = (observation / np.sqrt(1 + 1e-4) @ kernel + bias).reshape(2, 2, 5)
                outputs = weight[:, None] * table[:, 0] + (1 - weight)[:, None] * table[:, 1]
                np.testing.assert_allclose(imagined.reward[index, own], outputs[:, 3], rtol=1e-4, atol=1e-5)
                goes_on = 1 / (1 + np.exp(outputs[:, 4]))
                np.testing.assert_allclose(imagined.goes_on[index, own], goes_on, rtol=1e-4)
                reached = reached * goes_on
                observation = observation + [0.1, 0.2, 0.3] + np.sqrt(0.25 + 1e-8) * outputs[:, :3]
            np.testing.assert_allclose(imagined.observation[3, own], observation, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("price", [0.0, 0.5])
    def test_the_gradient_of_what_is_earned_is_the_difference_quotient(self, price):
        made, models = ensemble(members=2)
        start = tf.constant(np.random.default_rng(1).normal(size=(4, 3)), tf.float32)

        @tf.function(autograph=False)
        def earned(slope):
            imagined = made.imagine(models, self.act(slope), start, 4, notes=1, price=price)
            return tf.reduce_sum(imagined.reward * imagined.goes_on) + tf.reduce_sum(imagined.observation[-1])

        slope = tf.constant([0.5, -1.0, 2.0])
        with tf.GradientTape() as tape:
            tape.watch(slope)
            value = earned(slope)
        gradient = tape.gradient(value, slope).numpy()
        size = 1e-2
        quotient = [float(earned(slope + size * row) - earned(slope - size * row)) / (2 * size) for row in np.eye(3)]
        np.testing.assert_allclose(gradient, quotient, rtol=2e-2, atol=2e-3)
        assert np.linalg.norm(gradient) > 0.1

    def test_what_members_agree_about_costs_nothing(self):
        made, models = ensemble(members=2)
        batch = rows(5)
        apart = made.disagreement(models, batch.observation, batch.one_hot).numpy()
        alike = models._replace(chosen=tf.repeat(models.chosen[:1], 2, 0))
        together = made.disagreement(alike, batch.observation, batch.one_hot).numpy()
        assert apart.min() > 10 * together.max()
        steps = [made.step(each, models, batch.observation, batch.one_hot).change.numpy() for each in models.chosen]
        np.testing.assert_allclose(apart, np.sqrt(np.var(steps, 0).mean(-1) + 1e-8), rtol=1e-4)

    def test_factors_of_a_joint_action_add_up(self):
        made, models = ensemble(members=1, event_shape=(2, 3))
        observation = tf.ones([4, 3])
        weights = models.chosen[0]
        corners = tf.one_hot([[0, 1], [2, 1], [0, 2], [2, 2]], 3)
        change = made.step(weights, models, observation, corners).change.numpy()
        np.testing.assert_allclose(change[3] - change[2], change[1] - change[0], atol=1e-5)
        assert np.abs(change[1] - change[0]).max() > 1e-2


def test_statistics_are_those_of_the_rows():
    _, models = ensemble()
    first, second = rows(30, seed=1), rows(50, seed=2)
    models = see(see(models, first), second)
    seen = np.concatenate([first.observation, second.observation])
    changes = np.concatenate([each.next_observation - each.observation for each in (first, second)])
    np.testing.assert_allclose(models.observations.mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(models.observations.variance, seen.var(0), rtol=1e-4)
    np.testing.assert_allclose(deviation(models.changes), changes.std(0), rtol=1e-4)


@pytest.mark.parametrize("size", [1, 9, 10, 11, 57])
def test_every_place_is_either_learned_from_or_held_out(size):
    generator = np.random.default_rng(0)
    learned = set(places(generator, size, (4000,)).tolist())
    judged = set(places(generator, size, (4000,), held_out=True).tolist())
    assert learned | judged == set(range(size))  # missed with probability below 57 (1 - 1 / 57)^4000
    assert judged == ({place for place in range(size) if place % 10 == 9} or learned)
    assert size < 10 or not learned & judged


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3), gym.spaces.Box(0, 255, (3,), np.uint8), gym.spaces.Box(0, 1, (2, 2))]
)
def test_what_cannot_be_imagined_is_refused(space):
    with pytest.raises(ValueError, match=r"Expected observations that can be imagined, a Box of floats \[D\]"):
        OneStepModels(networks.create("mlp"), space, (2,), 2)
