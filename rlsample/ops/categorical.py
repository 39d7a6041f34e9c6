"""The categorical distribution as functions of its logits: finite under masks, for logits anywhere in +-1e30."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from rlsample import checks
from rlsample.ops.cross_entropy import log_softmax, sparse_softmax_cross_entropy
from rlsample.ops.softmax import ILLEGAL, legal_logits
from rlsample.types import TensorLike


def log_prob(logits: TensorLike, action: TensorLike, mask: TensorLike | None = None) -> tf.Tensor:
    """Log-probability of integer actions under softmax(logits): the discrete mass, never a relaxed density.

    backward  1 at the action minus p

    Args:
        logits: float `[..., K]`.
        action: integer `[...]` in [0, K).
        mask: boolean, broadcasts to the logits, True = legal.

    Returns:
        `[...]` in the dtype of `logits`: finite for legal actions, -inf (with gradient 0) for illegal ones.

    Raises:
        ValueError: an action is known to be out of range, is not an integer, or has another batch shape.

    Examples:
        >>> logits = [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]
        >>> print(ops.log_prob(logits, [2, 0]).numpy())
        [-0.408 -1.099]
        >>> print(ops.log_prob(logits, [2, 0], mask=[True, False, True]).numpy())
        [-0.127 -0.693]
    """
    logits = tf.convert_to_tensor(logits)
    return -sparse_softmax_cross_entropy(checks.check_action("action", action, logits.shape), logits, mask)


def entropy(logits: TensorLike, mask: TensorLike | None = None) -> tf.Tensor:
    """Entropy -sum_k p_k log p_k of softmax(logits) over the legal categories, in nats.

    Args:
        logits: float `[..., K]`.
        mask: boolean, broadcasts to the logits, True = legal.

    Returns:
        `[...]` in the dtype of `logits`, in [0, log K].

    Raises:
        ValueError: logits that are no floats, or a mask that does not fit them.

    Examples:
        >>> print(ops.entropy([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]]).numpy())
        [1.099 0.08 ]
        >>> print(ops.entropy([0.0, 0.0, 0.0], mask=[True, True, False]).numpy().round(3))
        0.693
    """
    logits = tf.convert_to_tensor(logits)
    return tf.cast(_entropy(legal_logits(logits, mask)), logits.dtype)


@tf.custom_gradient
def _entropy(shifted: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """The entropy of logits from `legal_logits`: log sum_k exp(s_k) - <p, s>, with gradient p * (<p, s> - s)."""
    exponentials = tf.exp(shifted)
    total = tf.reduce_sum(exponentials, -1, keepdims=True)
    mean = tf.reduce_sum(exponentials * shifted, -1, keepdims=True) / total

    def backward(upstream: tf.Tensor) -> tf.Tensor:
        return exponentials * (mean - shifted) * (upstream[..., None] / total)

    return tf.squeeze(tf.math.log(total) - mean, -1), backward


def kl_divergence(p_logits: TensorLike, q_logits: TensorLike, mask: TensorLike | None = None) -> tf.Tensor:
    """Kullback-Leibler divergence sum_k p_k (log p_k - log q_k) between two categoricals with the same legal set.

    Args:
        p_logits: float `[..., K]`, of the distribution the expectation is under.
        q_logits: float `[..., K]`.
        mask: boolean, broadcasts to the logits, True = legal in both.

    Returns:
        `[...]` in the dtype of `p_logits`, non-negative up to rounding; +inf where p gives mass to a category that q
        holds illegal (a logit of -inf).

    Raises:
        ValueError: the two have another number of categories.

    Examples:
        >>> print(ops.kl_divergence([[0.0, 1.0], [3.0, 3.0]], [[1.0, 0.0], [0.0, 0.0]]).numpy())
        [0.462 0.   ]
    """
    p_logits, q_logits = tf.convert_to_tensor(p_logits), tf.convert_to_tensor(q_logits)
    if not p_logits.shape[-1:].is_compatible_with(q_logits.shape[-1:]):
        raise checks.invalid(
            "p_logits and q_logits to have one number of categories",
            p_logits=tuple(p_logits.shape),
            q_logits=tuple(q_logits.shape),
        )
    p_shifted, q_shifted = legal_logits(p_logits, mask), legal_logits(q_logits, mask)
    p_log_probs, p_probs = log_softmax(p_shifted)
    q_log_probs, _ = log_softmax(tf.cast(q_shifted, p_shifted.dtype))
    divergence = tf.reduce_sum(p_probs * (p_log_probs - q_log_probs), -1)
    uncovered = tf.reduce_any((p_probs > 0) & (q_shifted <= ILLEGAL), -1)
    return tf.cast(tf.where(uncovered, tf.constant(float("inf"), divergence.dtype), divergence), p_logits.dtype)


def mode(logits: TensorLike, mask: TensorLike | None = None) -> tf.Tensor:
    """The most probable legal category, int32 `[...]`; the first of equals. No gradient.

    Raises:
        ValueError: eagerly, for logits with NaN or +inf or a row with nothing legal (compiled code returns -1 there).

    Examples:
        >>> ops.mode([[0.0, 1.0, 2.0], [5.0, 5.0, 0.0]]).numpy()
        array([2, 0], dtype=int32)
        >>> ops.mode([0.0, 1.0, 2.0], mask=[True, True, False]).numpy()
        np.int32(1)
    """
    logits, mask = checks.check_logits(logits, mask)
    legal = legal_logits(logits, mask)
    action = tf.argmax(legal, -1, output_type=tf.int32)
    return tf.where(is_broken(legal), tf.constant(-1), action)


def is_broken(legal: tf.Tensor) -> tf.Tensor:
    """Flags `[...]` the rows of `legal_logits` that nothing can be drawn from."""
    return tf.math.is_nan(tf.reduce_sum(legal, -1))
