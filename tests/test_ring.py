"""A replay in tensors: what it holds, and what it draws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rlsample.learning.ring import Ring, add_rows, draw_rows, sequence_places, start_ring

SPECS = {"x": tf.TensorSpec([2]), "n": tf.TensorSpec([], tf.int32)}


def rows(*numbers):
    values = tf.constant(numbers)
    return {"x": tf.cast(tf.stack([values, -values], -1), tf.float32), "n": values}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_oldest_rows_make_room(jit_compile):
    add = tf.function(add_rows, jit_compile=jit_compile)
    ring = start_ring(5, SPECS)
    for first in (1, 3, 5, 7):
        ring = add(ring, rows(first, first + 1))
    assert int(ring.size) == 5
    np.testing.assert_array_equal(ring.rows["n"], [6, 7, 8, 4, 5])
    np.testing.assert_array_equal(ring.rows["x"][:, 1], [-6, -7, -8, -4, -5])


def test_draws_are_uniform_among_what_was_filled():
    ring = add_rows(start_ring(8, SPECS), rows(1, 2, 3))
    drawn = draw_rows(ring, 30_000, tf.constant([1, 2]))
    counts = np.bincount(drawn["n"], minlength=4)
    assert counts[0] == 0
    assert scipy.stats.chisquare(counts[1:]).pvalue > 1e-6
    np.testing.assert_array_equal(drawn["x"][:, 0], tf.cast(drawn["n"], tf.float32))


def test_every_row_of_many_millions_can_be_drawn():
    """A float32 times the size would only reach odd rows: half of 1,000 draws being even fails once in 10^9 runs."""
    rows = tf.range(2**24)
    ring = Ring(rows, tf.constant(0), tf.constant(2**24))
    drawn = draw_rows(ring, 1000, (0, 1)).numpy()
    assert abs((drawn % 2 == 0).sum() - 500) < 6.2 * np.sqrt(250)
    steps = sequence_places(ring, (1000, 1), 1, (0, 2)).numpy()
    assert abs((steps % 4 == 2).sum() - 250) < 6.2 * np.sqrt(1000 * 3 / 16)


def test_bad_input():
    with pytest.raises(ValueError, match="Expected capacity to be a whole number >= 1"):
        start_ring(0, SPECS)
    with pytest.raises(ValueError, match=r"Expected at most capacity=2 rows at once. Received: rows=3"):
        add_rows(start_ring(2, SPECS), rows(1, 2, 3))
