"""One expression forward, another backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike


def with_gradient_of(value: TensorLike, surrogate: TensorLike) -> tf.Tensor:
    """Returns `value`, bit for bit, and sends the whole gradient to `surrogate`.

        forward   value
        backward  g to `surrogate`, nothing to `value`

    `surrogate + stop_gradient(value - surrogate)` means the same, but rounds: where the surrogate is large, infinite or
    NaN, the value is lost. Here it is kept.

    Args:
        value: float or complex, any shape.
        surrogate: the same shape; a float of another width is cast to that of `value`. If both are integers or
            booleans, which carry no gradient, `value` is returned.

    Returns:
        A tensor of the shape and dtype of `value`.

    Raises:
        ValueError: the shapes differ, or only one of the two can carry a gradient. Where shapes are known only when a
            compiled graph runs, a difference raises InvalidArgumentError there.

    Examples:
        >>> x = tf.Variable([0.2, 2.7])
        >>> with tf.GradientTape() as tape:
        ...     y = ops.with_gradient_of(tf.sign(x), tf.tanh(x))
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [1. 1.] [0.961 0.018]
    """
    surrogate = tf.convert_to_tensor(surrogate, dtype_hint=getattr(value, "dtype", None))
    value = tf.convert_to_tensor(value, dtype_hint=surrogate.dtype)
    if not value.shape.is_compatible_with(surrogate.shape):
        raise checks.invalid(
            "value and surrogate to have the same shape",
            value=tuple(value.shape),
            surrogate=tuple(surrogate.shape),
            hint="A gradient has the shape of the value: broadcast or reshape one of them.",
        )
    if not _carries_gradient(value) and not _carries_gradient(surrogate):
        return value
    if value.dtype != surrogate.dtype and not (value.dtype.is_floating and surrogate.dtype.is_floating):
        raise checks.invalid(
            "value and surrogate to be of one dtype that carries a gradient",
            value=value.dtype.name,
            surrogate=surrogate.dtype.name,
            hint="Integers and booleans carry none: cast to a float first.",
        )
    return _with_gradient_of(value, tf.cast(surrogate, value.dtype))


def _carries_gradient(tensor: tf.Tensor) -> bool:
    return tensor.dtype.is_floating or tensor.dtype.is_complex


@tf.custom_gradient
def _with_gradient_of(value: tf.Tensor, surrogate: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    # Both are arguments, since TensorFlow searches what is closed over for variables and then demands their gradients.
    def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
        return None, upstream

    if value.shape.is_fully_defined() and surrogate.shape.is_fully_defined():
        return value, backward
    # Shapes known only at run time must not broadcast in silence. In a plain graph, which folds the select away, the
    # assert raises; under XLA, which drops the assert, the select does.
    tf.debugging.assert_equal(tf.shape(value), tf.shape(surrogate), "Expected value and surrogate of the same shape.")
    return tf.raw_ops.Select(condition=tf.constant(True), x=value, y=surrogate), backward


def surrogate_gradient(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function with the value of one function and the gradient of another.

        forward   forward(*args)
        backward  the gradient of backward(*args), at the same arguments

    Use it where one step of a longer computation should be differentiated as something else: noise that the gradient
    is to ignore, a step without a gradient, a branch too expensive to differentiate. For y = x^2 and noise
    u ~ U(0.9, 1.1),

        root = surrogate_gradient(lambda x, u: tf.sqrt(x**2 * u), lambda x, u: tf.sqrt(x**2))

    has the value sqrt(y u) and exactly the gradient sign(x), as if the noise were not there. Replacing the inner
    product by `stop_gradient(y * u - y) + y` gives the same value and another gradient, sign(x) / sqrt(u): y u is then
    differentiated as y, but the square root around it is still differentiated where it is evaluated, at the noisy
    y u. That trick is right only for the outermost step. This function replaces a whole step, wherever it stands. What
    follows the step is differentiated at the value that `forward` gave, by the chain rule; if it should not see the
    noise either, it belongs in both functions.

    Both functions run in every forward pass; compiled code drops the parts of `backward` that are not differentiated.
    Variables that `backward` reads receive gradients, those that only `forward` reads receive none (None). The second
    derivative is that of `backward`. Bias: value and gradient belong to two functions, which is the purpose.

    Args:
        forward: any number of tensors or structures of tensors -> a tensor or a structure of tensors.
        backward: same arguments, same structure and shapes; itself allowed to be made by this function. Leaves that
            are integers in both, such as the action beside a one-hot, are taken from `forward`.

    Returns:
        A function that takes what both take and returns what `forward` returns.

    Raises:
        ValueError: one of the two is not callable; on a call, their results differ in structure, shape or kind.

    Source:
        The construction z = g(x) + stop_gradient(f(x) - g(x)), folklore since Bengio, Léonard and Courville 2013
        (arXiv:1308.3432, straight-through), without its rounding.

    Examples:
        >>> sign = ops.surrogate_gradient(tf.sign, tf.tanh)
        >>> x = tf.Variable([0.2, -2.7])
        >>> with tf.GradientTape() as tape:
        ...     y = sign(x)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [ 1. -1.] [0.961 0.018]
    """
    for name, function in (("forward", forward), ("backward", backward)):
        if not callable(function):
            received: dict[str, Any] = {name: function}
            raise checks.invalid(f"{name} to be a function or a layer", **received)

    def apply(*args: Any, **kwargs: Any) -> Any:
        value, surrogate = forward(*args, **kwargs), backward(*args, **kwargs)
        try:
            tf.nest.assert_same_structure(value, surrogate)
        except (TypeError, ValueError) as error:
            raise checks.invalid(
                "forward and backward to return the same structure",
                forward=type(value).__name__,
                backward=type(surrogate).__name__,
                hint=str(error).split("\n", 1)[0],
            ) from error
        return tf.nest.map_structure(with_gradient_of, value, surrogate)

    return apply
