"""Softmax with its own backward pass: the product with the Jacobian, never the Jacobian."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike

# Stands in for the logit of an illegal category: below every legal one, and finite, so that 0 times it is 0 (with
# -inf, entropies, one-hot products and temperature gradients would be 0 * -inf = NaN).
ILLEGAL = -3e38
# exp(LOWEST / temperature) is 0 for every temperature below 1e17; LOWEST / temperature^2 is finite down to 1e-9.
LOWEST = -1e20


def compute_dtype(dtype: tf.DType) -> tf.DType:
    """The dtype to compute in: float64 for float64, float32 for everything narrower."""
    return tf.float64 if dtype == tf.float64 else tf.float32


def legal_logits(logits: TensorLike, mask: TensorLike | None = None, axis: int = -1) -> tf.Tensor:
    """Logits ready for arithmetic: at least float32, the largest of a row 0, illegal ones at the finite floor ILLEGAL.

    Entries whose mask is False or whose logit is -inf are illegal; they receive no gradient. The shift to 0 keeps exp
    from overflowing and changes nothing else. A row that nothing can be drawn from (NaN, +inf, nothing legal) holds NaN
    afterwards, so that nothing computed from it looks like a valid number.

    Args:
        logits: float, any shape with K categories along `axis`.
        mask: boolean, broadcasts to the logits, True = legal; None means all.
        axis: where the categories are.

    Returns:
        float32 (float64 for float64) of the shape of `logits`, equal to them up to a constant per row.

    Raises:
        ValueError: logits that are no floats, or an axis or mask that does not fit them.

    Examples:
        >>> print(ops.legal_logits([5.0, 6.0, 7.0], mask=[True, True, False]).numpy() > -1e30)
        [ True  True False]
        >>> print(ops.legal_logits([5.0, 6.0, 7.0]).numpy())
        [-2. -1.  0.]
    """
    return with_floor(shifted_logits(logits, mask, axis))


def shifted_logits(logits: TensorLike, mask: TensorLike | None = None, axis: int = -1) -> tf.Tensor:
    """As `legal_logits`, but with illegal entries at -inf: two passes less, for callers that can handle -inf."""
    logits = tf.convert_to_tensor(logits)
    if not logits.dtype.is_floating:
        # The result would be cut off to integers, in silence.
        raise checks.invalid("logits to be floating-point", dtype=logits.dtype.name)
    rank = logits.shape.rank
    if isinstance(axis, bool) or not isinstance(axis, int) or (rank is not None and not -rank <= axis < rank):
        raise checks.invalid("axis to be one of the axes of the logits", axis=axis, shape=logits.shape)
    dtype = compute_dtype(logits.dtype)
    logits = tf.cast(logits, dtype)
    if mask is not None:
        logits = tf.where(checks.check_mask(mask, logits.shape), logits, tf.constant(float("-inf"), dtype))
    largest = tf.stop_gradient(tf.reduce_max(logits, axis, keepdims=True))
    # Not +inf: it would make a row NaN at some entries and leave the others at -inf.
    return logits - tf.where(largest < float("inf"), largest, tf.constant(float("nan"), dtype))


def with_floor(shifted: tf.Tensor) -> tf.Tensor:
    """Moves what is illegal up to the floor ILLEGAL, where it has no gradient."""
    # Not tf.maximum: whether that passes NaN on depends on the device.
    floor = tf.constant(ILLEGAL, shifted.dtype)
    return tf.where(shifted < floor, floor, shifted)


def softmax(logits: TensorLike, axis: int = -1, mask: TensorLike | None = None) -> tf.Tensor:
    """Softmax whose backward pass is the O(K) product with the Jacobian.

        forward   p_k = exp(logits_k - max) / sum_j exp(logits_j - max), over the legal categories
        backward  p * (g - <p, g>)  for the upstream gradient g

    Illegal categories get probability exactly 0 and gradient exactly 0. Differentiable twice. The gradient of an
    unweighted sum of the probabilities is 0 for every input, since they always sum to 1.

    Args:
        logits: float, any shape, anywhere in +-1e30; K categories along `axis`.
        axis: where the categories are.
        mask: boolean, broadcasts to the logits, True = legal.

    Returns:
        Probabilities of the shape and dtype of `logits`; computed in float32 at least. A row with NaN, +inf or
        nothing legal is NaN.

    Raises:
        ValueError: logits that are no floats, or an axis or mask that does not fit them.

    Examples:
        >>> print(ops.softmax([0.0, 1.0, 2.0]).numpy())
        [0.09  0.245 0.665]
        >>> print(ops.softmax([0.0, 1.0, 2.0], mask=[True, True, False]).numpy())
        [0.269 0.731 0.   ]
        >>> print(ops.softmax([-1e30, 0.0, 1e30]).numpy())
        [0. 0. 1.]
    """
    logits = tf.convert_to_tensor(logits)
    shifted = legal_logits(logits, mask, axis)
    probs = normalise(shifted, axis)
    return tf.cast(with_softmax_gradient(probs, shifted, probs, axis), logits.dtype)


def tempered_softmax(logits: tf.Tensor, temperature: tf.Tensor | None = None) -> tf.Tensor:
    """softmax(logits / temperature) along the last axis, for logits that come from `legal_logits`.

        backward  to logits (1 / temperature) p * (g - <p, g>); to temperature -<that, logits> / temperature

    Args:
        logits: float32 or float64 `[..., K]` with row maximum 0.
        temperature: a tensor of the same dtype that broadcasts to the logits; None means 1.

    Returns:
        Probabilities `[..., K]`; finite, also in the gradients, for every temperature above 1e-9.

    Examples:
        >>> logits = ops.legal_logits([0.0, 1.0, 2.0])
        >>> print(ops.tempered_softmax(logits, tf.constant(0.5)).numpy())
        [0.016 0.117 0.867]
        >>> print(ops.tempered_softmax(logits, tf.constant(5.0)).numpy())
        [0.269 0.329 0.402]
    """
    tempered = temper(logits, temperature)
    probs = normalise(tempered)
    return with_softmax_gradient(probs, tempered, probs)


def temper(logits: tf.Tensor, temperature: tf.Tensor | None = None) -> tf.Tensor:
    """Divides logits that come from `legal_logits` by a temperature; illegal ones stay far enough below to be 0.

    Examples:
        >>> ops.temper(ops.legal_logits([0.0, 1.0, 2.0]), tf.constant(0.5)).numpy()
        array([-4., -2.,  0.], dtype=float32)
    """
    if temperature is None:
        return logits
    return tf.where(logits < LOWEST, tf.constant(LOWEST, logits.dtype), logits) / temperature


def normalise(logits: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """softmax(logits) for logits with row maximum 0, differentiated as the operations it is made of.

    For values that take their gradient from `with_softmax_gradient`, or have none.

    Examples:
        >>> print(ops.normalise(ops.legal_logits([0.0, 1.0, 2.0])).numpy())
        [0.09  0.245 0.665]
    """
    # The maximum is 0 already: tf.nn.softmax would look for it once more.
    exponentials = tf.exp(logits)
    return exponentials * tf.math.reciprocal(tf.reduce_sum(exponentials, axis, keepdims=True))


def with_softmax_gradient(value: tf.Tensor, logits: tf.Tensor, probs: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """Returns `value`, bit for bit, with the gradient of a softmax.

        forward   value
        backward  p * (g - <p, g>) to `logits`; nothing to `value` and `probs`

    Args:
        value: float `[..., K]`: the probabilities themselves, or a one-hot drawn from them.
        logits: float `[..., K]`.
        probs: float `[..., K]`, p = softmax(logits), for the product and for second derivatives.
        axis: where the categories are.

    Examples:
        >>> logits = tf.Variable([0.0, 1.0, 2.0])
        >>> with tf.GradientTape() as tape:
        ...     one_hot = ops.with_softmax_gradient(tf.constant([0.0, 0.0, 1.0]), logits, ops.softmax(logits))
        ...     value = tf.reduce_sum(one_hot * [1.0, 0.0, 4.0])
        >>> print(value.numpy(), tape.gradient(value, logits).numpy())
        4.0 [-0.158 -0.673  0.831]
    """
    return _with_softmax_gradient(axis)(value, logits, probs)


# Cached, since decorating costs as much as several operations.
@functools.cache
def _with_softmax_gradient(axis: int) -> Callable[..., tf.Tensor]:
    # Tensors that the backward pass needs are arguments: one closed over would be searched for variables.
    @tf.custom_gradient
    def attach(value: tf.Tensor, logits: tf.Tensor, probs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return value, lambda upstream: (None, softmax_vjp(probs, upstream, axis), None)

    return attach


def softmax_vjp(probs: TensorLike, upstream: TensorLike, axis: int = -1) -> tf.Tensor:
    """Product of the softmax Jacobian at `probs` with `upstream`: p * (g - <p, g>), in O(K) memory.

    The Jacobian diag(p) - p p^T is symmetric, so this is the backward and the forward product alike. The result sums
    to 0 along `axis`, and adding a constant to `upstream` does not change it.

    Args:
        probs: float `[..., K]`, the output of a softmax.
        upstream: float `[..., K]`, the gradient with respect to `probs`.
        axis: where the categories are.

    Returns:
        float `[..., K]`, the gradient with respect to the logits.

    Examples:
        >>> print(ops.softmax_vjp(ops.softmax([0.0, 1.0, 2.0]), [1.0, 0.0, 4.0]).numpy())
        [-0.158 -0.673  0.831]
    """
    probs = tf.convert_to_tensor(probs)
    upstream = tf.cast(upstream, probs.dtype)
    return probs * (upstream - tf.reduce_sum(probs * upstream, axis, keepdims=True))


def softmax_jacobian(logits: TensorLike) -> tf.Tensor:
    """The Jacobian of softmax, diag(p) - p p^T: `[..., K]` -> `[..., K, K]`.

    For inspection: a gradient needs only its product with a vector, `softmax_vjp`, at 1/K of the memory. It is
    symmetric, and each of its rows sums to 0.

    Examples:
        >>> print(ops.softmax_jacobian([0.0, 1.0, 2.0]).numpy())
        [[ 0.082 -0.022 -0.06 ]
         [-0.022  0.185 -0.163]
         [-0.06  -0.163  0.223]]
    """
    probs = softmax(logits)
    outer = -probs[..., :, None] * probs[..., None, :]
    return tf.linalg.set_diag(outer, probs * (1 - probs))
