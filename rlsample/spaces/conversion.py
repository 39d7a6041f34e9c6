"""Actions of an environment to factor indices and back, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks
from rlsample.spaces.parts import Part, as_array, row


def largest(one_hot: np.ndarray) -> np.ndarray:
    """Index of the largest entry on the last axis; NaN and all-zero rows are refused, since argmax would hide them."""
    indices = one_hot.argmax(-1)
    broken = ~(np.take_along_axis(one_hot, indices[..., None], -1)[..., 0] > 0)
    if broken.any():
        where = np.argwhere(broken)[0]
        raise checks.invalid(
            "one-hots with a positive entry and no NaN in every row",
            one_hot=one_hot[tuple(where)],
            **row(where[:-1]),
        )
    return indices


def check_indices(root: Part, indices: np.ndarray) -> None:
    """Raises ValueError if an entry of integers [..., F] lies outside its factor."""
    outside = (indices < 0) | (indices >= root.limits)
    if outside.any():
        where = np.argwhere(outside)[0]
        part = root.factors[where[-1]]
        raise checks.invalid(
            f"an index from 0 to {part.sizes[0] - 1} for {part.path}",
            index=int(indices[tuple(where)]),
            **row(where[:-1]),
        )


def encode(part: Part, indices: np.ndarray) -> Any:
    """Returns the environment's actions of `part` for factor indices [..., F] of the whole space."""
    space = part.space
    if isinstance(space, gym.spaces.Dict):
        return {key: encode(child, indices) for key, child in part.children.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(encode(child, indices) for child in part.children.values())
    own = indices[..., part.first : part.stop].reshape(indices.shape[:-1] + space.shape)
    # In the space's own dtype: index, start and their sum all fit it, whereas int64 cannot hold every uint64.
    values = own.astype(space.dtype) + _start(space)
    # A sum without axes is a NumPy scalar: right for Discrete, whereas the others contain arrays only.
    return values if isinstance(space, gym.spaces.Discrete) else np.asarray(values)


def decode(root: Part, action: Any) -> np.ndarray:
    """Returns factor indices, int32 [..., F], of one action or a batch."""
    columns = list(_columns(root, action))
    first, batch = columns[0][0], columns[0][1].shape[:-1]
    for part, column in columns:
        if column.shape[:-1] != batch:
            shapes: dict[str, Any] = {first.path: batch, part.path: column.shape[:-1]}
            raise checks.invalid("one batch shape for all parts of the action", **shapes)
    return np.concatenate([column for _, column in columns], axis=-1)


def _columns(part: Part, action: Any) -> Iterator[tuple[Part, np.ndarray]]:
    """Yields each array part with its factor indices [..., F of the part]."""
    space = part.space
    if isinstance(space, gym.spaces.Dict):
        if not isinstance(action, dict) or action.keys() != part.children.keys():
            got = list(action) if isinstance(action, dict) else type(action).__name__
            raise checks.invalid(f"the action of {part.path} to be a dict with keys {list(part.children)}", action=got)
        for key, child in part.children.items():
            yield from _columns(child, action[key])
    elif isinstance(space, gym.spaces.Tuple):
        if not isinstance(action, tuple) or len(action) != len(part.children):
            raise checks.invalid(
                f"the action of {part.path} to be a tuple of {len(part.children)} entries",
                hint="A batch is a tuple of batches, one for each entry.",
                action=action,
            )
        for child, entry in zip(part.children.values(), action, strict=True):
            yield from _columns(child, entry)
    else:
        yield part, _decode_array(part, as_array(action, "action"))


def _decode_array(part: Part, values: np.ndarray) -> np.ndarray:
    space = part.space
    boolean = values.dtype == bool and isinstance(space, gym.spaces.MultiBinary)
    if not boolean and not np.issubdtype(values.dtype, np.integer):
        raise checks.invalid(f"the action of {part.path} to be integers", dtype=values.dtype.name)
    if not ends_with(values.shape, space.shape):
        raise checks.invalid(f"the action of {part.path} to have shape {dotted(space.shape)}", shape=values.shape)
    batch = values.shape[: values.ndim - len(space.shape)]
    values = values.reshape(*batch, len(part.sizes))
    low = np.ravel(_start(space)) + np.zeros(len(part.sizes), space.dtype)
    high = low + (np.array(part.sizes) - 1).astype(space.dtype)
    outside = (values < low) | (values > high)
    if outside.any():
        where = np.argwhere(outside)[0]
        factor = where[-1]
        raise checks.invalid(
            f"the action of {part.factors[factor].path} to be from {low[factor]} to {high[factor]}",
            action=values[tuple(where)].item(),
            **row(where[:-1]),
        )
    return (values.astype(space.dtype) - low).astype(np.int32)


def _start(space: gym.Space) -> Any:
    return space.dtype.type(0) if isinstance(space, gym.spaces.MultiBinary) else space.start


def ends_with(shape: tuple[int, ...], event: tuple[int, ...]) -> bool:
    """Whether `event` is the tail of `shape`."""
    return len(shape) >= len(event) and shape[len(shape) - len(event) :] == event


def dotted(event: tuple[int, ...]) -> str:
    """The event shape (2, 3) written as [..., 2, 3]."""
    return f"[{', '.join(['...', *map(str, event)])}]"
