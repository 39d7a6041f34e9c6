"""Softmax followed by cross-entropy, fused: the gradient is p - y, with no Jacobian and no second softmax."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from rlsample import checks
from rlsample.ops.softmax import shifted_logits, softmax_vjp, with_floor
from rlsample.types import TensorLike


def softmax_cross_entropy(labels: TensorLike, logits: TensorLike, mask: TensorLike | None = None) -> tf.Tensor:
    """Cross-entropy -<y, log softmax(logits)> between label probabilities and logits.

        backward  to logits p * sum(y) - y, which is p - y for labels that sum to 1; to labels -log p

    A row of zero labels has value 0 and gradient 0 (TensorFlow's fused op returns gradient p there).

    Args:
        labels: float `[..., K]`, non-negative; need not sum to 1.
        logits: float `[..., K]`, anywhere in +-1e30.
        mask: boolean, broadcasts to the logits, True = legal. Only legal categories enter the sum, so a label on an
            illegal one costs +inf, with gradient 0 to the logits.

    Returns:
        `[...]` in the dtype of `logits`. A row with NaN, +inf or nothing legal is NaN.

    Raises:
        ValueError: labels of another shape than the logits, or logits that are no floats.

    Examples:
        >>> logits, labels = tf.Variable([0.0, 1.0, 2.0]), [0.0, 0.5, 0.5]
        >>> with tf.GradientTape() as tape:
        ...     loss = ops.softmax_cross_entropy(labels, logits)
        >>> print(loss.numpy().round(3), tape.gradient(loss, logits).numpy())
        0.908 [ 0.09  -0.255  0.165]
    """
    logits = tf.convert_to_tensor(logits)
    shifted = shifted_logits(logits, mask)
    labels = tf.cast(labels, shifted.dtype)
    if not labels.shape.is_compatible_with(shifted.shape):
        raise checks.invalid(
            "labels to have the shape of the logits", labels=tuple(labels.shape), logits=tuple(logits.shape)
        )
    return tf.cast(_dense(labels, shifted), logits.dtype)


@tf.custom_gradient
def _dense(labels: tf.Tensor, shifted: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    exponentials = tf.exp(shifted)
    total = tf.reduce_sum(exponentials, -1, keepdims=True)
    weight = tf.reduce_sum(labels, -1, keepdims=True)
    # An illegal category, -inf, counts if it has a label and only then. In a row with NaN the total is NaN.
    chosen = tf.reduce_sum(tf.math.multiply_no_nan(shifted, labels), -1, keepdims=True)
    value = weight * tf.math.log(total) - chosen

    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        upstream = upstream[..., None]
        to_labels = upstream * (tf.math.log(total) - with_floor(shifted))
        return to_labels, _if_possible(chosen, upstream) * (exponentials * (weight / total) - labels)

    return tf.squeeze(value, -1), backward


def _if_possible(chosen: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient of each row, or 0 if the row costs +inf because its label is illegal."""
    return tf.where(chosen > float("-inf"), upstream, tf.zeros_like(upstream))


def sparse_softmax_cross_entropy(labels: TensorLike, logits: TensorLike, mask: TensorLike | None = None) -> tf.Tensor:
    """Cross-entropy -log softmax(logits)[label] for integer labels.

        backward  p with 1 subtracted at the label

    Args:
        labels: integer `[...]` in [0, K).
        logits: float `[..., K]`, anywhere in +-1e30.
        mask: boolean, broadcasts to the logits, True = legal. An illegal label costs +inf, with gradient 0.

    Returns:
        `[...]` in the dtype of `logits`. A row with NaN, +inf or nothing legal is NaN, and so is (in compiled code)
        one whose label is out of range.

    Raises:
        ValueError: a label is known to be out of range, is not an integer, or has another batch shape.

    Examples:
        >>> print(ops.sparse_softmax_cross_entropy([2, 0], [[0.0, 1.0, 2.0], [0.0, 0.0, 1e30]]).numpy())
        [4.076e-01 1.000e+30]
    """
    logits = tf.convert_to_tensor(logits)
    labels = checks.check_action("labels", labels, logits.shape)
    return tf.cast(_sparse(labels, shifted_logits(logits, mask)), logits.dtype)


@tf.custom_gradient
def _sparse(labels: tf.Tensor, shifted: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    categories = tf.shape(shifted)[-1]
    exponentials = tf.exp(shifted)
    total = tf.reduce_sum(exponentials, -1, keepdims=True)
    one_hot = tf.one_hot(labels, categories, dtype=shifted.dtype)
    chosen = tf.reduce_sum(tf.math.multiply_no_nan(shifted, one_hot), -1, keepdims=True)
    value = tf.squeeze(tf.math.log(total) - chosen, -1)
    in_range = (labels >= 0) & (labels < categories)
    value = tf.where(in_range, value, tf.constant(float("nan"), shifted.dtype))

    def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
        upstream = _if_possible(chosen, upstream[..., None])
        return None, upstream * (exponentials * tf.math.reciprocal(total) - one_hot)

    return value, backward


@tf.custom_gradient
def log_softmax(shifted: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
    """Log-probabilities and probabilities `[..., K]` of logits from `legal_logits`; finite for illegal entries too.

    backward  g - p * sum(g) for the first, p * (h - <p, h>) for the second
    """
    exponentials = tf.exp(shifted)
    total = tf.reduce_sum(exponentials, -1, keepdims=True)
    log_probs, probs = shifted - tf.math.log(total), exponentials / total

    def backward(to_log_probs: tf.Tensor, to_probs: tf.Tensor) -> tf.Tensor:
        centred = to_log_probs - probs * tf.reduce_sum(to_log_probs, -1, keepdims=True)
        return centred + softmax_vjp(probs, to_probs)

    return (log_probs, probs), backward
