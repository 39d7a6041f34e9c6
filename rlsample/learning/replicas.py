"""A mean gradient computed on several devices at once: each has a share of the rows, all get the same result."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rlsample import checks


@functools.cache
def mirrored(devices: int) -> tf.distribute.Strategy:
    """The strategy for so many devices of this machine: its GPUs, where it has some, else its logical CPUs.

    It is the same one at each call: collectives of two strategies in one process get in each other's way.

    Raises:
        ValueError: there are fewer.
    """
    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    found = gpus or cpus
    if devices > len(found):
        hint = "tf.config.set_logical_device_configuration divides one, before anything is computed."
        received: dict[str, Any] = {"devices": devices, "GPUs": len(gpus), "CPUs": len(cpus)}
        raise checks.invalid("as many devices as are asked for", **received, hint=hint)
    return tf.distribute.MirroredStrategy([device.name for device in found[:devices]])


def mean_over_replicas(
    strategy: tf.distribute.Strategy, function: Callable[[Any], Any], columns: Any, valid: tf.Tensor | None = None
) -> Any:
    """The mean of a function over equal shares of rows, one on each replica.

    XLA cannot compile what crosses devices. So `function`, which has all the work, may be a compiled program of its
    own; what calls this is plain graph code, and so is what an optimizer does with the result.

    Args:
        strategy: of `n` replicas, on one machine or on several.
        function: structure of tensors `[m / n, ...]` -> structure of float tensors, such as gradients of a mean.
        columns: structure of tensors `[m, ...]`, the same on each replica.
        valid: bool `[m, ...]`, rows that count in that mean; None where all do.

    Returns:
        What `function` returns for all rows at once, but for rounding.

    Raises:
        ValueError: the rows do not divide evenly.

    Examples:
        >>> from rlsample.learning.replicas import mean_over_replicas, mirrored
        >>> compiled = tf.function(tf.reduce_mean, jit_compile=True)
        >>> strategy = mirrored(1)
        >>> mean = tf.function(lambda rows: mean_over_replicas(strategy, compiled, rows), autograph=False)
        >>> float(mean(tf.range(8.0)))
        3.5
    """
    count, rows = strategy.num_replicas_in_sync, tf.nest.flatten(columns)[0].shape[0]
    if rows % count:
        raise checks.invalid("rows that the devices share evenly", rows=rows, devices=count)

    def share_of(column: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        return tf.reshape(column, [count, rows // count, *column.shape[1:]])[index]

    def weighted() -> Any:
        context = tf.distribute.get_replica_context()
        index = context.replica_id_in_sync_group
        values = function(tf.nest.map_structure(lambda column: share_of(column, index), columns))
        weight = 1 / count if valid is None else _share(share_of(valid, index), valid)
        values = tf.nest.map_structure(lambda value: value * weight, values)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

    outcome = strategy.run(weighted)
    return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], outcome)


def _share(own: tf.Tensor, everywhere: tf.Tensor) -> tf.Tensor:
    """How much of what counts is here."""
    mine, all_of_it = (tf.reduce_sum(tf.cast(flags, tf.float32)) for flags in (own, everywhere))
    return tf.math.divide_no_nan(mine, all_of_it)
