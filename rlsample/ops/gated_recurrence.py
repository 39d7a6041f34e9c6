"""A gated recurrent unit over many steps, with a gradient that is quick in compiled programs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample import checks
from rlsample.ops.over_time import before, fits, going_on, later, shapes_of, stack_over
from rlsample.types import TensorLike


def gated_recurrence(
    inputs: TensorLike,
    kernel: TensorLike,
    bias: TensorLike,
    state: TensorLike,
    starts: TensorLike,
) -> tf.Tensor:
    """The states of a gated recurrent unit (GRU): Keras's, with the reset gate after the product, over T steps.

        k_t = 0 where an episode starts at t, else h_{t-1}
        (z, r, c) = k_t U + b,  (x_z, x_r, x_n) = inputs_t
        z = sigmoid(x_z + z),  r = sigmoid(x_r + r),  n = tanh(x_n + r c)
        h_t = z k_t + (1 - z) n

    Backward, one loop over time carries dh alone; the gradient of U is one matrix product of all steps after it, where
    automatic differentiation makes one for each step. Any number of derivatives.

    Args:
        inputs: float `[T, B, 3 H]`, the products of what comes in with the input kernel, its bias added; update gate,
            reset gate, candidate, as Keras orders them. T known when traced.
        kernel: U, float `[H, 3 H]`, the recurrent kernel.
        bias: b, float `[3 H]`, the recurrent bias.
        state: h before the first step, float `[B, H]`.
        starts: bool `[T, B]`, whether an episode begins at the step, so that nothing before it counts.

    Returns:
        h, float `[T, B, H]`.

    Raises:
        ValueError: shapes that do not fit each other.

    Source: Cho et al. (2014), arXiv 1406.1078, in the form of `keras.layers.GRU(reset_after=True)`.

    Examples:
        >>> inputs, kernel, bias = tf.ones([4, 1, 6]), tf.zeros([2, 6]), tf.zeros([6])  # 4 steps, 2 units
        >>> states = ops.gated_recurrence(inputs, kernel, bias, tf.zeros([1, 2]), [[False], [False], [True], [False]])
        >>> print(states[:, 0, 0].numpy())  # the third step begins an episode: what came before is forgotten
        [0.205 0.355 0.205 0.355]
    """
    inputs = tf.convert_to_tensor(inputs)
    kernel, bias, state = (tf.convert_to_tensor(each, inputs.dtype) for each in (kernel, bias, state))
    goes_on = going_on(starts, inputs.dtype)
    if not (fits(3, inputs, kernel, [state], goes_on) and bias.shape == inputs.shape[2:]):
        rule = "inputs [T, B, 3 H], kernel [H, 3 H], bias [3 H], state [B, H] and starts [T, B]"
        raise checks.invalid(rule, **shapes_of(goes_on, inputs=inputs, kernel=kernel, bias=bias, state=state))
    return _recurrence(inputs, kernel, bias, state, goes_on)


@tf.custom_gradient
def _recurrence(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, state: tf.Tensor, goes_on: tf.Tensor) -> Any:
    # An array for each gate, made before the loop: XLA takes more than twice as long for a step that reads its row of
    # one array of all gates and splits it there.
    incoming = tf.split(inputs, 3, -1)

    def step(index: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        kept = state * goes_on[index]
        recurrent = tf.split(kept @ kernel + bias, 3, -1)
        update, _, new = _gates([gate[index] for gate in incoming], recurrent)
        return update * kept + (1 - update) * new

    states = stack_over(range(inputs.shape[0]), step, state)

    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
        # What every step computed, for all steps at once: quicker than to have stored it step by step.
        kept = before(state, states, goes_on)
        recurrent = tf.split(tf.tensordot(kept, kernel, 1) + bias, 3, -1)
        update, reset, new = _gates(incoming, recurrent)
        # The slopes of h_t, by what each of its parts depends on.
        to_new = (1 - update) * (1 - new * new)
        to_update = (kept - new) * update * (1 - update)
        to_reset = to_new * recurrent[2] * reset * (1 - reset)
        slopes = to_update, to_reset, to_new * reset
        turned = tf.transpose(kernel)

        def step(index: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
            """From the gradient of k_{t+1} to that of k_t."""
            here = following + upstream[index]
            by_recurrent = tf.concat([here * slope[index] for slope in slopes], -1)
            return (here * update[index] + by_recurrent @ turned) * goes_on[index]

        from_later = stack_over(range(inputs.shape[0])[::-1], step, tf.zeros_like(state))
        here = upstream + later(from_later, 1)
        by_update, by_reset, by_candidate = (here * slope for slope in slopes)
        by_recurrent = tf.concat([by_update, by_reset, by_candidate], -1)
        by_inputs = tf.concat([by_update, by_reset, here * to_new], -1)
        by_kernel = tf.tensordot(kept, by_recurrent, [[0, 1], [0, 1]])
        return by_inputs, by_kernel, tf.reduce_sum(by_recurrent, [0, 1]), from_later[0], None

    return states, backward


def _gates(incoming: list[tf.Tensor], recurrent: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Update gate, reset gate and new state."""
    update, reset = (tf.sigmoid(part + again) for part, again in zip(incoming[:2], recurrent[:2], strict=True))
    return update, reset, tf.tanh(incoming[2] + reset * recurrent[2])
