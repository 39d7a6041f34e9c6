"""A replay in tensors: what a compiled program can carry along, fill and draw from."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import checks
from rlsample.ops.noise import bits


class Ring(NamedTuple):
    """The latest rows, the oldest making room for new ones.

    Attributes:
        rows: a structure of tensors `[capacity, ...]`.
        position: int32 scalar, where the next row goes.
        size: int32 scalar, how many rows have been filled; below 0 while rows are skipped.

    Examples:
        >>> from rlsample.learning.ring import start_ring
        >>> ring = start_ring(100, {"reward": tf.TensorSpec([], tf.float32)})
        >>> ring.rows["reward"].shape, int(ring.position), int(ring.size)
        (TensorShape([100]), 0, 0)
    """

    rows: Any
    position: tf.Tensor
    size: tf.Tensor


def start_ring(capacity: int, specs: Any, skip: int = 0) -> Ring:
    """An empty ring.

    Args:
        capacity: rows it holds.
        specs: a structure of `tf.TensorSpec`, each of one row.
        skip: how many of the first rows are no rows yet: they are taken in and never drawn. At most the capacity.

    Raises:
        ValueError: a capacity below 1, or a skip beyond it.

    Examples:
        >>> from rlsample.learning.ring import start_ring
        >>> specs = {"observation": tf.TensorSpec([4], tf.float32), "action": tf.TensorSpec([], tf.int32)}
        >>> start_ring(100, specs).rows["observation"].shape
        TensorShape([100, 4])
    """
    checks.check_count("capacity", capacity)
    if not 0 <= skip <= capacity:
        raise checks.invalid(f"skip from 0 to capacity={capacity}", skip=skip)
    rows = tf.nest.map_structure(lambda spec: tf.zeros([capacity, *spec.shape], spec.dtype), specs)
    # Rows that do not count go to the end, where others take their places before the ring is full.
    return Ring(rows, tf.constant(-skip % capacity), tf.constant(-skip))


def add_rows(ring: Ring, rows: Any) -> Ring:
    """Takes in n rows, a structure of tensors `[n, ...]` with n at most the capacity and known when traced.

    Raises:
        ValueError: more rows than the ring holds.

    Examples:
        >>> from rlsample.learning.ring import add_rows, start_ring
        >>> ring = start_ring(3, tf.TensorSpec([], tf.int32))
        >>> for rows in ([1, 2], [3, 4]):
        ...     ring = add_rows(ring, tf.constant(rows))
        >>> ring.rows.numpy(), int(ring.size)
        (array([4, 2, 3], dtype=int32), 3)
    """
    capacity, count = (tf.nest.flatten(each)[0].shape[0] for each in (ring.rows, rows))
    if count > capacity:
        raise checks.invalid(f"at most capacity={capacity} rows at once", rows=count)
    places = (ring.position + tf.range(count)) % capacity
    filled = tf.nest.map_structure(
        lambda column, new: tf.tensor_scatter_nd_update(column, places[:, None], new), ring.rows, rows
    )
    return Ring(filled, (ring.position + count) % capacity, tf.minimum(ring.size + count, capacity))


def draw_rows(ring: Ring, count: int, seed: tf.Tensor) -> Any:
    """Draws rows uniformly with replacement among those filled: a structure of tensors `[count, ...]`.

    Examples:
        >>> from rlsample.learning.ring import add_rows, draw_rows, start_ring
        >>> ring = add_rows(start_ring(100, tf.TensorSpec([], tf.int32)), tf.constant([1, 2, 3]))
        >>> draw_rows(ring, 8, (0, 1)).numpy()
        array([3, 2, 3, 1, 3, 3, 1, 2], dtype=int32)
    """
    places = _below(ring.size, [count], seed)
    return tf.nest.map_structure(lambda column: tf.gather(column, places), ring.rows)


def sequence_places(ring: Ring, shape: tuple[int, int], lanes: int, seed: tf.Tensor) -> tf.Tensor:
    """Places of sequences drawn uniformly with replacement among those filled: int32 `[count, length]`.

    Args:
        ring: whose rows are steps of several environments, those of the first step first, each a row for each
            environment. Its capacity is a multiple of their number, and at least one sequence of each has been filled.
        shape: (count, length).
        lanes: E, how many environments there are.
        seed: int32 `[2]`.

    Examples:
        >>> from rlsample.learning.ring import add_rows, sequence_places, start_ring
        >>> ring = add_rows(start_ring(100, tf.TensorSpec([], tf.int32)), tf.range(10))  # 5 steps of 2 environments
        >>> sequence_places(ring, (3, 4), lanes=2, seed=(0, 1)).numpy()
        array([[3, 5, 7, 9],
               [0, 2, 4, 6],
               [0, 2, 4, 6]], dtype=int32)
    """
    steps = tf.nest.flatten(ring.rows)[0].shape[0] // lanes
    filled = ring.size // lanes
    choices = tf.stack([filled - shape[1] + 1, lanes])[:, tf.newaxis]
    first, lane = tf.unstack(_below(choices, [2, shape[0]], seed))
    oldest = tf.where(filled < steps, 0, ring.position // lanes)
    return (oldest + first[:, tf.newaxis] + tf.range(shape[1])) % steps * lanes + lane[:, tf.newaxis]


def _below(count: tf.Tensor, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    """Integers from 0 to `count` - 1, 0 for none: int32. Of chances that differ by less than count / 2^32.

    A float32 times the count would not do: of many millions of rows it reaches only some.
    """
    words = bits(shape, seed)
    return tf.cast(words % tf.cast(tf.maximum(count, 1), tf.uint32), tf.int32)
