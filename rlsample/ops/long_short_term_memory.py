"""A long short-term memory over many steps, with a gradient that is quick in compiled programs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample import checks
from rlsample.ops.over_time import before, fits, going_on, later, shapes_of, stack_over
from rlsample.types import TensorLike


def long_short_term_memory(
    inputs: TensorLike,
    kernel: TensorLike,
    hidden: TensorLike,
    cell: TensorLike,
    starts: TensorLike,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The states of a long short-term memory (LSTM), Keras's, over T steps.

        k_t, m_t = 0 where an episode starts at t, else h_{t-1}, c_{t-1}
        (i, f, n, o) = inputs_t + k_t U
        c_t = sigmoid(f) m_t + sigmoid(i) tanh(n)
        h_t = sigmoid(o) tanh(c_t)

    Backward, one loop over time carries dh and dc alone; the gradient of U is one matrix product of all steps after it,
    where automatic differentiation makes one for each step. Any number of derivatives.

    Args:
        inputs: float `[T, B, 4 H]`, the products of what comes in with the input kernel, the bias added; input gate,
            forget gate, candidate, output gate, as Keras orders them. T known when traced.
        kernel: U, float `[H, 4 H]`, the recurrent kernel.
        hidden: h before the first step, float `[B, H]`.
        cell: c before the first step, float `[B, H]`.
        starts: bool `[T, B]`, whether an episode begins at the step, so that nothing before it counts.

    Returns:
        (h, c), float `[T, B, H]` each.

    Raises:
        ValueError: shapes that do not fit each other.

    Source: Hochreiter and Schmidhuber (1997), Long short-term memory, with the forget gate of Gers, Schmidhuber and
        Cummins (2000), in the form of `keras.layers.LSTM`.

    Examples:
        >>> inputs, kernel, nothing = tf.ones([4, 1, 8]), tf.zeros([2, 8]), tf.zeros([1, 2])  # 4 steps, 2 units
        >>> starts = [[False], [False], [True], [False]]
        >>> hidden, cells = ops.long_short_term_memory(inputs, kernel, nothing, nothing, starts)
        >>> print(cells[:, 0, 0].numpy())  # the third step begins an episode: what came before is forgotten
        [0.557 0.964 0.557 0.964]
    """
    inputs = tf.convert_to_tensor(inputs)
    kernel, hidden, cell = (tf.convert_to_tensor(each, inputs.dtype) for each in (kernel, hidden, cell))
    goes_on = going_on(starts, inputs.dtype)
    if not fits(4, inputs, kernel, [hidden, cell], goes_on):
        rule = "inputs [T, B, 4 H], kernel [H, 4 H], hidden [B, H], cell [B, H] and starts [T, B]"
        raise checks.invalid(rule, **shapes_of(goes_on, inputs=inputs, kernel=kernel, hidden=hidden, cell=cell))
    return _memory(inputs, kernel, hidden, cell, goes_on)


@tf.custom_gradient
def _memory(inputs: tf.Tensor, kernel: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor, goes_on: tf.Tensor) -> Any:
    # An array for each gate, made before the loop: XLA takes more than twice as long for a step that reads its row of
    # one array of all gates and splits it there.
    incoming = tf.split(inputs, 4, -1)

    def step(index: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        kept, remembered = (part * goes_on[index] for part in state)
        enter, keep, new, show = _gates([gate[index] for gate in incoming], tf.split(kept @ kernel, 4, -1))
        after = keep * remembered + enter * new
        return show * tf.tanh(after), after

    hiddens, cells = stack_over(range(inputs.shape[0]), step, (hidden, cell))

    def backward(by_hiddens: tf.Tensor, by_cells: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
        # What every step computed, for all steps at once: quicker than to have stored it step by step.
        kept, remembered = before(hidden, hiddens, goes_on), before(cell, cells, goes_on)
        enter, keep, new, show = _gates(incoming, tf.split(tf.tensordot(kept, kernel, 1), 4, -1))
        shown = tf.tanh(cells)
        # The slopes of c_t and of h_t, by what each of them depends on.
        to_enter, to_keep, to_new = new * enter * (1 - enter), remembered * keep * (1 - keep), enter * (1 - new * new)
        to_show, to_cell = shown * show * (1 - show), show * (1 - shown * shown)
        turned = tf.transpose(kernel)

        def step(index: tf.Tensor, following: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            """From the gradients of k_{t+1} and m_{t+1} to those of k_t and m_t."""
            by_hidden = following[0] + by_hiddens[index]
            by_cell = following[1] + by_cells[index] + by_hidden * to_cell[index]
            by_gates = [by_cell * slope[index] for slope in (to_enter, to_keep, to_new)]
            by_kept = tf.concat([*by_gates, by_hidden * to_show[index]], -1) @ turned
            return by_kept * goes_on[index], by_cell * keep[index] * goes_on[index]

        nothing = tf.zeros_like(hidden), tf.zeros_like(cell)
        hidden_later, cell_later = stack_over(range(inputs.shape[0])[::-1], step, nothing)
        by_hidden = by_hiddens + later(hidden_later, 1)
        by_cell = by_cells + later(cell_later, 1) + by_hidden * to_cell
        by_inputs = tf.concat([by_cell * to_enter, by_cell * to_keep, by_cell * to_new, by_hidden * to_show], -1)
        by_kernel = tf.tensordot(kept, by_inputs, [[0, 1], [0, 1]])
        return by_inputs, by_kernel, hidden_later[0], cell_later[0], None

    return (hiddens, cells), backward


def _gates(incoming: list[tf.Tensor], recurrent: list[tf.Tensor]) -> tuple[tf.Tensor, ...]:
    """Input gate, forget gate, candidate and output gate."""
    enter, keep, new, show = (part + again for part, again in zip(incoming, recurrent, strict=True))
    return tf.sigmoid(enter), tf.sigmoid(keep), tf.tanh(new), tf.sigmoid(show)
