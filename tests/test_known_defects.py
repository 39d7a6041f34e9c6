"""Defects found in other libraries' discrete policies, each as a test that ours passes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Dict, Discrete, MultiDiscrete

from rlsample import heads
from rlsample.distributions import CategoricalDistribution

SEED = (8, 9)
LOGITS = tf.constant([[0.5, -1.0, 0.25, 1.0]])
WEIGHTS = tf.constant([1.0, -2.0, 0.5, 1.5])


def gradient_of(draw, weights=WEIGHTS):
    logits = tf.repeat(LOGITS, 200, 0)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        one_hot = draw(logits)
        score = tf.reduce_sum(one_hot * weights)
    return one_hot.numpy(), tape.gradient(score, logits).numpy()


def test_the_hard_draw_has_the_gradient_of_the_relaxed_one():
    """Elsewhere the sample was overwritten in place, and the backward pass read the one-hot in its stead."""
    for temperature in (1.0, 0.4):
        head = heads.CategoricalHead(4, "straight_through_gumbel_softmax", temperature=temperature)
        soft = heads.CategoricalHead(4, "gumbel_softmax", temperature=temperature)
        hard_draw, found = gradient_of(lambda logits, head=head: head.sample(logits, SEED).one_hot)
        relaxed, _ = gradient_of(lambda logits, soft=soft: soft.sample(logits, SEED).one_hot)
        inner = np.sum(relaxed * WEIGHTS, -1, keepdims=True)
        np.testing.assert_allclose(found, relaxed * (WEIGHTS - inner) / temperature, atol=1e-5)
        overwritten = hard_draw * WEIGHTS - relaxed * np.sum(hard_draw * WEIGHTS, -1, keepdims=True)
        assert np.abs(found - overwritten).max() > 0.1


def test_draws_from_logits_with_a_temperature_also_of_ragged_factors():
    """Elsewhere drawing needed probabilities nobody gave, and one-hots of different widths could not be stacked."""
    head = heads.FactoredHead([2, 5, 3], "straight_through_gumbel_softmax", temperature=0.3)
    policy = head.distribution(tf.zeros([7, 3, 5]))
    draw = policy.sample(SEED).one_hot
    assert draw.shape == (7, 3, 5)
    np.testing.assert_array_equal(tf.reduce_sum(draw, -1), np.ones((7, 3)))
    assert policy.log_prob(draw).shape == (7,)


def test_a_mask_holds_when_every_logit_is_negative():
    """Elsewhere perturbed logits were multiplied by the mask: 90 % of the draws were illegal."""
    mask = np.array([True, False, True, False])
    for name in ("straight_through_gumbel_softmax", "gumbel_softmax", "straight_through", "categorical"):
        head = heads.CategoricalHead(4, name)
        actions = head.sample(tf.fill([2000, 4], -3.0), SEED, mask).action.numpy()
        assert mask[actions].all()
        assert set(actions) == {0, 2}


def test_an_action_is_an_integer_and_a_one_hot_is_never_one():
    """Elsewhere a straight-through draw of integers came back as index plus zeros, broadcast over the categories."""
    sample = heads.CategoricalHead(4, "straight_through").sample(LOGITS, SEED)
    assert sample.action.dtype == tf.int32
    assert sample.action.shape == (1,)
    np.testing.assert_array_equal(sample.one_hot, tf.one_hot(sample.action, 4))
    policy = CategoricalDistribution(LOGITS)
    np.testing.assert_array_equal(policy.log_prob(sample.action), policy.log_prob(sample.one_hot))
    with pytest.raises(ValueError, match="log_prob_of_action"):
        policy.to_tfp().log_prob(sample.action)
    with pytest.raises(ValueError, match=r"For one-hots \(floats\): log_prob"):
        policy.to_tfp().log_prob_of_action(sample.one_hot)


def test_the_critic_sees_a_hard_action_that_carries_a_gradient():
    """Elsewhere it was either the relaxed action or no gradient."""
    head = heads.CategoricalHead(4, "straight_through_gumbel_softmax")
    one_hot, gradient = gradient_of(lambda logits: head.distribution(logits).sample(SEED).one_hot)
    assert set(np.unique(one_hot)) == {0.0, 1.0}
    assert np.abs(gradient).min() > 0


def test_evaluation_has_no_noise():
    """Elsewhere the noise was inside of the activation, at evaluation and in target actions too."""
    head = heads.CategoricalHead(4, "gumbel_softmax", temperature=5.0)
    for mode in (head.mode(LOGITS).one_hot, head.distribution(LOGITS).mode().one_hot):
        np.testing.assert_array_equal(mode, [[0, 0, 0, 1]])


def test_the_temperature_is_used_and_can_move():
    """Elsewhere it was 1 for good, or accepted and then ignored."""
    head = heads.CategoricalHead(4, "gumbel_softmax", temperature=1.0)
    before = head.sample(LOGITS, SEED).one_hot.numpy().max()
    head.temperature.assign(0.1)
    after = head.sample(LOGITS, SEED).one_hot.numpy().max()
    head.temperature.assign(50.0)
    assert after > before > head.sample(LOGITS, SEED).one_hot.numpy().max()


def test_a_mask_without_a_legal_action_is_refused_and_log_prob_uses_the_mask():
    """Elsewhere: a uniform draw over illegal actions with entropy 0; or the mask was forgotten in the update."""
    head = heads.CategoricalHead(4)
    with pytest.raises(ValueError, match="at least one legal category in every row"):
        head.sample(LOGITS, SEED, np.zeros((1, 4), bool))
    with pytest.raises(ValueError, match="at least one legal category of Discrete"):
        head.factors.mask(np.zeros(4, np.int8))
    mask = np.array([True, True, False, False])
    expected = tf.nn.log_softmax(LOGITS[:, :2])
    policy = head.distribution(LOGITS, mask)
    np.testing.assert_allclose(policy.log_prob([[0], [1], [2]])[:, 0], [*expected[0], -np.inf], rtol=1e-6)
    np.testing.assert_allclose(policy.probs()[0], [*np.exp(expected[0]), 0, 0], rtol=1e-6)
    np.testing.assert_allclose(policy.to_tfp().prob(tf.eye(4)), [*np.exp(expected[0]), 0, 0], rtol=1e-6)


def test_the_start_of_a_discrete_space_is_applied_both_ways():
    """Elsewhere the policy's index went to the environment as it was."""
    space = Dict({"gear": Discrete(3, start=-1), "load": MultiDiscrete([2, 3], start=[5, 0])})
    head = heads.for_space(space)
    draw = tf.one_hot([[0, 1, 2], [2, 0, 1]], 3)
    actions = head.to_env(draw)
    np.testing.assert_array_equal(actions["gear"], [-1, 1])
    np.testing.assert_array_equal(actions["load"], [[6, 2], [5, 1]])
    np.testing.assert_array_equal(head.from_env(actions), [[0, 1, 2], [2, 0, 1]])
