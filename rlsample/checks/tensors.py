"""The rules for tensors: seeds, temperatures, masks, logits, actions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample.checks.wording import check_positive, invalid


def static_value(tensor: tf.Tensor) -> np.ndarray | None:
    """Returns the value of a tensor that is known now (eager, or a constant of a graph), else None.

    Examples:
        >>> from rlsample import checks
        >>> checks.static_value(tf.constant([1.0, 2.0]))
        array([1., 2.], dtype=float32)
    """
    if isinstance(tensor, tf.Variable):
        tensor = tensor.value() if tf.executing_eagerly() else tensor
    return tensor.numpy() if hasattr(tensor, "numpy") and tf.executing_eagerly() else tf.get_static_value(tensor)


def check_seed(seed: Any) -> tf.Tensor:
    """Returns a stateless seed as int32 `[2]`.

    Takes a pair of integers (tensor, array, list) or one Python integer of at most 64 bits, which is split into its
    two 32-bit words.

    Raises:
        ValueError: anything else.

    Examples:
        >>> from rlsample import checks
        >>> checks.check_seed((0, 1)).numpy(), checks.check_seed(2**32 + 5).numpy()
        (array([0, 1], dtype=int32), array([5, 1], dtype=int32))
    """
    if isinstance(seed, tf.Tensor) and seed.dtype == tf.int32 and seed.shape == (2,):
        return seed
    rule, hint = "seed to be a pair of integers (a stateless int32[2])", "For example seed=(0, 1)."
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if not -(2**63) <= seed < 2**64:
            raise invalid("an integer seed to fit in 64 bits", seed=seed, hint=hint)
        seed = [int(seed) & 0xFFFFFFFF, (int(seed) >> 32) & 0xFFFFFFFF]
    elif not hasattr(seed, "shape") and not isinstance(seed, (list, tuple)):
        raise invalid(rule, seed=seed, hint=hint)
    if tf.is_tensor(seed) or hasattr(seed, "__tf_tensor__"):
        seed = tf.convert_to_tensor(seed)
        if not seed.dtype.is_integer or not seed.shape.is_compatible_with((2,)):
            raise invalid(rule, dtype=seed.dtype.name, shape=tuple(seed.shape), hint=hint)
        return tf.ensure_shape(tf.cast(seed, tf.int32), (2,))
    if isinstance(seed, (list, tuple)) and any(tf.is_tensor(word) for word in seed):
        return check_seed(tf.stack(seed))
    words = np.asarray(seed)
    if words.shape != (2,) or not np.issubdtype(words.dtype, np.integer):
        raise invalid(rule, seed=seed, hint=hint)
    # Wrap into 32 bits: only the bits matter to a counter-based generator.
    return tf.constant((words.astype(object) & 0xFFFFFFFF).astype(np.uint32).view(np.int32))


def check_temperature(temperature: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Returns a temperature as a tensor of `dtype`.

    A value known now (a number, an eager tensor or variable) must be finite and above zero. One known only when a
    graph runs is asserted there; where asserts vanish (XLA) a bad one becomes NaN, so that nothing computed from it
    passes for a number.

    Raises:
        ValueError: the temperature is known and not a finite number above zero.

    Examples:
        >>> from rlsample import checks
        >>> checks.check_temperature(0.5).numpy()
        np.float32(0.5)
        >>> checks.check_temperature([0.5, 0.0])
        Traceback (most recent call last):
            ...
        ValueError: Expected every temperature to be a finite number > 0. Received: ...
    """
    if isinstance(temperature, (int, float)) and not isinstance(temperature, bool):
        return tf.constant(check_positive("temperature", temperature), dtype)
    if temperature is None or isinstance(temperature, (bool, str)):
        raise invalid("temperature to be a number or a tensor", temperature=temperature)
    value = tf.convert_to_tensor(temperature)
    if not (value.dtype.is_floating or value.dtype.is_integer):
        raise invalid("temperature to be a number or a tensor of floats", temperature=temperature)
    value = tf.cast(value, dtype)
    known = static_value(value)
    if known is not None:
        good = np.isfinite(known) & (known > 0)
        if not np.all(good):
            raise invalid("every temperature to be a finite number > 0", temperature=np.asarray(known)[~good][0])
        return value
    good = tf.math.is_finite(value) & (value > 0)
    tf.debugging.Assert(tf.reduce_all(good), ["Expected every temperature to be a finite number > 0. Received:", value])
    return tf.where(good, value, tf.constant(float("nan"), dtype))


