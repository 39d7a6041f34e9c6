"""Values of an objective at draws, and the surrogates whose gradient an estimator gives them."""

from __future__ import annotations

import tensorflow as tf

from rlsample import checks
from rlsample.types import Objective


def objective_values(objective: Objective, one_hot: tf.Tensor, *, batch_ndims: int = 1) -> tf.Tensor:
    """Values of the objective at draws, checked to be floats with a value for every row.

    Args:
        objective: as `Sampler.expectation` takes it.
        one_hot: float `[..., K]` or `[..., F, K]`.
        batch_ndims: how many axes of `one_hot` are surely the batch's, which the values must have; those that follow
            may be factors. 0 where one value for the whole batch will do.

    Returns:
        Of the shape of leading axes of `one_hot` without its last.

    Raises:
        ValueError: integers, or values of another shape. A size that is known only when a graph runs is asserted there.
    """
    values = tf.convert_to_tensor(objective(one_hot))
    if not values.dtype.is_floating:
        raise checks.invalid("objective to return floats", dtype=values.dtype.name, hint="Integers have no gradient.")
    rank, batch = values.shape.rank, one_hot.shape[:-1]
    rule = f"objective to return values of the batch shape {batch}, or of leading axes (one value per joint action)"
    if rank is None or rank > batch.rank or not values.shape.is_compatible_with(batch[:rank]):
        raise checks.invalid(rule, values_shape=tuple(values.shape))
    if rank < min(batch_ndims, batch.rank):
        raise checks.invalid(
            rule,
            values_shape=tuple(values.shape),
            hint="Every row needs a value of its own: reduce over the axes of one action, not over all. "
            "A single joint action of F factors is a batch of one: logits [1, F, K].",
        )
    if values.shape.is_fully_defined() and batch[:rank].is_fully_defined():
        return values
    # Before anything that would only say that two sizes differ.
    same = tf.debugging.assert_equal(tf.shape(values), tf.shape(one_hot)[:rank], f"Expected {rule}.")
    with tf.control_dependencies([same]):
        return tf.identity(values)


def mean_over_draws(values: list[tf.Tensor]) -> tf.Tensor:
    """The mean of equal-shaped tensors."""
    return values[0] if len(values) == 1 else tf.add_n(values) / tf.cast(len(values), values[0].dtype)


def joint(per_row: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Sums `[..., F]` over the axes `values` lacks: the log-probability of a joint action from those of its factors."""
    axes = list(range(values.shape.rank, per_row.shape.rank))
    return tf.reduce_sum(per_row, axes) if axes else per_row


def score_function_surrogate(values: tf.Tensor, advantages: tf.Tensor, log_prob: tf.Tensor) -> tf.Tensor:
    """Value `values`; gradient that of `values` plus stop_gradient(advantages) times that of `log_prob`."""
    log_prob = tf.cast(log_prob, values.dtype)
    return values + tf.stop_gradient(advantages) * (log_prob - tf.stop_gradient(log_prob))


def with_logits_gradient(values: tf.Tensor, gradient: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Value `values`, with its own gradients, and the given one to the logits: `[...]` from two `[..., (F,) K]`."""
    # Zero forward, except in a row of NaN, which it passes on.
    change = tf.reduce_sum(tf.stop_gradient(gradient) * (logits - tf.stop_gradient(logits)), -1)
    return values + tf.cast(joint(change, values), values.dtype)


def expand_like(values: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Values `[...]` in the dtype of `logits` `[..., (F,) K]`, with an axis of 1 for each that they lack."""
    ones = tf.ones([logits.shape.rank - values.shape.rank], tf.int32)
    return tf.reshape(tf.cast(values, logits.dtype), tf.concat([tf.shape(values), ones], 0))
