"""Softmax followed by cross-entropy, fused: the gradient is p - y, with no Jacobian and no second softmax."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from rlsample import checks
from rlsample.ops.softmax import ILLEGAL, legal_logits, softmax_vjp
from rlsample.types import TensorLike


def softmax_cross_entropy(labels: TensorLike, logits: TensorLike, mask: TensorLike | None = None) -> tf.Tensor:
    """Cross-entropy -<y, log softmax(logits)> between label probabilities and logits.

        backward  to logits p * sum(y) - y, which is p - y for labels that sum to 1; to labels -log p

    A row of zero labels has value 0 and gradient 0 (TensorFlow's fused op returns gradient p there).

    Args:
        labels: float `[..., K]`, non-negative; need not sum to 1.
        logits: float `[..., K]`, anywhere in +-1e30.
        mask: boolean, broadcasts to the logits, True = legal. Legal categories only enter the sum, so a label on an
            illegal one costs +inf.

    Returns:
        `[...]` in the dtype of `logits`. A row with NaN, +inf or nothing legal is NaN.
    """
    logits = tf.convert_to_tensor(logits)
    shifted = legal_logits(logits, mask)
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
    illegal_label = (labels > 0) & (shifted <= ILLEGAL)
    products = tf.where(illegal_label, tf.constant(float("-inf"), labels.dtype), labels * shifted)
    value = weight * tf.math.log(total) - tf.reduce_sum(products, -1, keepdims=True)

    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        upstream = upstream[..., None]
        return upstream * (tf.math.log(total) - shifted), upstream * (exponentials * (weight / total) - labels)

    return tf.squeeze(value, -1), backward


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
    """
    logits = tf.convert_to_tensor(logits)
    labels = checks.check_action("labels", labels, logits.shape)
    shifted = legal_logits(logits, mask)
    return tf.cast(_sparse(labels)(shifted), logits.dtype)


def _sparse(labels: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.custom_gradient
    def forward(shifted: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        categories = tf.shape(shifted)[-1]
        exponentials = tf.exp(shifted)
        total = tf.reduce_sum(exponentials, -1, keepdims=True)
        one_hot = tf.one_hot(labels, categories, dtype=shifted.dtype)
        chosen = tf.reduce_sum(one_hot * shifted, -1)
        legal = chosen > ILLEGAL
        # A row with NaN has a total of NaN.
        value = tf.math.log(tf.squeeze(total, -1)) - chosen
        value = tf.where(chosen <= ILLEGAL, tf.constant(float("inf"), shifted.dtype), value)
        in_range = (labels >= 0) & (labels < categories)
        value = tf.where(in_range, value, tf.constant(float("nan"), shifted.dtype))

        def backward(upstream: tf.Tensor) -> tf.Tensor:
            # The factor is a row's: an illegal label has no gradient.
            upstream = tf.where(legal, upstream, tf.zeros_like(upstream))[..., None]
            return upstream * (exponentials * tf.math.reciprocal(total) - one_hot)

        return value, backward

    return forward


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
