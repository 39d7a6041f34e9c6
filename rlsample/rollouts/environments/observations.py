"""What environments observe, checked: trees of arrays in their own shapes, from one environment or from a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import tree as nest

from rlsample import checks
from rlsample.spaces.observations import dtype_of, map_parts, parts
from rlsample.spaces.parts import as_array


def read(space: gym.Space, observations: Any) -> Any:
    """One observation of a space, as `spaces.observations.specs` has it, or a batch of them with `B` in front.

    Which of the two it is, is told by the shapes: a part `[*shape]` of the space has that shape in a single
    observation, and `[B, *shape]` in a batch. Parts of a Tuple or Dict must all be one or the other.

    Args:
        space: the space of one observation.
        observations: one observation of the space, or a batch, as a vector environment returns it.

    Raises:
        ValueError: a part that is neither one observation nor a batch; NaN or inf in one; a number that an integer
            space cannot hold, or a category that it does not have. Names the part, or the row, before any network sees
            it.

    Examples:
        >>> from rlsample.rollouts.environments.observations import read
        >>> space = gym.spaces.Box(-1.0, 1.0, (2,))
        >>> read(space, [0.5, 0.25])  # one
        array([0.5 , 0.25], dtype=float32)
        >>> read(space, [[0.5, 0.25], [0.0, 1.0], [1.0, 1.0]]).shape  # a batch
        (3, 2)
        >>> read(space, [0.5, np.nan])
        Traceback (most recent call last):
            ...
        ValueError: Expected a finite observation. Received: observation=[0.5, nan].
    """
    batches: dict[str, Any] = {}
    tree = _read(space, observations, "observation", batches)
    if len(set(batches.values())) > 1:
        raise checks.invalid("the parts of observation to be all of one observation, or all of one batch", **batches)
    return tree


def batch_shape(space: gym.Space, tree: Any) -> tuple[int, ...]:
    """`()` for one observation, `(B,)` for a batch, of what `read` returned.

    Examples:
        >>> from rlsample.rollouts.environments.observations import batch_shape, read
        >>> space = gym.spaces.Box(-1.0, 1.0, (2,))
        >>> batch_shape(space, read(space, np.zeros([2]))), batch_shape(space, read(space, np.zeros([3, 2])))
        ((), (3,))
    """
    part = parts(space)[0]
    return nest.flatten(tree)[0].shape[: -len(part.shape) or None]


def bounds(space: gym.Space) -> list[tuple[Any, Any]]:
    """Least and greatest value of each part, in the order of `tf.nest`; infinite where the space says nothing.

    Examples:
        >>> from rlsample.rollouts.environments.observations import bounds
        >>> space = gym.spaces.Tuple([gym.spaces.Discrete(5, start=1), gym.spaces.Box(-2.0, 2.0, (2,))])
        >>> [(low.tolist(), high.tolist()) for low, high in bounds(space)]
        [(1.0, 5.0), ([-2.0, -2.0], [2.0, 2.0])]
    """

    def of_part(_: str, part: gym.Space) -> np.ndarray:
        match part:
            case gym.spaces.Box():
                # What a dtype cannot hold needs no look.
                whole = part.dtype == np.uint8 and part.low.max() == 0 and part.high.min() == 255
                ends = (-np.inf, np.inf) if whole or part.dtype == np.bool_ else (part.low, part.high)
            case gym.spaces.Discrete() | gym.spaces.MultiDiscrete():
                ends = part.start, part.start + getattr(part, "nvec", getattr(part, "n", None)) - 1
            case _:
                ends = -np.inf, np.inf
        return np.stack([np.broadcast_to(np.asarray(end, np.float32), part.shape or ()) for end in ends])

    return [(low, high) for low, high in nest.flatten(map_parts(of_part, space))]


def stacked(rows: list[Any]) -> Any:
    """One structure of arrays `[T, ...]` of T structures of arrays.

    Examples:
        >>> from rlsample.rollouts.environments.observations import stacked
        >>> steps = stacked([{"reward": np.array([1.0, 0.0])}, {"reward": np.array([0.0, 2.0])}])
        >>> steps["reward"]
        array([[1., 0.],
               [0., 2.]])
    """
    return nest.map_structure(lambda *leaves: np.stack(leaves), *rows)


def _read(space: gym.Space, observations: Any, path: str, batches: dict[str, Any]) -> Any:
    match space:
        case gym.spaces.Tuple():
            if not isinstance(observations, (tuple, list)) or len(observations) != len(space.spaces):
                rule = f"{path} to be a tuple of {len(space.spaces)} entries"
                raise checks.invalid(rule, **_described(observations))
            entries = enumerate(zip(space.spaces, observations, strict=True))
            return tuple(_read(*entry, f"{path}[{index}]", batches) for index, entry in entries)
        case gym.spaces.Dict():
            if not isinstance(observations, Mapping) or not space.spaces.keys() <= observations.keys():
                raise checks.invalid(
                    f"{path} to be a dict with the keys {list(space.spaces)}", **_described(observations)
                )
            names = space.spaces.items()
            return {key: _read(part, observations[key], f"{path}[{key!r}]", batches) for key, part in names}
    values = _array(space, observations, path)
    batches[path] = values.shape[: values.ndim - len(space.shape or ())]
    return values


def _array(space: gym.Space, observations: Any, path: str) -> np.ndarray:
    """An array of one observation `[*shape]`, or of a batch `[B, *shape]`."""
    values = as_array(observations, path)
    shape = space.shape or ()
    batch = values.shape[: values.ndim - len(shape)]
    if len(batch) > 1 or values.shape != (*batch, *shape):
        rows = f"({', '.join(['B', *map(str, shape)])}{'' if shape else ','})"
        raise checks.invalid(f"{path} to have shape {shape}, or {rows} in a batch", shape=values.shape, space=space)
    dtype = dtype_of(space)
    if dtype.kind != "f":
        return _in_range(space, _whole(values, dtype, path), path)
    values = values.astype(dtype, copy=False)
    finite = np.isfinite(values)
    if finite.all():
        return values
    if not batch:
        raise checks.invalid("a finite observation", **{path: values.tolist()})
    row = int(np.flatnonzero(~finite.reshape(len(values), -1).all(-1))[0])
    raise checks.invalid("finite observations", environment=row, **{path: values[row].tolist()})


def _whole(values: np.ndarray, dtype: np.dtype, path: str) -> np.ndarray:
    """The same numbers in an integer type; what it cannot hold is refused, not rounded."""
    if values.dtype == dtype:
        return values
    with np.errstate(invalid="ignore"):
        whole = values.astype(dtype)
    if (differs := whole != values).any():
        hint = "A scaled image needs a space of floats, such as gymnasium.wrappers.TransformObservation makes."
        received: dict[str, Any] = {path: values[differs].flat[0].item()}
        raise checks.invalid(f"whole numbers that {dtype.name} holds, as the space has them", hint=hint, **received)
    return whole


def _in_range(space: gym.Space, values: np.ndarray, path: str) -> np.ndarray:
    """The categories of a Discrete or MultiDiscrete space; what is none of them is refused."""
    if isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
        beyond = values - space.start
        sizes = space.n if isinstance(space, gym.spaces.Discrete) else space.nvec
        wrong = (beyond < 0) | (beyond >= sizes)
        if wrong.any():
            received: dict[str, Any] = {path: values[wrong].flat[0].item()}
            raise checks.invalid(f"categories of {space}", **received)
    return values


def _described(observations: Any) -> dict[str, Any]:
    """What an error says of something that has not the nesting of its space."""
    if isinstance(observations, Mapping):
        return {"keys": list(observations)}
    if isinstance(observations, (tuple, list)):
        return {"entries": len(observations)}
    return {"type": type(observations).__name__}
