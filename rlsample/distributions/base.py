"""What the law of a policy answers, whatever its form."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf

from rlsample import checks, ops
from rlsample.types import Objective, Sample, TensorLike


class Distribution(abc.ABC):
    """The law of one action (of one or several factors) for every row of a batch.

    An action is an integer `[...]` if the law has one factor without an axis of its own, else integers `[..., F]`; as
    a one-hot `[..., K]` or `[..., F, K]`. Probabilities are those of the whole action: `[...]` in both cases. All of it
    runs in eager, graph and XLA code; rows that nothing can be drawn from raise in eager code and come out as action
    -1 and NaN in compiled code.

    Attributes:
        event_ndims: axes of one action as a one-hot, 1 or 2.
        pathwise: whether draws carry a gradient.
    """

    event_ndims: int
    pathwise: bool

    @abc.abstractmethod
    def sample(self, seed: TensorLike, sample_shape: TensorLike = ()) -> Sample:
        """Draws.

        Args:
            seed: stateless seed, int32 `[2]`.
            sample_shape: axes to put in front of the batch's, filled with independent draws.

        Returns:
            `Sample(action, one_hot)`; `one_hot` carries the gradient if `pathwise`.
        """

    @abc.abstractmethod
    def mode(self) -> Sample:
        """The most probable action, without noise and without gradient."""

    @abc.abstractmethod
    def log_prob(self, action: TensorLike) -> tf.Tensor:
        """Log-mass of integer actions, which may have sample axes in front; -inf (gradient 0) for illegal ones."""

    @abc.abstractmethod
    def entropy(self) -> tf.Tensor:
        """Entropy of the action in nats, `[...]`."""

    @abc.abstractmethod
    def kl_divergence(self, other: Any) -> tf.Tensor:
        """Kullback-Leibler divergence from this law to another of its kind, `[...]`."""

    def action(self, draw: TensorLike) -> tf.Tensor:
        """The integer action that a draw `[..., (F,) K]`, hard or relaxed, stands for: its largest entry, int32."""
        return tf.argmax(draw, -1, output_type=tf.int32)

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """Estimates E[objective(one_hot)] with a gradient to the parameters and to what `objective` closes over.

        Args:
            objective: one_hot `[..., K]` or `[..., F, K]` -> values `[...]`.
            seed: stateless seed, int32 `[2]`.
            num_samples: how many independent draws to average.
        """
        checks.check_count("num_samples", num_samples)
        seeds = [seed] if num_samples == 1 else tf.unstack(ops.split(seed, num_samples), num_samples)
        values = [tf.convert_to_tensor(objective(self.sample(each).one_hot)) for each in seeds]
        return tf.add_n(values) / tf.cast(num_samples, values[0].dtype)


def masked_logits(logits: TensorLike, mask: TensorLike | None) -> tf.Tensor:
    """Logits with -inf where the mask is False; the gradient there is 0.

    Raises:
        ValueError: logits or mask of another shape or dtype than `Sampler.__call__` takes.
    """
    logits = tf.convert_to_tensor(logits)
    if not logits.dtype.is_floating:
        raise checks.invalid("logits to be floating-point", dtype=logits.dtype.name)
    mask = checks.check_mask(mask, logits.shape)
    return logits if mask is None else tf.where(mask, logits, tf.constant(float("-inf"), logits.dtype))


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


def with_actions(tensor: tf.Tensor, action: TensorLike, action_ndims: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings parameters `[..., event]` and integer actions `[..., (F)]` to one batch shape.

    Args:
        tensor: float with one event axis.
        action: integers; their batch may have sample axes in front of the tensor's.
        action_ndims: axes of one action that are not batch axes: 0, or 1 for F factors.

    Returns:
        (tensor, action), repeated as needed.

    Raises:
        ValueError: not integers, or of a batch shape that does not fit.
    """
    action = tf.convert_to_tensor(action)
    if not action.dtype.is_integer:
        raise checks.invalid("action to be integers", dtype=action.dtype.name, hint="A one-hot is not an action.")
    rank = action.shape.rank
    try:
        tf.broadcast_static_shape(tensor.shape[:-1], action.shape[: rank - action_ndims])
    except ValueError:
        fit = f"action to have a batch shape that goes with {tensor.shape[:-1]}"
        raise checks.invalid(fit, shape=tuple(action.shape)) from None
    first = action[..., 0] if action_ndims else action
    tensor = broadcast_batch(tensor, first, 1)
    shape = tf.concat([tf.shape(tensor)[:-1], tf.shape(action)[rank - action_ndims :]], 0)
    return tensor, tf.ensure_shape(
        tf.broadcast_to(action, shape), tensor.shape[:-1].concatenate(action.shape[rank - action_ndims :])
    )


def is_per_row(value: Any) -> bool:
    """Whether a temperature or sharpness is one a row rather than a scalar."""
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