def check_mask(mask: Any, shape: tf.TensorShape) -> tf.Tensor | None:
    """Returns a mask (True = legal) as a boolean tensor that broadcasts to `shape`; None stays None.

    Booleans and integers of value 0 and 1 (Gymnasium's int8 masks) are taken.

    Raises:
        ValueError: another dtype, a value other than 0 and 1, or a shape that does not broadcast to `shape`.

    Examples:
        >>> from rlsample import checks
        >>> checks.check_mask([1, 0, 1], tf.TensorShape([2, 3])).numpy()
        array([ True, False,  True])
    """
    if mask is None:
        return None
    mask = tf.convert_to_tensor(mask)
    hint = "True or 1 marks a legal category."
    if mask.dtype != tf.bool:
        if not mask.dtype.is_integer:
            raise invalid("mask to be boolean (or integers 0 and 1)", dtype=mask.dtype.name, hint=hint)
        known = static_value(mask)
        if known is not None and not np.isin(known, (0, 1)).all():
            value = known[~np.isin(known, (0, 1))][0]
            raise invalid("an integer mask to hold only 0 and 1", value=value, hint=hint)
        mask = tf.cast(mask, tf.bool)
    try:
        combined = tf.broadcast_static_shape(mask.shape, shape)
    except ValueError:
        combined = None
    if combined is None or not combined.is_compatible_with(shape) or mask.shape.rank == 0:
        raise invalid(f"mask to have the shape of the logits, {shape}", mask_shape=tuple(mask.shape), hint=hint)
    return mask


def check_logits(logits: Any, mask: Any = None) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Checks the input of every sampler and head; returns logits as a float tensor and the mask as booleans.

    A row is usable if it has no NaN and no +inf and at least one legal category with a logit above -inf. Eager code
    raises for the first row that is not; graph code asserts; XLA drops asserts, and the row then comes out as
    NaN (see `ops.legal_logits`) and as action -1.

    Raises:
        ValueError: logits of another rank or dtype, no categories, a bad mask, or an unusable row.

    Examples:
        >>> from rlsample import checks
        >>> logits, mask = checks.check_logits([[0.0, 1.0]], mask=[True, False])
        >>> checks.check_logits([[0.0, np.nan]])
        Traceback (most recent call last):
            ...
        ValueError: Expected logits without NaN and +inf. Received: row=(0,), logits=[0.0, nan].
    """
    if isinstance(logits, (tf.RaggedTensor, tf.SparseTensor)):
        raise invalid("logits to be a dense tensor [..., K]", logits=type(logits).__name__, hint="Pad and pass a mask.")
    logits = tf.convert_to_tensor(logits)
    if not logits.dtype.is_floating:
        raise invalid("logits to be floating-point", dtype=logits.dtype.name)
    if logits.shape.rank == 0 or (logits.shape.rank is not None and logits.shape[-1] == 0):
        raise invalid("logits of shape [..., K] with K >= 1", shape=tuple(logits.shape))
    mask = check_mask(mask, logits.shape)
    if tf.executing_eagerly():
        _raise_for_unusable_row(logits.numpy(), None if mask is None else mask.numpy())
    else:
        usable = usable_rows(logits, mask)
        # Not tf.where: XLA would spend seconds on compiling it, for an assert that it then drops. The 1 at the end is
        # for an empty batch, which has no least entry.
        row = tf.argmin(tf.concat([tf.cast(tf.reshape(usable, [-1]), tf.int32), [1]], 0))
        tf.debugging.Assert(tf.reduce_all(usable), [_UNUSABLE + " Received at row (rows counted flat):", row])
    return logits, mask


_UNUSABLE = "Expected every row of logits to be free of NaN and +inf, with at least one legal category."


def usable_rows(logits: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Flags `[...]` the rows of logits a policy can draw from; compiled code returns it for the host to check.

    Examples:
        >>> from rlsample import checks
        >>> checks.usable_rows(tf.constant([[0.0, 1.0], [0.0, np.nan]])).numpy()
        array([ True, False])
    """
    legal = logits > logits.dtype.as_numpy_dtype(-float("inf"))
    legal = legal if mask is None else legal & mask
    broken = tf.math.is_nan(logits) | (logits == logits.dtype.as_numpy_dtype(float("inf")))
    return tf.reduce_any(legal, -1) & ~tf.reduce_any(broken, -1)


