"""A discrete action space as a tree of parts, each of which owns a run of categorical factors."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks

SUPPORTED = "Discrete, MultiDiscrete, MultiBinary, or a Tuple or Dict of these, nested to any depth"


@dataclass(frozen=True, eq=False)
class Part:
    """A space within a space: the whole, an entry of a Tuple or Dict, an axis of an array space, or one factor.

    Attributes:
        path: where the part sits, written as one would index it: `Dict['arm'][1]`.
        first: index of the part's first factor among all factors of the whole space.
        sizes: number of categories of each of the part's factors, in order.
        space: the Gymnasium space; None for the axes and factors inside a MultiDiscrete or MultiBinary.
        children: the parts inside, by key or position; empty if the part is a single factor.
    """

    path: str
    first: int
    sizes: tuple[int, ...]
    space: Any = None
    children: dict[Hashable, Part] = field(default_factory=dict, repr=False)

    @property
    def stop(self) -> int:
        """Index one past the part's last factor."""
        return self.first + len(self.sizes)

    @cached_property
    def limits(self) -> np.ndarray:
        """`sizes` as an array, [F]. Read-only."""
        limits = np.array(self.sizes)
        limits.flags.writeable = False
        return limits

    @cached_property
    def valid(self) -> np.ndarray:
        """Which of the part's own categories exist, bool [F, K]; False is padding. Read-only."""
        valid = np.arange(max(self.sizes)) < np.array(self.sizes)[:, None]
        valid.flags.writeable = False
        return valid

    @cached_property
    def factors(self) -> tuple[Part, ...]:
        """The single-factor parts at or below this one, in order."""
        below = (child.factors for child in self.children.values())
        return tuple(itertools.chain.from_iterable(below)) if self.children else (self,)


def build(space: gym.Space, path: str, first: int = 0) -> Part:
    """Returns the tree of `space`, whose factors are numbered from `first`.

    Raises:
        ValueError: a part is not discrete, or holds no factor at all.
    """
    entries: Iterable[tuple[Hashable, gym.Space]]
    match space:
        case gym.spaces.Discrete():
            return Part(path, first, (int(space.n),), space)
        case gym.spaces.MultiDiscrete():
            part = _array_part(space.nvec, path, first, space)
        case gym.spaces.MultiBinary():
            part = _array_part(np.full(space.shape, 2), path, first, space)
        case gym.spaces.Tuple() | gym.spaces.Dict():
            entries = space.spaces.items() if isinstance(space, gym.spaces.Dict) else enumerate(space.spaces)
            part = _composite_part(entries, path, first, space)
        case _:
            raise _unsupported(space, path)
    if not part.sizes:
        raise checks.invalid(
            "every part of the action space to hold at least one action factor",
            hint="Take the empty part out of the space.",
            **{path: space},
        )
    return part


def _composite_part(entries: Iterable[tuple[Hashable, gym.Space]], path: str, first: int, space: gym.Space) -> Part:
    children: dict[Hashable, Part] = {}
    sizes: tuple[int, ...] = ()
    for key, entry in entries:
        child = children[key] = build(entry, f"{path}[{key!r}]", first + len(sizes))
        sizes += child.sizes
    return Part(path, first, sizes, space, children)


def _array_part(nvec: Any, path: str, first: int, space: Any = None) -> Part:
    sizes = tuple(int(size) for size in nvec.ravel())
    children: dict[Hashable, Part] = {}
    if nvec.ndim and sizes:
        stride = len(sizes) // len(nvec)
        children = {i: _array_part(row, f"{path}[{i}]", first + i * stride) for i, row in enumerate(nvec)}
    return Part(path, first, sizes, space, children)


def _unsupported(space: Any, path: str) -> ValueError:
    if not isinstance(space, gym.Space):
        return checks.invalid(
            "action_space to be a Gymnasium space",
            hint="Pass env.action_space, or envs.single_action_space of a vector environment.",
            action_space=space,
        )
    if isinstance(space, gym.spaces.Box):
        hint = "Bin a continuous part first, for instance with gymnasium.wrappers.DiscretizeAction."
    else:
        hint = "Wrap the environment so that this part becomes one of those."
    return checks.invalid(f"a discrete action space ({SUPPORTED})", hint=hint, **{path: space})


def as_array(value: Any, name: str) -> np.ndarray:
    """Returns `value` (array, eager tensor, number, nested list) as a NumPy array.

    Raises:
        ValueError: the value is a symbolic tensor, or rows of different lengths.
    """
    if type(value) is np.ndarray:
        return value
    tensorflow = sys.modules.get("tensorflow")  # Where nobody has loaded it, nothing is symbolic.
    if tensorflow is not None and tensorflow.is_symbolic_tensor(value):
        raise checks.invalid(
            f"{name} to hold values",
            hint="This conversion runs on the host. Within tf.function work with factor indices and padded masks.",
            **{name: value},
        )
    try:
        return np.asarray(value)
    except ValueError:  # NumPy's own text does not say which argument was ragged.
        raise checks.invalid(f"{name} to be an array with rows of one length", **{name: value}) from None


def row(index: np.ndarray) -> dict[str, Any]:
    """The batch index as an item for an error message: an int for one batch axis, nothing for none."""
    position = tuple(int(i) for i in index)
    return {"row": position[0] if len(position) == 1 else position} if position else {}
