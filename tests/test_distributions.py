"""Policies as distributions, of every kind: actions in both forms, probabilities, errors, and what TFP is given."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import MultiBinary, MultiDiscrete

import rlsample
from rlsample import heads
from rlsample.distributions import (
    AutoregressiveDistribution,
    CategoricalDistribution,
    OrdinalDistribution,
    SubsetDistribution,
)
from tests.helpers import MODES, QUICK_MODES

SEED = (5, 6)
LOGITS = tf.constant([[0.5, -1.0, 0.25], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0], [-1.0, 1.0, 1.0]])
MAKERS = {
    "categorical": lambda: heads.CategoricalHead(3, "reinmax"),
    "factored": lambda: heads.FactoredHead([2, 3]),
    "autoregressive": lambda: heads.AutoregressiveHead([2, 3], context_size=4, kernel_gain=2.0),
    "ordinal": lambda: heads.OrdinalHead(4),
    "ordinal fini": lambda: heads.OrdinalHead(4, sampler="fini"),
    "ordinal factors": lambda: heads.OrdinalHead(MultiDiscrete([2, 4])),
    "simple": lambda: heads.TopKHead(4, 2, estimator="simple", kernel_gain=2.0),
    "top_k": lambda: heads.TopKHead(4, 2, kernel_gain=2.0),
}


@pytest.fixture(params=MAKERS)
def head(request):
    return MAKERS[request.param]()


@pytest.fixture
def policy(head):
    return head.distribution(head(tf.random.stateless_normal([4, 6], SEED)))


def all_actions(policy):
    """Every joint action, int32 [N, 1] or [N, 1, F]; padding included."""
    *factors, categories = policy.event_shape
    actions = np.array(list(itertools.product(range(categories), repeat=factors[0] if factors else 1)), np.int32)
    return actions if not factors else actions[:, None]


# ---- log_prob of both forms


@pytest.mark.parametrize("mode", QUICK_MODES)
def test_one_hots_have_the_log_prob_of_their_integers(policy, mode):
    draw = policy.sample(SEED, [6])
    log_probs = MODES[mode](lambda *forms: [policy.log_prob(form) for form in forms])
    of_integers, of_one_hots = log_probs(draw.action, draw.one_hot)
    assert of_integers.shape == (6, 4)
    np.testing.assert_array_equal(of_one_hots, of_integers)


def test_a_relaxed_one_hot_stands_for_its_largest_entry_and_gets_no_gradient():
    policy = CategoricalDistribution(LOGITS, "gumbel_softmax", 0.7)
    draw = policy.sample(SEED)
    assert not np.isin(draw.one_hot, (0, 1)).all()
    with tf.GradientTape() as tape:
        tape.watch(draw.one_hot)
        log_prob = policy.log_prob(draw.one_hot)
    np.testing.assert_array_equal(log_prob, policy.log_prob(draw.action))
    assert tape.gradient(log_prob, draw.one_hot) is None


def test_relaxed_rows_of_a_subset_stand_for_distinct_items():
    policy = SubsetDistribution(LOGITS, 2, 5.0, relaxed=True)
    rows = policy.sample(SEED, [50]).one_hot
    assert (tf.argmax(rows[..., 0, :], -1) == tf.argmax(rows[..., 1, :], -1)).numpy().any()
    assert np.isfinite(policy.log_prob(rows)).all()


def test_the_gradient_to_the_logits_is_that_of_the_integers():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape(persistent=True) as tape:
        policy = CategoricalDistribution(logits)
        draw = policy.sample(SEED)
        of_integers, of_one_hots = policy.log_prob(draw.action), policy.log_prob(draw.one_hot)
    np.testing.assert_array_equal(tape.gradient(of_one_hots, logits), tape.gradient(of_integers, logits))


def test_a_one_hot_that_stands_for_no_action_has_no_log_prob():
    value = np.array([[0.0, 0, 0], [np.nan, 1, 0], [0, 1, 0]], np.float32)
    found = CategoricalDistribution(LOGITS[:3]).log_prob(value)
    np.testing.assert_array_equal(np.isnan(found), [True, True, False])
    factored = CategoricalDistribution(LOGITS[:2], factored=True)
    assert np.isnan(factored.log_prob(value[1:]))
    assert np.isneginf(CategoricalDistribution(LOGITS, mask=[True, False, True]).log_prob(tf.one_hot([1] * 4, 3))).all()


def test_plain_lists_are_taken():
    head = heads.CategoricalHead(3)
    policy = head.distribution(LOGITS[:2])
    expected = tf.nn.log_softmax(LOGITS[:2]).numpy()[[0, 1], [0, 2]]
    np.testing.assert_allclose(policy.log_prob([0, 2]), expected, rtol=1e-6)
    np.testing.assert_allclose(policy.log_prob([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="For integers: log_prob_of_action"):
        policy.to_tfp().log_prob([0, 2])


FACTORED = CategoricalDistribution(tf.stack([LOGITS] * 2, 1), factored=True)
FORMS = r"integers \[\.\.\.\] or one-hots \(floats\) \[\.\.\., 3\]\. Received: dtype="


@pytest.mark.parametrize(
    ("policy", "action", "message"),
    [
        (CategoricalDistribution(LOGITS), tf.zeros([4]), FORMS + r"'float32', shape=\(4,\)"),
        (CategoricalDistribution(LOGITS), tf.zeros([4, 2]), FORMS),
        (CategoricalDistribution(LOGITS), [True, False, True, True], FORMS + "'bool'"),
        (CategoricalDistribution(LOGITS), [0, 1, 2, 3], r"in \[0, 3\)\. Received: row=\(3,\), value=3"),
        (CategoricalDistribution(LOGITS), [0, 1], "a batch shape that goes with"),
        (CategoricalDistribution(LOGITS), np.ones((4, 3), int), "One-hots are floats"),
        (FACTORED, [[0], [1], [2], [0]], r"integers \[\.\.\., 2\] or one-hots \(floats\) \[\.\.\., 2, 3\]"),
        (FACTORED, 1, r"integers \[\.\.\., 2\]"),
        (FACTORED, tf.zeros([4, 3, 3]), r"integers \[\.\.\., 2\]"),
        (SubsetDistribution(LOGITS, 2), [[0, 1, 2]], r"integers \[\.\.\., 2\]"),
        (OrdinalDistribution(tf.zeros([4]), tf.ones([4]), 3), tf.zeros([4, 2]), FORMS),
    ],
)
def test_a_wrong_action_is_told_what_the_forms_are(policy, action, message):
    with pytest.raises(ValueError, match=message):
        policy.log_prob(action)


# ---- probabilities


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.thinned(3)
def test_probs_are_the_mean_of_the_one_hots(policy, mode):
    actions = all_actions(policy)
    joint = np.exp(policy.log_prob(actions).numpy().astype(np.float64))
    one_hots = tf.one_hot(actions, policy.event_shape[-1]).numpy()
    expected = np.einsum("nb,n...->b...", joint, one_hots[:, 0])
    found = MODES[mode](policy.probs)()
    assert found.dtype == policy.dtype
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(policy.to_tfp().mean(), found, atol=1e-6)


@pytest.mark.parametrize("name", ["autoregressive", "simple", "top_k"])
def test_probs_of_dependent_factors_have_a_gradient(name):
    head = MAKERS[name]()
    logits = head(tf.random.stateless_normal([2, 6], SEED))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(head.distribution(logits).probs() * tf.range(float(head.factors.num_categories)))
    gradient = tape.gradient(total, logits).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-4
    step = 1e-2 * gradient / np.linalg.norm(gradient)
    rise = [
        np.sum(head.distribution(logits + sign * step).probs() * np.arange(head.factors.num_categories))
        for sign in (1, -1)
    ]
    np.testing.assert_allclose((rise[0] - rise[1]) / 2e-2, np.linalg.norm(gradient), rtol=0.02)


def test_probs_of_a_subset_with_just_enough_legal_items():
    policy = SubsetDistribution(LOGITS[:1], 2, mask=[True, False, True])
    np.testing.assert_allclose(policy.probs()[0].numpy().sum(0), [1, 0, 1], atol=1e-6)


def test_probs_of_too_many_joint_actions_are_refused():
    head = heads.AutoregressiveHead(MultiBinary(13), context_size=4)
    with pytest.raises(ValueError, match="at most 4096 joint actions"):
        head.distribution(head(tf.zeros([1, 6]))).probs()


# ---- divergence


def test_divergence_needs_two_of_a_kind():
    first = CategoricalDistribution(LOGITS)
    for other in (
        CategoricalDistribution(LOGITS[:, :2]),
        OrdinalDistribution(tf.zeros([4]), tf.ones([4]), 3),
        FACTORED,
        LOGITS,
    ):
        with pytest.raises(ValueError, match="two CategoricalDistributions of one event shape"):
            first.kl_divergence(other)
    with pytest.raises(ValueError, match="two SequentialDistributions"):
        SubsetDistribution(LOGITS, 2).kl_divergence(FACTORED)


# ---- expectations


def total(one_hot):
    return tf.reduce_sum(one_hot) ** 2


@pytest.mark.parametrize("sampler", ["exact", "score_function"])
@pytest.mark.parametrize("form", ["categorical", "factored", "autoregressive"])
def test_an_objective_without_the_batch_was_taken_for_one_with_it(form, sampler):
    head = {
        "categorical": lambda: heads.CategoricalHead(3, sampler),
        "factored": lambda: heads.FactoredHead([2, 3], sampler),
        "autoregressive": lambda: heads.AutoregressiveHead([2, 3], sampler, context_size=4),
    }[form]()
    policy = head.distribution(head(tf.zeros([4, 6])))
    with pytest.raises(ValueError, match=r"objective to return values .*values_shape=\(\)\. Every row needs a value"):
        policy.expectation(total, SEED)


def test_draws_with_a_gradient_take_the_loss_of_a_batch(policy):
    assert policy.pathwise
    assert policy.expectation(total, SEED).shape == ()


@pytest.mark.parametrize("sampler", ["exact", "arsm", "score_function", "zgr"])
def test_one_joint_action_needs_no_batch(sampler):
    policy = CategoricalDistribution(LOGITS, sampler, factored=True)
    with tf.GradientTape() as tape:
        tape.watch(policy.logits)
        value = policy.expectation(lambda one_hot: tf.reduce_sum(one_hot[:, 0]) ** 2, SEED)
    assert value.shape == ()
    assert tape.gradient(value, policy.logits).shape == LOGITS.shape
    if sampler == "exact":
        chance = tf.nn.softmax(LOGITS)[:, 0].numpy()
        np.testing.assert_allclose(value, chance.sum() ** 2 + (chance * (1 - chance)).sum(), rtol=1e-5)


@pytest.mark.parametrize("sampler", ["exact", "leave_one_out", "zgr"])
def test_one_joint_action_of_levels_needs_no_batch(sampler):
    location, scale = tf.constant([1.0, 2.0]), tf.constant([0.5, 0.5])
    objective = lambda one_hot: tf.reduce_sum(one_hot[:, 2])  # noqa: E731
    with tf.GradientTape() as tape:
        tape.watch(location)
        policy = OrdinalDistribution(location, scale, 4, factored=True, sampler=sampler)
        value = policy.expectation(objective, SEED)
    assert value.shape == ()
    assert tape.gradient(value, location).shape == location.shape
    if sampler == "exact":
        np.testing.assert_allclose(value, tf.reduce_sum(tf.exp(policy.drawn_logits)[:, 2]), rtol=1e-5)


def test_rows_of_another_axis_were_taken_for_factors():
    policy = CategoricalDistribution(tf.zeros([2, 3, 4]), "score_function")
    with pytest.raises(ValueError, match=r"values_shape=\(2,\)\. Every row needs a value"):
        policy.expectation(lambda one_hot: tf.reduce_sum(one_hot, [-2, -1]), SEED)


@pytest.mark.parametrize("sampler", ["exact", "score_function"])
def test_factors_that_depend_on_each_other_had_values_of_their_own(sampler):
    head = heads.AutoregressiveHead([2, 3], sampler, context_size=4)
    policy = head.distribution(head(tf.zeros([2, 6])))
    with pytest.raises(ValueError, match=r"values of the batch shape \(2,\)\. Received: values_shape=\(2, 2\)"):
        policy.expectation(lambda one_hot: one_hot[..., 0], SEED)


# ---- across graphs


@pytest.mark.thinned(2)
def test_one_distribution_is_used_in_several_graphs_and_outside(policy):
    expected = type(policy)(**policy.arguments).entropy()
    for mode in ("graph", "xla"):
        np.testing.assert_allclose(MODES[mode](policy.entropy)(), expected, rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), expected, rtol=1e-5)


# ---- what the constructor was given


def test_arguments_are_kept_as_they_were_given():
    logits = tf.Variable(LOGITS)
    policy = CategoricalDistribution(logits, temperature=0.5, mask=[True, True, False])
    assert policy.arguments.keys() == {"logits", "temperature", "mask"}
    assert policy.arguments["logits"] is logits
    again = CategoricalDistribution(**policy.arguments)
    np.testing.assert_array_equal(again.sample(SEED).action, policy.sample(SEED).action)


def test_tensorflow_probability_is_loaded_when_it_is_asked_for(monkeypatch):
    """That no import of ours loads it is in test_layout."""
    monkeypatch.setitem(sys.modules, "tensorflow_probability", None)  # to import it is an error now
    monkeypatch.delitem(sys.modules, "rlsample.tfp", raising=False)
    monkeypatch.delattr(rlsample, "tfp", raising=False)
    policy = heads.CategoricalHead(3).distribution(tf.zeros([2, 3]))
    policy.log_prob(policy.sample(SEED).one_hot)
    with pytest.raises(ImportError, match="tensorflow_probability"):
        policy.to_tfp()


@pytest.mark.parametrize("sampler", ["gumbel_softmax", "softmax", "entmax", "straight_through"])
def test_dependent_factors_are_drawn_as_log_prob_says_however_relaxed(sampler):
    """Later factors see the action, not the relaxed draw. |z| < 5.5: a false failure once in 6 million runs."""

    class Steep:
        sizes = (2, 2)

        def factor_logits(self, state, factor):
            steep = tf.stack([20 * (state[..., 0] - 0.8), tf.zeros_like(state[..., 0])], -1)
            return tf.zeros_like(steep) if factor == 0 else steep

        def advance(self, state, one_hot, factor):
            return one_hot

    draws = 20_000
    policy = AutoregressiveDistribution(tf.zeros([draws, 2]), Steep(), sampler)
    action = policy.sample(SEED).action
    counts = np.bincount(action[:, 0] * 2 + action[:, 1], minlength=4)
    outcomes = tf.constant([[0, 0], [0, 1], [1, 0], [1, 1]])
    of_four = AutoregressiveDistribution(tf.zeros([4, 2]), Steep(), sampler)
    chances = np.exp(of_four.log_prob(outcomes))
    assert np.all(np.abs(counts - draws * chances) < 5.5 * np.sqrt(draws * chances * (1 - chances)) + 1e-6)