def raise_for_unusable(usable: Any) -> None:
    """Raises on the host for the first False in `usable`, the flag a compiled function returned.

    Raises:
        ValueError: names the row.

    Examples:
        >>> from rlsample import checks
        >>> checks.raise_for_unusable([True, True])
        >>> checks.raise_for_unusable([True, False])
        Traceback (most recent call last):
            ...
        ValueError: Expected every row of logits to be free of NaN and +inf, with at least one ...
    """
    usable = np.asarray(usable)
    if not usable.all():
        raise invalid(_UNUSABLE[len("Expected ") : -1], row=_first(~usable))


@contextlib.contextmanager
def told_on_the_host() -> Iterator[None]:
    """Raises what an assertion of ours in a graph says as the ValueError that it is outside of one.

    TensorFlow buries it in pages about the graph.

    Examples:
        >>> from rlsample.checks import told_on_the_host
        >>> @tf.function
        ... def halve(x):
        ...     tf.debugging.Assert(x > 0, ["Expected x above 0. Received:", x])
        ...     return x / 2
        >>> with told_on_the_host():
        ...     halve(tf.constant(-1.0))
        Traceback (most recent call last):
        ValueError: Expected x above 0. Received: -1.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        said = re.search(r"assertion failed: \[(Expected .*?)\] \[(.*?)\]", error.message, re.DOTALL)
        if said is None:
            raise
        raise ValueError(f"{said[1]} {said[2]}.") from error


def _raise_for_unusable_row(logits: np.ndarray, mask: np.ndarray | None) -> None:
    # One pass decides the usual case: if the sum is finite, every number is (but a sum of finite ones may overflow).
    if logits.dtype.itemsize >= 4 and (mask is None or mask.any(-1).all()):
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.sum(logits)):
                return
    logits = logits.astype(np.float64)
    if np.any(broken := np.isnan(logits) | (logits == np.inf)):
        row = _first(broken.any(-1))
        raise invalid("logits without NaN and +inf", row=row, logits=logits[row].tolist())
    legal = logits > -np.inf
    legal = legal if mask is None else legal & mask
    if not legal.any(-1).all():
        row = _first(~legal.any(-1))
        raise invalid("at least one legal category in every row", row=row, hint="True or 1 in a mask means legal.")


def _first(flags: Any) -> tuple[int, ...]:
    return tuple(int(index) for index in np.argwhere(flags)[0]) if np.ndim(flags) else ()


def check_action(name: str, action: Any, logits_shape: tf.TensorShape) -> tf.Tensor:
    """Returns integer categories `[...]` that index the last axis of logits, as int32.

    Raises:
        ValueError: not integers, a batch shape other than the logits', or known now and out of [0, K).

    Examples:
        >>> from rlsample import checks
        >>> checks.check_action("action", [0, 2], tf.TensorShape([2, 3])).numpy()
        array([0, 2], dtype=int32)
        >>> checks.check_action("action", [0, 3], tf.TensorShape([2, 3]))
        Traceback (most recent call last):
            ...
        ValueError: Expected action in [0, 3). Received: row=(1,), value=3.
    """
    action = tf.convert_to_tensor(action)
    if not action.dtype.is_integer:
        raise invalid(f"{name} to be integers", dtype=action.dtype.name, hint="A one-hot is not an action: tf.argmax.")
    if not action.shape.is_compatible_with(logits_shape[:-1]):
        raise invalid(f"{name} to have the logits' batch shape {logits_shape[:-1]}", shape=tuple(action.shape))
    known, categories = static_value(action), logits_shape[-1]
    if known is not None and categories is not None:
        # No assignment expression: AutoGraph cannot read one, and warns.
        bad = (known < 0) | (known >= categories)
        if np.any(bad):
            value = int(known[bad][0] if bad.ndim else known)
            raise invalid(f"{name} in [0, {categories})", row=_first(bad), value=value)
    return tf.cast(action, tf.int32)
