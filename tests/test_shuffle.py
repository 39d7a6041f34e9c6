"""Shuffling without a sort, and rows in one piece."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning import shuffle
from rlsample.learning.loops import repeat

MODES = {"eager": lambda f: f, "xla": lambda f: tf.function(f, jit_compile=True)}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 12, 64, 101, 512, 1000, 2 * 257, 4099])
@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_index_once(size, mode):
    order = MODES[mode](lambda seed: shuffle.permutation(size, seed))(tf.constant([1, size]))
    assert order.dtype == tf.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def permutations(size, seed, count):
    seeds = tf.stack([tf.fill([count], seed), tf.range(count)], 1)
    draw = tf.function(lambda seeds: tf.map_fn(lambda each: shuffle.permutation(size, each), seeds), jit_compile=True)
    return draw(seeds).numpy()


@pytest.mark.parametrize("size", [144, 512, 202])
def test_orders_look_uniform(size):
    """Where an index goes, and how far two neighbours come apart: chi-square, false failure below 2e-6 (12 tests)."""
    orders = permutations(size, seed=5, count=4000)
    bins = 8
    for values in (orders[:, 0], orders[:, size - 1], (orders[:, 1] - orders[:, 0]) % size, orders[:, size // 3]):
        counts = np.bincount(values * bins // size, minlength=bins)
        share = np.bincount(np.arange(size) * bins // size, minlength=bins) / size
        expected = len(orders) * share
        assert np.sum((counts - expected) ** 2 / expected) < 45  # chi-square of 7 degrees beyond 45: 1.4e-7


def test_minibatches_mix_environments_and_times():
    """The rows of an environment spread over minibatches as in a draw without replacement, within 6 deviations."""
    steps, envs, parts = 128, 4, 4
    orders = permutations(steps * envs, seed=9, count=500).reshape(500, parts, -1)
    for where in (orders % envs == 0, orders // envs < steps // envs):  # one environment; the first quarter of time
        counts = where.sum(-1)
        n, total, good = steps * envs // parts, steps * envs, steps * envs // 4
        variance = n * (good / total) * (1 - good / total) * (total - n) / (total - 1)
        deviation = np.sqrt(variance / len(counts))  # All minibatches together always hold all of them.
        assert (np.abs(counts.mean(0) - n * good / total) < 6 * deviation).all()
        assert 0.7 < counts.var() / variance < 1.3


@pytest.mark.parametrize("bytes_", [False, True])
def test_pack_gives_back_what_it_was_given(bytes_):
    columns = {
        "action": tf.constant([[2**31 - 1], [-5], [16777217]]),
        "mask": tf.constant([[True, False], [False, False], [True, True]]),
        "value": tf.constant([1.5, -2.0, 1e-30]),
    }
    if bytes_:
        columns["image"] = tf.reshape(tf.range(12, dtype=tf.int32), [3, 2, 2]) * 20
        columns["image"] = tf.cast(columns["image"], tf.uint8)
    packed, unpack = shuffle.pack(columns)
    # An integer takes two floats; bytes stay bytes.
    assert [(matrix.dtype, *matrix.shape) for matrix in packed] == [(tf.float32, 3, 5), (tf.uint8, 3, 4)][: 1 + bytes_]
    for order in ([0, 1, 2], [2, 2, 0]):
        take = tf.function(lambda p, order=order: unpack([tf.gather(each, order) for each in p]), jit_compile=True)
        rows = take(packed)
        for name, column in columns.items():
            np.testing.assert_array_equal(rows[name], tf.gather(column, order))
            assert rows[name].dtype == column.dtype


@pytest.mark.parametrize(("max_rows", "pieces"), [(None, 1), (12, 1), (5, 3), (6, 2), (1, 12)])
def test_a_mean_over_pieces_is_the_mean(max_rows, pieces):
    columns = {"x": tf.random.stateless_normal([12, 3], [1, 2])}
    called = []

    def mean(columns):
        called.append(columns["x"].shape)
        return tf.reduce_mean(columns["x"], 0)

    result = shuffle.mean_over_pieces(mean, columns, tf.zeros([3]), max_rows)
    np.testing.assert_allclose(result, tf.reduce_mean(columns["x"], 0), atol=1e-6)
    assert set(called) == {(12 // pieces, 3)}


def test_repeat_counts_and_may_not_run_at_all():
    program = tf.function(lambda times: repeat(lambda i, total: total + i, times, tf.constant(0)), jit_compile=True)
    assert [int(program(tf.constant(times))) for times in (0, 1, 5)] == [0, 0, 10]


def test_bad_input():
    with pytest.raises(ValueError, match="Expected size to be a whole number >= 1"):
        shuffle.permutation(0, (1, 2))
