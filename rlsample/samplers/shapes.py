"""Sizes and shapes that samplers ask of logits."""

from __future__ import annotations

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike


def num_categories(logits: tf.Tensor) -> int | tf.Tensor:
    """K of logits `[..., K]`: a number where it is known."""
    return tf.shape(logits)[-1] if logits.shape[-1] is None else logits.shape[-1]


def row_temperature(temperature: TensorLike, logits: tf.Tensor) -> tf.Tensor | None:
    """A temperature that broadcasts to `logits` `[..., K]`: None for 1, a scalar, or `[..., 1]` for one per row.

    Raises:
        ValueError: not finite and above 0, or of another shape than the logits' rows.
    """
    if isinstance(temperature, (int, float)) and temperature == 1 and not isinstance(temperature, bool):
        return None
    temperature = checks.check_temperature(temperature, logits.dtype)
    if temperature.shape.rank == 0:
        return temperature
    if not temperature.shape.is_compatible_with(logits.shape[:-1]):
        raise checks.invalid(
            f"temperature to be a scalar or to have the batch shape {logits.shape[:-1]}",
            temperature_shape=tuple(temperature.shape),
        )
    return temperature[..., None]
