"""DisARM on trees: enumerated over everything that the noise can decide, against the exact gradient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops, samplers
from rlsample.ops import tree
from rlsample.samplers.disarm import antithetic_pair


def probabilities_to_go_left(logits):
    """Of every node from the root on, by sums of probabilities; 1/2 where nothing is below."""
    weights = np.exp(np.array(tree.to_leaves(tf.constant(logits, tf.float64), -np.inf)))
    levels, found = [weights], []
    while len(levels[0]) > 1:
        levels.insert(0, levels[0][0::2] + levels[0][1::2])
    for level in levels[1:]:
        left, both = level[0::2], level[0::2] + level[1::2]
        found.extend(np.where(both > 0, left / np.where(both > 0, both, 1), 0.5))
    return np.array(found)


def cells(logits):
    """Noise in the middle of every cell of constant choices, and the cells' probabilities: [N, nodes], [N]."""
    per_node = []
    for a in probabilities_to_go_left(logits):
        edges = np.unique([0, min(a, 1 - a), max(a, 1 - a), 1])
        per_node.append([((low + high) / 2, high - low) for low, high in itertools.pairwise(edges)])
    outcomes = list(itertools.product(*per_node))
    noise = np.array([[middle for middle, _ in each] for each in outcomes])
    return noise.reshape(len(outcomes), -1), np.array([np.prod([width for _, width in each]) for each in outcomes])


def one_factor(logits):
    """(probabilities [N], first [N, K], second, direction) over all cells."""
    noise, chances = cells(logits)
    legal = ops.legal_logits(tf.constant(np.tile(logits, (len(noise), 1)), tf.float64))
    return chances, *(np.array(each, np.float64) for each in antithetic_pair(legal, tf.constant(noise)))


LOGITS = [
    [0.3, -0.9],
    [0.5, -1.0, 0.25, 1.0],
    [0.5, -1.0, -np.inf, 1.0],
    [-np.inf, 0.2, 1.0, -np.inf, -np.inf, 0.3],
    [0.1, 0.2, -0.3, 2.0, 0.4],
    [-np.inf, 3.0, -np.inf],
    [1.0],
]


@pytest.mark.parametrize("logits", LOGITS, ids=str)
def test_no_bias_over_all_noise(logits):
    f = np.random.default_rng(1).normal(size=len(logits))
    chances, first, second, direction = one_factor(logits)
    probs = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(chances @ first, probs, atol=1e-14)
    np.testing.assert_allclose(chances @ second, probs, atol=1e-14)
    rows = 0.5 * ((first - second) @ f)[:, None] * direction
    np.testing.assert_allclose(chances @ rows, probs * (f - probs @ f), atol=1e-14)
    assert not rows[:, probs == 0].any()


def test_no_bias_over_all_noise_of_a_joint_action():
    """A function of two factors that is no sum of two: both factors' pairs meet in one difference."""
    table = np.random.default_rng(2).normal(size=(3, 4))
    one, other = one_factor(LOGITS[1][:3]), one_factor(LOGITS[2])
    chances = np.outer(one[0], other[0])
    half = 0.5 * (one[1] @ table @ other[1].T - one[2] @ table @ other[2].T)
    p, q = (each[0] @ each[1] for each in (one, other))
    mean = np.einsum("mn,mn,mk->k", chances, half, one[3]), np.einsum("mn,mn,nk->k", chances, half, other[3])
    np.testing.assert_allclose(mean[0], p * (table @ q - p @ table @ q), atol=1e-14)
    np.testing.assert_allclose(mean[1], q * (p @ table - p @ table @ q), atol=1e-14)


@pytest.mark.parametrize("theta", [0.0, -2.0, 1.3])
def test_two_categories_are_disarm(theta):
    uniform = np.random.default_rng(3).random((200, 1))
    logits = tf.constant(np.tile([0.0, theta], (200, 1)))
    pair = antithetic_pair(ops.legal_logits(logits), tf.constant(uniform))
    # The first category is the left one: b is 1 where the second is drawn.
    b, c = (np.array(each)[:, 1].astype(float) for each in pair[:2])
    np.testing.assert_array_equal(b, uniform[:, 0] >= 1 / (1 + np.exp(theta)))
    np.testing.assert_allclose(pair.direction[:, 1], (b - c) / (1 + np.exp(-abs(theta))), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("categories", range(1, 34))
def test_leaves_are_in_order_and_as_deep_as_they_must_be(categories):
    slots = tree.leaf_slots(categories)
    depth = int(np.ceil(np.log2(categories)))
    assert len(slots) == categories
    assert (np.diff(slots) > 0).all()
    assert slots[-1] < 2**depth
    leaves = tree.to_leaves(tf.range(float(categories))[None], -1.0)
    assert leaves.shape == (1, 2**depth)
    assert sorted(set(leaves.numpy().ravel()) - {-1.0}) == list(range(categories))
    np.testing.assert_array_equal(tree.from_leaves(leaves, categories)[0], range(categories))
    # Nobody is alone: of two leaves side by side the left one has a category.
    assert (leaves[0, 0::2] >= 0).numpy().all()


def test_a_static_number_of_categories_is_asked_for():
    for name in ("disarm", "indecater"):

        @tf.function(input_signature=[tf.TensorSpec([2, None])])
        def value(logits, name=name):
            return samplers.create(name).expectation(lambda d: d[..., 0], logits, (1, 2))

        with pytest.raises(ValueError, match="static number of categories"):
            value(tf.zeros([2, 3]))
