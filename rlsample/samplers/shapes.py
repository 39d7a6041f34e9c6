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

    One per row may come as `[...]` or as `[..., 1]`.

    Raises:
        ValueError: not finite and above 0, or of another shape than the logits' rows.
    """
    if isinstance(temperature, (int, float)) and temperature == 1 and not isinstance(temperature, bool):
        return None
    temperature = checks.check_temperature(temperature, logits.dtype)
    if temperature.shape.rank == 0:
        return temperature
    batch = logits.shape[:-1]
    if temperature.shape.rank == logits.shape.rank and temperature.shape.is_compatible_with([*batch, 1]):
        return temperature
    if not temperature.shape.is_compatible_with(batch):
        raise checks.invalid(
            f"temperature to be a scalar or to have the batch shape {batch} (a last axis of 1 may follow)",
            temperature_shape=tuple(temperature.shape),
        )
    return temperature[..., None]
