"""Parameters and actions brought to the shapes that a distribution computes with."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike


def masked_logits(logits: TensorLike, mask: TensorLike | None) -> tf.Tensor:
    """Logits with -inf where the mask is False; the gradient there is 0.

    Raises:
        ValueError: logits or mask of another shape or dtype than `Sampler.__call__` takes.
    """
    logits = tf.convert_to_tensor(logits)
    if not logits.dtype.is_floating:
        raise checks.invalid("logits to be floating-point", dtype=logits.dtype.name)
    mask = checks.check_mask(mask, logits.shape)
    if mask is None:
        return logits
    # A mask of unknown rank takes the shape from the logits, which have it.
    masked = tf.where(mask, logits, tf.constant(float("-inf"), logits.dtype))
    return tf.ensure_shape(masked, logits.shape) if masked.shape.rank is None else masked


def one_hot_like(action: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """One-hot of integer categories over the last axis of logits, in their dtype; NaN for action -1."""
    one_hot = tf.one_hot(action, tf.shape(logits)[-1], dtype=logits.dtype)
    one_hot = tf.ensure_shape(one_hot, action.shape + logits.shape[-1:])
    if tf.executing_eagerly():
        return one_hot
    return tf.where(action[..., None] < 0, tf.constant(float("nan"), logits.dtype), one_hot)


def with_sample_axes(tensor: tf.Tensor, sample_shape: TensorLike) -> tf.Tensor:
    """Repeats a tensor along new leading axes."""
    if isinstance(sample_shape, tuple) and not sample_shape:
        return tensor
    return tf.broadcast_to(tensor, tf.concat([sample_shape, tf.shape(tensor)], 0))


def broadcast_batch(tensor: tf.Tensor, batch: tf.Tensor, event_ndims: int) -> tf.Tensor:
    """Repeats `tensor` `[..., event]` so that its batch shape is the broadcast of its own and that of `batch`."""
    rank = tensor.shape.rank
    if tensor.shape[: rank - event_ndims].is_fully_defined() and tensor.shape[: rank - event_ndims] == batch.shape:
        return tensor
    own, event = tf.split(tf.shape(tensor), [rank - event_ndims, event_ndims])
    shape = tf.concat([tf.broadcast_dynamic_shape(own, tf.shape(batch)), event], 0)
    static = tf.broadcast_static_shape(tensor.shape[: rank - event_ndims], batch.shape)
    return tf.ensure_shape(tf.broadcast_to(tensor, shape), static + tensor.shape[rank - event_ndims :])


def with_actions(tensor: tf.Tensor, action: tf.Tensor, action_ndims: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings parameters `[..., event]` and integer actions `[..., (F)]` to one batch shape.

    Args:
        tensor: float with one event axis.
        action: integers; their batch may have sample axes in front of the tensor's.
        action_ndims: axes of one action that are not batch axes: 0, or 1 for F factors.

    Returns:
        (tensor, action), repeated as needed.

    Raises:
        ValueError: of a batch shape that does not fit.
    """
    rank = action.shape.rank
    try:
        tf.broadcast_static_shape(tensor.shape[:-1], action.shape[: rank - action_ndims])
    except ValueError:
        fit = f"action to have a batch shape that goes with {tensor.shape[:-1]}"
        raise checks.invalid(fit, shape=tuple(action.shape), hint="One-hots are floats.") from None
    first = action[..., 0] if action_ndims else action
    tensor = broadcast_batch(tensor, first, 1)
    shape = tf.concat([tf.shape(tensor)[:-1], tf.shape(action)[rank - action_ndims :]], 0)
    return tensor, tf.ensure_shape(
        tf.broadcast_to(action, shape), tensor.shape[:-1].concatenate(action.shape[rank - action_ndims :])
    )


def is_per_row(value: Any) -> bool:
    """Whether a temperature or sharpness has one value per row rather than being a scalar."""
    return not isinstance(value, (int, float)) and len(getattr(value, "shape", ())) > 0


def with_row_temperature(tensor: tf.Tensor, temperature: TensorLike, event_ndims: int) -> tuple[tf.Tensor, Any]:
    """Brings parameters `[..., event]` and a temperature `[...]` to one batch shape; a scalar stays a scalar.

    With two event axes the temperature comes back as `[..., F]`, one for each row of the logits.
    """
    if not is_per_row(temperature):
        return tensor, temperature
    temperature = tf.convert_to_tensor(temperature)
    tensor = broadcast_batch(tensor, temperature, event_ndims)
    if event_ndims == 2:
        temperature = temperature[..., None]
    rows = tf.broadcast_to(temperature, tf.shape(tensor)[:-1])
    return tensor, tf.ensure_shape(rows, tensor.shape[:-1])


def with_enough_legal(logits: tf.Tensor, num_items: int) -> tf.Tensor:
    """The logits, unless a row has fewer legal items than are to be drawn: raises eagerly, else that row is NaN."""
    legal = logits != logits.dtype.as_numpy_dtype(-float("inf"))
    enough = tf.reduce_sum(tf.cast(legal, tf.int32), -1) >= num_items
    if tf.executing_eagerly():
        if not enough.numpy().all():
            row = tuple(int(index) for index in tf.where(~enough)[0]) if enough.shape.rank else ()
            raise checks.invalid(f"at least {num_items} legal items in every row", row=row)
        return logits
    return tf.where(enough[..., None], logits, tf.constant(float("nan"), logits.dtype))
