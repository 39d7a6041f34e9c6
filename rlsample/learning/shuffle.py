"""Minibatches inside a compiled program: a random order without a sort, and rows that travel in one piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.learning.loops import repeat
from rlsample.types import TensorLike

PASSES = 2
LONGEST = 8
"""A rectangle more than so many times longer than wide is not mixed but sorted."""

SMALLEST = 64
"""Fewer indices are sorted: tables so small have too few entries to reach every order, and sorting costs nothing."""


def permutation(size: int, seed: TensorLike) -> tf.Tensor:
    """Draws a random order of 0 .. size - 1: int32 `[size]`, without a sort.

    Write the indices into a rectangle, as nearly square as the factors of `size` allow. Each pass moves every row on by
    a random number of columns, and then whatever is now in a column by a random number of rows: a Feistel network whose
    round functions are tables of random numbers. Each pass is a permutation, and two of them cannot be told from a
    uniform one by looking at few indices (Luby and Rackoff 1988, How to construct pseudorandom permutations; on
    rectangles Black and Rogaway 2002, Ciphers with arbitrary finite domains). Small sizes, and those without
    suitable factors, such as primes, sort random keys, which takes tens of times longer under XLA on a CPU; their order
    is uniform but for ties of two keys in 2^23.

    Args:
        size: how many, at least 1.
        seed: int32 `[2]`.

    Examples:
        >>> from rlsample.learning.shuffle import permutation
        >>> permutation(8, seed=(0, 1)).numpy()
        array([2, 5, 6, 4, 3, 7, 1, 0], dtype=int32)
    """
    checks.check_count("size", size)
    rows = next(factor for factor in range(math.isqrt(size), 0, -1) if size % factor == 0)
    columns = size // rows
    if size < SMALLEST or columns > LONGEST * rows:
        return tf.argsort(ops.uniform([size], seed))
    row, column = np.divmod(np.arange(size, dtype=np.int32), np.int32(columns))
    for uniforms in tf.unstack(ops.uniform([PASSES, rows + columns], seed)):
        by_column, by_row = tf.split(uniforms, [rows, columns])
        column = _advance(column, tf.gather(_draw(by_column, columns), row), columns)
        row = _advance(row, tf.gather(_draw(by_row, rows), column), rows)
    return row * columns + column


def _draw(uniforms: tf.Tensor, count: int) -> tf.Tensor:
    """Integers 0 .. count - 1."""
    return tf.minimum(tf.cast(uniforms * count, tf.int32), count - 1)


def _advance(place: tf.Tensor, shift: tf.Tensor, count: int) -> tf.Tensor:
    """(place + shift) mod count, for shift < count; a comparison is quicker than a division."""
    moved = place + shift
    return tf.where(moved >= count, moved - count, moved)


def pack(columns: Any, axes: int = 1) -> tuple[list[tf.Tensor], Callable[[list[tf.Tensor]], Any]]:
    """Lays tensors side by side, so that one gather moves whole rows; bytes stay bytes, in a second matrix.

    Args:
        columns: a structure of tensors `[*leading, *event]`, float32, int32, bool or uint8; not of bytes alone.
        axes: number of leading axes, the same in all.

    Returns:
        (matrices `[*leading, width]`: one float32, and one uint8 where there are bytes; a function that turns matrices
        `[..., width]` made of such rows into the structure again, `[..., *event]`).

    Examples:
        >>> from rlsample.learning.shuffle import pack
        >>> (rows,), unpack = pack({"observation": tf.zeros([10, 4]), "action": tf.range(10)})
        >>> rows.shape
        TensorShape([10, 6])
        >>> unpack([tf.gather(rows, [3, 1])])["action"].numpy()
        array([3, 1], dtype=int32)
    """
    leaves = tf.nest.flatten(columns)
    bytes_ = [leaf.dtype == tf.uint8 for leaf in leaves]
    flat = [tf.reshape(_to_floats(leaf), [*leaf.shape[:axes], -1]) for leaf in leaves]
    groups = [[column for column, kind in zip(flat, bytes_, strict=True) if kind is group] for group in (False, True)]

    def unpack(rows: list[tf.Tensor]) -> Any:
        found = zip(rows, groups, strict=False)
        floats, *rest = (iter(tf.split(each, [column.shape[-1] for column in group], -1)) for each, group in found)
        parts = [next(rest[0] if kind else floats) for kind in bytes_]
        restored = [
            _from_floats(part, leaf.dtype, [*part.shape[:-1], *leaf.shape[axes:]])
            for part, leaf in zip(parts, leaves, strict=True)
        ]
        return tf.nest.pack_sequence_as(columns, restored)

    return [tf.concat(group, -1) for group in groups if group], unpack


HALF = 2**16
"""A float32 holds no integer beyond 2^24 exactly: one of 32 bits travels as two halves."""


def _to_floats(leaf: tf.Tensor) -> tf.Tensor:
    if leaf.dtype == tf.uint8:
        return leaf
    if leaf.dtype != tf.int32:
        return tf.cast(leaf, tf.float32)
    upper = tf.math.floordiv(leaf, HALF)
    return tf.cast(tf.stack([upper, leaf - upper * HALF], -1), tf.float32)


def _from_floats(columns: tf.Tensor, dtype: tf.DType, shape: Sequence[int]) -> tf.Tensor:
    if dtype == tf.int32:
        upper, lower = tf.unstack(tf.cast(tf.reshape(columns, [*shape, 2]), tf.int32), axis=-1)
        return upper * HALF + lower
    columns = tf.reshape(columns, shape)
    return columns != 0 if dtype == tf.bool else columns


def mean_over_pieces(function: Callable[[Any], Any], columns: Any, zeros: Any, max_rows: int | None) -> Any:
    """The mean of a function over equal pieces of rows, one after another: for batches too large to be quick at once.

    Args:
        function: structure of tensors `[m, ...]` -> structure of float tensors, such as gradients of a mean.
        columns: structure of tensors `[n, ...]`.
        zeros: what `function` returns, with 0 in it.
        max_rows: the most rows m of a piece; None for all at once. The pieces are as few as divide n.

    Examples:
        >>> from rlsample.learning.shuffle import mean_over_pieces
        >>> float(mean_over_pieces(tf.reduce_mean, tf.range(8.0), tf.zeros([]), max_rows=4))
        3.5
    """
    rows = tf.nest.flatten(columns)[0].shape[0]
    fewest = 1 if max_rows is None else -(-rows // max_rows)
    count = next(count for count in range(fewest, rows + 1) if rows % count == 0)
    if count == 1:
        return function(columns)
    pieces = tf.nest.map_structure(
        lambda column: tf.reshape(column, [count, rows // count, *column.shape[1:]]), columns
    )

    def add(index: tf.Tensor, mean: Any) -> Any:
        values = function(tf.nest.map_structure(lambda column: column[index], pieces))
        return tf.nest.map_structure(lambda total, value: total + value / count, mean, values)

    return repeat(add, count, zeros)
