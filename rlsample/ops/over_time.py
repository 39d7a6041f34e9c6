"""What operations over many steps share: the loop that keeps every state, and the check of what they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from rlsample.types import TensorLike


def going_on(starts: TensorLike, dtype: tf.DType) -> tf.Tensor:
    """1 where an episode goes on, 0 where one begins: bool `[T, B]` -> float `[T, B, 1]`."""
    return tf.cast(~tf.cast(starts, tf.bool), dtype)[..., None]


def fits(gates: int, inputs: tf.Tensor, kernel: tf.Tensor, states: Sequence[tf.Tensor], goes_on: tf.Tensor) -> bool:
    """Whether shapes are inputs `[T, B, G H]`, kernel `[H, G H]`, states `[B, H]` each and goes_on `[T, B, 1]`.

    T and H have to be known.
    """
    if inputs.shape.rank != 3 or inputs.shape[0] is None or kernel.shape.rank != 2 or kernel.shape[0] is None:
        return False
    steps, rows, width = inputs.shape
    units = kernel.shape[0]
    fitting = [kernel.shape[1] == width == gates * units, goes_on.shape.is_compatible_with([steps, rows, 1])]
    return all(fitting + [state.shape.is_compatible_with([rows, units]) for state in states])


def shapes_of(goes_on: tf.Tensor, **tensors: tf.Tensor) -> dict[str, Any]:
    """The shapes by name, for an error."""
    return {name: tuple(tensor.shape) for name, tensor in (tensors | {"starts": goes_on[..., 0]}).items()}


def before(state: tf.Tensor, states: tf.Tensor, goes_on: tf.Tensor) -> tf.Tensor:
    """What each step keeps of the state before it: `[T, B, H]`, of the first `[B, H]` and those after the steps."""
    return tf.concat([state[None], states[:-1]], 0) * goes_on


def stack_over(steps: range, function: Callable[[tf.Tensor, Any], Any], state: Any) -> Any:
    """All states of state = function(step, state), each in the row of its step.

    Args:
        steps: int32 scalars that `function` is called with, in turn: all of 0 .. T - 1, upwards or downwards.
        function: (step, state) -> state.
        state: before the first of them, a structure of tensors `[B, H]`.

    Returns:
        The same structure of tensors `[T, B, H]`.
    """

    def body(count: tf.Tensor, state: Any, rows: Any) -> tuple[tf.Tensor, Any, Any]:
        index = steps.start + steps.step * count
        state = function(index, state)
        # Not a TensorArray, which XLA does not compile for several members at once.
        written = tf.nest.map_structure(
            lambda row, kept: tf.tensor_scatter_nd_update(kept, [[index]], row[None]), state, rows
        )
        return count + 1, state, written

    rows = tf.nest.map_structure(lambda part: tf.tile(tf.zeros_like(part)[None], [len(steps), 1, 1]), state)
    loop = (tf.constant(0), state, rows)
    return tf.while_loop(lambda count, *_: count < len(steps), body, loop, maximum_iterations=len(steps))[2]


def later(x: tf.Tensor, shift: int) -> tf.Tensor:
    """x_{t + shift}, and 0 past the end: `[T, ...]` -> `[T, ...]`.

    Examples:
        >>> from rlsample.ops.over_time import later
        >>> print(later(tf.constant([1.0, 2.0, 3.0]), 1).numpy())
        [2. 3. 0.]
    """
    return tf.concat([x[shift:], tf.zeros_like(x[:shift])], 0)
