"""Draws in proportion to priorities: the tree by enumeration, the replay by its probabilities and weights."""

from __future__ import annotations

import numpy as np
import pytest

from rlsample.learning.prioritized_replay import EPSILON, PrioritizedReplay
from rlsample.learning.sum_tree import SumTree


@pytest.mark.parametrize("capacity", [1, 2, 5, 8, 13])
def test_the_tree_finds_the_leaf_that_holds_a_target(capacity):
    generator, tree, leaves = np.random.default_rng(capacity), SumTree(capacity), np.zeros(capacity)
    for _ in range(5):
        places = generator.integers(capacity, size=7)
        values = generator.integers(5, size=7).astype(float)
        tree.set(places, values)
        for place, value in zip(places, values, strict=True):  # the last of several stays
            leaves[place] = value
        np.testing.assert_array_equal(tree.leaves, leaves)
        assert tree.total == leaves.sum()
        targets = np.arange(0, leaves.sum(), 0.25)
        np.testing.assert_array_equal(tree.find(targets), np.searchsorted(np.cumsum(leaves), targets, side="right"))


def test_rounding_never_leads_to_a_leaf_of_nothing():
    tree = SumTree(8)
    tree.set(np.arange(8), [0.1, 0.2, 0.3, 0.0, 0.7, 0.0, 0.0, 0.0])
    beyond = np.array([tree.total, np.nextafter(tree.total, 2), 5.0])
    np.testing.assert_array_equal(tree.find(beyond), 4)
    np.testing.assert_array_equal(tree.find(np.zeros((2, 3))), np.zeros((2, 3)))
    tree.set(np.array([], int), np.array([]))
    assert tree.total == pytest.approx(1.3)


def filled(errors, capacity=8, exponent=0.6):
    replay = PrioritizedReplay(capacity, exponent)
    places = replay.add({"x": np.arange(len(errors))})
    replay.set_errors(places, np.asarray(errors, np.float32))
    return replay


def test_probabilities_are_powers_of_the_errors():
    errors = np.array([0.5, -2.0, 0.0, 1.0, 4.0])
    wanted = (np.abs(errors) + EPSILON) ** 0.6
    np.testing.assert_allclose(filled(errors).probabilities(), wanted / wanted.sum(), rtol=1e-6)
    np.testing.assert_allclose(filled(errors, exponent=0.0).probabilities(), 0.2)


def test_rows_are_drawn_by_their_probabilities():
    """One from each of B equal parts: a row comes at least once for each part it fills, and once for each it enters."""
    replay, draws = filled([0.5, 2.0, 0.1, 1.0, 4.0]), 20_000
    rows = replay.sample(np.random.default_rng(0), (draws, 3))
    np.testing.assert_array_equal(rows["x"], rows["place"])
    counts, wanted = np.bincount(rows["x"].ravel(), minlength=5), 3 * draws * replay.probabilities()
    assert np.all(np.abs(counts - wanted) < 5.5 * np.sqrt(wanted))  # of five counts one fails once in 5 million
    ends = 3 * np.cumsum(replay.probabilities())
    starts = np.array([0, *ends[:-1]])
    each = (rows["x"][..., None] == np.arange(5)).sum(1)
    assert (each >= np.floor(ends) - np.ceil(starts)).all()
    assert (each <= np.ceil(ends) - np.floor(starts)).all()


@pytest.mark.parametrize("correction", [0.0, 0.4, 1.0])
def test_importance_weights(correction):
    replay = filled([0.5, 2.0, 0.1, 1.0, 4.0])
    rows = replay.sample(np.random.default_rng(0), (4, 6), correction)
    raw = (5 * replay.probabilities()[rows["place"]]) ** -correction
    np.testing.assert_allclose(rows["weight"], raw / raw.max(-1, keepdims=True), rtol=1e-6)
    assert rows["weight"].dtype == np.float32


def test_fully_corrected_means_are_those_of_uniform_draws():
    """By enumeration: sum_i P(i) w_i f_i is in proportion to the plain mean of f, whatever the priorities."""
    replay, f = filled([0.5, 2.0, 0.1, 1.0, 4.0]), np.array([1.0, -3.0, 2.0, 0.5, 7.0])
    probabilities = replay.probabilities()
    rows = replay.sample(np.random.default_rng(0), (1, 4000))  # holds every row
    weight = np.array([rows["weight"][rows["place"] == place][0] for place in range(5)])
    scale = (probabilities * weight).sum()
    assert (probabilities * weight * f).sum() / scale == pytest.approx(f.mean(), rel=1e-5)


def test_new_rows_have_the_highest_priority_there_has_been():
    replay = filled([3.0, 1.0], capacity=3)
    replay.set_errors(np.array([0]), np.array([0.5], np.float32))
    replay.add({"x": np.array([7, 8])})  # the second takes the first one's place
    priorities = replay.probabilities() / replay.probabilities().max()
    np.testing.assert_allclose(priorities, [1, ((1 + EPSILON) / (3 + EPSILON)) ** 0.6, 1], rtol=1e-6)


@pytest.mark.parametrize("rows", [0, 2, 5])
def test_priorities_belong_to_the_snapshot(rows):
    replay, copy = filled(np.linspace(0.2, 3, rows), capacity=4) if rows <= 4 else overfilled(), PrioritizedReplay(4)
    copy.add({"x": np.arange(3)})  # forgotten
    copy.restore(*replay.snapshot())
    draws = []
    for each in (replay, copy):
        each.add({"x": np.array([90])})
        draws.append(each.sample(np.random.default_rng(0), (3, 5), 0.7))
    np.testing.assert_equal(*draws)
    np.testing.assert_array_equal(replay.probabilities(), copy.probabilities())


def overfilled():
    replay = PrioritizedReplay(4)
    for row in range(5):
        replay.set_errors(replay.add({"x": np.array([row])}), np.array([row], np.float32))
    return replay


def test_what_it_refuses():
    with pytest.raises(ValueError, match="a replay that holds rows"):
        PrioritizedReplay(4).sample(np.random.default_rng(0), (2,))
    with pytest.raises(ValueError, match=r"exponent in \[0, 1\]. Received: exponent=1.5"):
        PrioritizedReplay(4, 1.5)
    with pytest.raises(ValueError, match="capacity"):
        SumTree(0)
