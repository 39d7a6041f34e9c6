"""SIMPLE: sets of k items against the enumeration of all of them: law, probabilities, gradients, extremes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rlsample import heads, samplers
from rlsample.distributions import CategoricalDistribution, UnorderedSubsetDistribution
from tests.helpers import MODES

SEED = (5, 6)
LOGITS = np.array([0.5, -1.0, 0.25, 1.0, 3.0, 0.0])
MASKS = [[True] * 6, [True, True, True, True, False, True], [False, True, False, True, True, False]]


def all_sets(num_items, mask, logits=LOGITS):
    """(sets [N, k] in ascending order, their probabilities)."""
    sets = np.array(list(itertools.combinations(np.flatnonzero(mask), num_items)), np.int32)
    weights = np.exp(logits)[sets].prod(-1)
    return sets, weights / weights.sum()


def of_all_sequences(num_items):
    return np.array(list(itertools.product(range(len(LOGITS)), repeat=num_items)), np.int32)


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("num_items", [1, 2, 3])
def test_probabilities_are_those_of_all_sets(num_items, mask):
    sets, probs = all_sets(num_items, mask)
    policy = UnorderedSubsetDistribution(tf.constant(LOGITS[None]), num_items, mask=[mask])
    sequences = of_all_sequences(num_items)
    found = dict(zip(map(tuple, sequences), np.exp(policy.log_prob(sequences[:, None])[:, 0]), strict=True))
    expected = dict(zip(map(tuple, sets), probs, strict=True))
    np.testing.assert_allclose([found[key] for key in found], [expected.get(key, 0) for key in found], atol=1e-12)
    rows = np.einsum("n,njk->jk", probs, np.eye(6)[sets])
    np.testing.assert_allclose(policy.probs()[0], rows, atol=1e-12)
    np.testing.assert_allclose(policy.inclusion_probs()[0], rows.sum(0), atol=1e-12)
    np.testing.assert_allclose(policy.entropy(), [-probs @ np.log(probs)], atol=1e-12)
    np.testing.assert_array_equal(policy.mode().action[0], sets[np.argmax(probs)])
    other = LOGITS[::-1] / 2
    divergence = policy.kl_divergence(UnorderedSubsetDistribution(tf.constant(other[None]), num_items, mask=[mask]))
    np.testing.assert_allclose(divergence, [probs @ np.log(probs / all_sets(num_items, mask, other)[1])], atol=1e-12)


@pytest.mark.parametrize("mask", MASKS[:2], ids=str)
def test_sets_are_drawn_by_their_probabilities(mask):
    # Chi-square at a false-failure rate of 1e-6.
    sets, probs = all_sets(3, mask)
    rows = tf.constant(np.tile(LOGITS, (30_000, 1)), tf.float32)
    actions = UnorderedSubsetDistribution(rows, 3, mask=mask).sample(SEED).action.numpy()
    where = {tuple(each): number for number, each in enumerate(sets)}
    counts = np.bincount([where[tuple(each)] for each in actions], minlength=len(sets))
    expected = len(rows) * probs
    counts, expected = (np.append(each[expected > 5], each[expected <= 5].sum()) for each in (counts, expected))
    assert scipy.stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-6


def with_gradient(logits, function):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = function(logits)
    return tape.gradient(value, logits).numpy()


@pytest.mark.parametrize("mask", MASKS[:2], ids=str)
def test_the_gradient_of_a_draw_is_that_of_the_exact_probabilities(mask):
    """For an objective linear in the set it is the exact gradient, whatever is drawn: no bias and no noise."""
    weights = np.array([1.0, -2.0, 0.5, 3.0, 0.3, -1.0])
    sets, probs = all_sets(3, mask)
    worth = weights[sets].sum(-1)
    inside = np.eye(6)[sets].sum(1)
    exact = (probs * (worth - probs @ worth)) @ inside
    rows = tf.constant(np.tile(LOGITS, (20, 1)))
    found = with_gradient(
        rows,
        lambda x: tf.reduce_sum(UnorderedSubsetDistribution(x, 3, mask=mask).sample(SEED).one_hot * weights),
    )
    np.testing.assert_allclose(found, np.tile(exact, (20, 1)), atol=1e-12)
    by_row = np.arange(18.0).reshape(3, 6) ** 2
    worth = np.einsum("njk,jk->n", np.eye(6)[sets], by_row)
    found = with_gradient(
        rows, lambda x: tf.reduce_sum(UnorderedSubsetDistribution(x, 3, mask=mask).sample(SEED).one_hot * by_row)
    )
    np.testing.assert_allclose(found, np.tile((probs * (worth - probs @ worth)) @ inside, (20, 1)), atol=1e-9)


def test_one_item_is_straight_through():
    logits = tf.random.stateless_normal([50, 4], SEED, dtype=tf.float64)
    weights = tf.random.stateless_normal([50, 4], (1, 2), dtype=tf.float64)
    one = with_gradient(
        logits, lambda x: tf.reduce_sum(UnorderedSubsetDistribution(x, 1).sample(SEED).one_hot[:, 0] * weights)
    )
    other = with_gradient(
        logits, lambda x: tf.reduce_sum(CategoricalDistribution(x, "straight_through").sample(SEED).one_hot * weights)
    )
    np.testing.assert_allclose(one, other, atol=1e-12)
    assert samplers.create("straight_through").pathwise


def test_gradients_of_entropy_and_log_prob_are_difference_quotients():
    actions = np.array([[0, 2], [1, 5]], np.int32)

    def value(x):
        policy = UnorderedSubsetDistribution(x, 2)
        return tf.reduce_sum(policy.entropy()) + 0.3 * tf.reduce_sum(policy.log_prob(actions))

    logits = tf.constant(np.stack([LOGITS, LOGITS[::-1]]))
    gradient = with_gradient(logits, value)
    step = np.random.default_rng(0).normal(size=logits.shape) * 1e-5
    rise = float(value(logits + step) - value(logits - step)) / 2
    np.testing.assert_allclose(rise, np.sum(gradient * step), rtol=1e-6)


EXTREME = np.array(
    [
        [1e30, -1e30, 0, 1, 7, -np.inf],
        [-1e30, -1e30, -1e30, 0, 7, -1e30],
        [0, -np.inf, 1e30, 1e30, 7, 3],
        [-np.inf, -2, -np.inf, -np.inf, 7, -np.inf],
        [60, -60, 50, 0, 1, 40],
    ]
)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_extreme_rows_stay_finite_and_are_the_same_in_every_mode(dtype):
    logits = tf.constant(np.clip(EXTREME, -6e4, 6e4) if dtype == "float16" else EXTREME, dtype)
    logits = tf.where(tf.constant(np.isinf(EXTREME)), tf.constant(-np.inf, logits.dtype), logits)

    def run(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            policy = UnorderedSubsetDistribution(logits, 2)
            draw = policy.sample(SEED)
            values = tf.stack([policy.entropy(), policy.log_prob(draw.action)])
            total = tf.reduce_sum(values) + tf.reduce_sum(draw.one_hot * tf.range(6, dtype=logits.dtype))
        return draw.action, draw.one_hot, values, policy.probs(), tape.gradient(total, logits)

    expected = run(logits)
    for mode in ("graph", "xla") if dtype == "float32" else ():
        for ours, other in zip(MODES[mode](run)(logits), expected, strict=True):
            np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-4)
    action, one_hot, values, probs, gradient = (each.numpy() for each in expected)
    assert one_hot.dtype == values.dtype == gradient.dtype == dtype
    np.testing.assert_array_equal(one_hot, np.eye(6)[action])
    assert np.isfinite(values).all()
    # The first item is certain; after subtracting it, float32 cannot tell 0, 1 and 7 apart.
    np.testing.assert_allclose(values[0, :4], [0.0246 if dtype == "float16" else np.log(3), 0, 0, 0], atol=2e-4)
    assert np.isfinite(gradient).all()
    assert not gradient[np.isinf(EXTREME)].any()
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=2e-3)
    assert (action[3] == [1, 4]).all()


def test_broken_rows_are_marked():
    run = lambda logits: UnorderedSubsetDistribution(logits, 2).sample(SEED)  # noqa: E731
    for bad in ([np.nan, 0, 1], [-np.inf, 0, -np.inf]):
        with pytest.raises(ValueError, match=r"row=\(1,\)"):
            run(tf.constant([[0.0, 1.0, 2.0], bad]))
        sample = MODES["xla"](run)(tf.constant([[0.0, 1.0, 2.0], bad]))
        np.testing.assert_array_equal(sample.action[1], [-1, -1])
        assert np.isnan(sample.one_hot[1]).all()
        assert np.isfinite(sample.one_hot[0]).all()


def test_many_items_are_no_trouble():
    policy = UnorderedSubsetDistribution(tf.random.stateless_normal([2, 500], SEED), 20)
    draw = policy.sample(SEED, [3])
    assert draw.one_hot.shape == (3, 2, 20, 500)
    np.testing.assert_allclose(tf.reduce_sum(policy.probs(), -1), np.ones((2, 20)), rtol=1e-4)
    assert np.isfinite(policy.log_prob(draw.action)).all()
    assert (policy.entropy() > 60).numpy().all()


def test_the_head_draws_sets():
    head = heads.TopKHead(6, 3, estimator="simple")
    policy = head.distribution(head(tf.random.stateless_normal([4, 5], SEED)))
    assert isinstance(policy, UnorderedSubsetDistribution)
    slates = head.to_env(policy.sample(SEED).one_hot)
    assert all(list(slate) == sorted(set(slate)) for slate in slates)
    assert heads.TopKHead.from_config(head.get_config()).estimator == "simple"
    with pytest.raises(ValueError, match="Did you mean 'simple'"):
        heads.TopKHead(6, 3, estimator="simpel")
    for option in ({"relaxed": True}, {"trainable_temperature": True}):
        with pytest.raises(ValueError, match="gumbel_top_k for relaxed rows or a trainable temperature"):
            heads.TopKHead(6, 3, estimator="simple", **option)
