"""Angles along a tree for any number of categories and any mask: law, Fisher information, gradients, the head."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Discrete, MultiDiscrete

from rlsample import heads, ops
from rlsample.ops import tree
from tests.helpers import ALL_SPACES, MODES, space_name

SEED = (5, 6)


def scores_of(categories, rows=1):
    """Within one period, away from its ends, where a category has probability 0."""
    return np.random.default_rng(categories).uniform(-1.5, 1.5, [rows, categories - 1])


def probs_and_derivatives(scores, mask=None):
    """(p [K], dp / ds [K, K - 1]) of one row, in float64."""
    rows = tf.constant(np.tile(scores, (scores.shape[1] + 1, 1)))
    with tf.GradientTape() as tape:
        tape.watch(rows)
        log_probs = ops.catnat(rows)
        if mask is not None:
            log_probs = ops.catnat_given_legal(log_probs, mask)
        probs = tf.exp(log_probs)
        each = tf.reduce_sum(tf.linalg.diag_part(probs))
    return probs[0].numpy(), tape.gradient(each, rows).numpy()


MASKS = {
    5: [[1, 1, 0, 1, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 0]],
    7: [[1, 0, 1, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1, 1]],
    8: [[1, 1, 1, 1, 1, 1, 1, 0]],
}
CASES = [(categories, None) for categories in (2, 3, 4, 5, 6, 7, 8, 9, 13)]
CASES += [(categories, mask) for categories, masks in MASKS.items() for mask in masks]


@pytest.mark.parametrize(("categories", "mask"), CASES, ids=str)
def test_fisher_information_is_diagonal_and_a_quarter_of_the_nodes_probability(categories, mask):
    mask = None if mask is None else np.array(mask, bool)
    probs, slopes = probs_and_derivatives(scores_of(categories), mask)
    legal = np.ones(categories, bool) if mask is None else mask
    assert (probs[~legal] == 0).all()
    np.testing.assert_allclose(probs.sum(), 1, rtol=1e-12)
    information = slopes[legal].T @ (slopes[legal] / probs[legal, None])
    below = (np.abs(slopes) > 1e-9).astype(float)
    np.testing.assert_allclose(information, np.diag(probs @ below) / 4, atol=1e-12)
    # As many choices as there are legal categories, less one.
    assert (np.diag(information) > 1e-9).sum() == legal.sum() - 1


def test_equal_sides_share_the_gradient_of_what_is_passed_by():
    """Where a mask passes a node by, its two sides weigh as their sum: at equal weights a maximum would pick one."""
    _, slopes = probs_and_derivatives(np.zeros([1, 3]), np.array([True, False, True, True]))
    np.testing.assert_allclose(slopes[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(slopes[:, 0], [0.25, 0, -0.125, -0.125], atol=1e-12)


def test_powers_of_two_are_the_published_form():
    s = scores_of(4)
    a = (1 + np.sin(s[0] / 2)) / 2
    expected = [a[0] * a[1], a[0] * (1 - a[1]), (1 - a[0]) * a[2], (1 - a[0]) * (1 - a[2])]
    np.testing.assert_allclose(np.exp(ops.catnat(s)[0]), expected, rtol=1e-12)


@pytest.mark.parametrize("categories", [1, 2, 3, 5, 6, 11, 1000])
def test_scores_of_0_are_uniform(categories):
    np.testing.assert_allclose(np.exp(ops.catnat(tf.zeros([2, categories - 1]))), 1 / categories, rtol=2e-6)


def test_padding_does_not_exist_and_the_rest_is_uniform():
    exists = np.arange(6) < np.array([6, 2, 5, 1])[:, None]
    log_probs = ops.catnat(tf.zeros([3, 4, 5]), exists)
    np.testing.assert_allclose(np.exp(log_probs[0]), exists / exists.sum(-1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("categories", MASKS)
def test_a_mask_leaves_the_choices_between_what_is_legal_as_they_are(categories):
    scores = scores_of(categories)
    free = np.exp(ops.catnat(scores)[0])
    at_leaves = np.array(tree.to_leaves(tf.constant(free), 0.0))
    for mask in MASKS[categories]:
        legal = np.array(tree.to_leaves(tf.constant(mask, tf.float64), 0.0)) > 0
        expected, size = legal.astype(float), 1
        while size < len(legal):
            # Choices between neighbours of `size` leaves, where both have something legal.
            both = at_leaves.reshape(-1, 2, size).sum(-1)
            some = legal.reshape(-1, 2, size).any(-1)
            share = np.divide(both, both.sum(-1, keepdims=True), out=np.ones_like(both), where=some.all(-1)[:, None])
            expected, size = expected * share.repeat(size), 2 * size
        found = np.exp(ops.catnat_given_legal(ops.catnat(scores), np.array(mask, bool))[0])
        np.testing.assert_allclose(found, tree.from_leaves(tf.constant(expected), categories), atol=1e-12)


def test_masks_one_after_the_other_are_both_at_once():
    log_probs = ops.catnat(scores_of(7, rows=4))
    first, second = np.random.default_rng(0).random((2, 4, 7)) < 0.7
    first[:, 3] = second[:, 3] = True
    once = ops.catnat_given_legal(log_probs, first & second)
    np.testing.assert_array_equal(np.isneginf(once), ~(first & second))
    again = ops.catnat_given_legal(ops.catnat_given_legal(log_probs, first), first & second)
    np.testing.assert_allclose(again, once, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_every_angle_has_finite_log_probs_and_gradients(mode):
    scores = tf.constant(np.float32([[np.pi, -np.pi, 0, 3], [-3 * np.pi, 1e4, 2.5, 0], [np.pi, np.pi, np.pi, np.pi]]))
    mask = np.array([True, False, True, True, True])

    def run(scores):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            log_probs = ops.catnat_given_legal(ops.catnat(scores), mask)
            total = tf.reduce_sum(tf.where(mask, log_probs, 0)) + tf.reduce_sum(ops.entropy(log_probs))
        return log_probs, tape.gradient(total, scores)

    log_probs, gradient = MODES[mode](run)(scores)
    assert np.isfinite(log_probs.numpy()[:, mask]).all()
    assert np.isneginf(log_probs[:, 1]).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-5)
    for ours, other in zip((log_probs, gradient), run(scores), strict=True):
        np.testing.assert_allclose(ours[1], other[1], rtol=1e-3, atol=1e-4)


# ---- the head


@pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)
def test_a_head_of_angles_takes_every_space(space):
    head = heads.for_space(space, "reinmax", parameterisation="catnat")
    logits = head(tf.random.stateless_normal([3, 4], SEED))
    exists = np.broadcast_to(True if head.factors.padding_mask is None else head.factors.padding_mask, logits.shape)
    np.testing.assert_allclose(ops.softmax(logits), exists / exists.sum(-1, keepdims=True), atol=0.05)
    assert tuple(logits.shape[1:]) == head.factors.event_shape
    mask = np.random.default_rng(0).random(logits.shape) < 0.6
    mask[..., 0] = True
    policy = head.distribution(logits, mask)
    assert (np.take_along_axis(mask & exists, policy.sample(SEED).action.numpy()[..., None], -1)).all()
    assert np.isfinite(policy.entropy()).all()


@pytest.mark.parametrize("sampler", ["straight_through_gumbel_softmax", "fini", "disarm", "exact"])
def test_every_sampler_sees_probabilities_as_before(sampler):
    """The exact gradient to the angles, by the chain rule, of an unbiased sampler for a linear objective."""
    head = heads.CategoricalHead(5, sampler, parameterisation="catnat", kernel_gain=1.0)
    features, table = tf.random.stateless_normal([3, 4], SEED), tf.constant([3.0, 1.0, 0.0, 0.0, 1.0])
    mask = np.array([True, True, False, True, True])
    head(features)
    weights = head.trainable_variables

    def gradient(objective):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(objective(head.distribution(head(features), mask)))
        return tape.gradient(total, weights)

    estimate = gradient(lambda policy: policy.expectation(lambda d: tf.linalg.matvec(d, table), SEED))
    assert all(np.isfinite(each).all() for each in estimate)
    if sampler == "exact":
        expected = gradient(lambda policy: tf.linalg.matvec(policy.probs(), table))
        for ours, theirs in zip(estimate, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_head_of_angles_is_saved_and_made_again(tmp_path):
    inputs = keras.Input([4])
    head = heads.FactoredHead(MultiDiscrete([2, 5, 3]), parameterisation="catnat", unimix=0.1, kernel_gain=1.0)
    assert head.units == 3 * 4
    model = keras.Model(inputs, head(inputs))
    model.save(tmp_path / "policy.keras")
    features = tf.random.stateless_normal([3, 4], SEED)
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "policy.keras")(features), model(features), atol=1e-6)
    least = np.exp(model(features).numpy())[:, [True, True, True], [0, 4, 2]].min()
    assert least >= 0.1 / 5 - 1e-6


def test_bad_parameterisations_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'catnat'"):
        heads.for_space(Discrete(3), parameterisation="catnta")
    with pytest.raises(ValueError, match="softmax for a logit_clip"):
        heads.for_space(Discrete(3), parameterisation="catnat", logit_clip=3.0)
    with pytest.raises(ValueError, match="scores of a known number"):
        ops.catnat(tf.constant(1.0))
    head = heads.CategoricalHead(3, parameterisation="catnat")
    logits = head(tf.zeros([2, 4]))
    with pytest.raises(ValueError, match="row"):
        head.distribution(logits, [[True, True, False], [False, False, False]]).sample(SEED)
    with pytest.raises(ValueError, match="mask"):
        head.distribution(logits, np.ones([2, 4], bool))
