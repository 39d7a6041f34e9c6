"""How far the relaxed sample behind a gradient is from the one-hot that is drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import ops, samplers
from rlsample.ops.softmax import ILLEGAL
from rlsample.types import TensorLike


class Relaxation(NamedTuple):
    """What a temperature does to relaxed samples y; float32 scalars that carry no gradient, means over rows.

    Attributes:
        one_hot_gap: 1 - max_k y_k, the total variation distance from the one-hot: 0 at it, 1 - 1 / n for a uniform y.
        entropy: of y over its largest, log n: 0 for a one-hot, 1 for a uniform y.

    Examples:
        >>> found = lab.relaxation("softmax", [[0.0, 0.0, 0.0, -1e9]], seed=(1, 2))
        >>> print(round(float(found.one_hot_gap), 3), round(float(found.entropy), 3))
        0.667 0.792
    """

    one_hot_gap: tf.Tensor
    entropy: tf.Tensor


def relaxation(
    sampler: str | dict[str, Any] | samplers.Sampler,
    logits: TensorLike,
    seed: TensorLike,
    *,
    temperature: TensorLike = 1.0,
    mask: TensorLike | None = None,
) -> Relaxation | None:
    """Draws relaxed samples and measures how relaxed they are, for one softmax of the batch.

    Args:
        sampler: a sampler, or what `samplers.create` takes.
        logits: float `[..., K]`; -inf marks an illegal category.
        seed: stateless seed, int32 `[2]`.
        temperature: as in `Sampler.__call__`.
        mask: boolean, broadcasts to the logits, True = legal.

    Returns:
        The means over the rows that have n > 1 legal categories, NaN if none has; None if there is no relaxed sample
        behind the sampler's gradient.

    Raises:
        ValueError: as the sampler does.

    Examples:
        >>> logits = tf.zeros([1000, 4])
        >>> for temperature in (0.01, 1.0, 100.0):
        ...     found = lab.relaxation("straight_through_gumbel_softmax", logits, (1, 2), temperature=temperature)
        ...     print(round(float(found.one_hot_gap), 1), round(float(found.entropy), 1))
        0.0 0.0
        0.4 0.7
        0.7 1.0
    """
    relaxed = samplers.create(sampler).relaxation
    if relaxed is None:
        return None
    sample = relaxed(logits, seed, temperature=temperature, mask=mask).one_hot
    sample = tf.cast(tf.stop_gradient(sample), tf.float32)
    count = tf.reduce_sum(tf.cast(ops.legal_logits(logits, mask) > ILLEGAL, tf.float32), -1)
    chosen = count > 1
    rows = tf.reduce_sum(tf.cast(chosen, tf.float32))

    def mean(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.where(chosen, values, 0.0)) / rows

    entropy = -tf.reduce_sum(tf.math.xlogy(sample, sample), -1)
    return Relaxation(mean(1 - tf.reduce_max(sample, -1)), mean(entropy / tf.math.log(tf.maximum(count, 2.0))))
