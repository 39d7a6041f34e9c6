"""One representation of every discrete Gymnasium action space: categorical factors, padded to one width."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks
from rlsample.spaces import conversion, masks
from rlsample.spaces.parts import Part, as_array, build

_INT32_MAX = np.iinfo(np.int32).max


def factorise(action_space: gym.Space) -> Factors:
    """Returns the categorical factors of a discrete action space.

    Discrete is one factor; MultiDiscrete has one for each entry of `nvec` in row-major order; MultiBinary has one
    of two categories for each bit; Tuple and Dict concatenate theirs, a Dict in the order of its `spaces`.

    Args:
        action_space: the space of one environment (`single_action_space` of a vector environment, whose
            `action_space` is a batch and would be read as that many factors).

    Raises:
        ValueError: a part of the space is not discrete or is empty; the message names it by its path.

    Examples:
        >>> space = gym.spaces.Dict({"arm": gym.spaces.MultiDiscrete([2, 3]), "fire": gym.spaces.Discrete(2, start=1)})
        >>> factors = spaces.factorise(space)
        >>> factors.sizes, factors.names, factors.event_shape
        ((2, 3, 2), ("Dict['arm'][0]", "Dict['arm'][1]", "Dict['fire']"), (3, 3))
    """
    root = build(action_space, type(action_space).__name__)
    for part in root.factors:
        if part.sizes[0] > _INT32_MAX:
            received: dict[str, Any] = {part.path: part.sizes[0]}
            raise checks.invalid(f"every factor to have at most {_INT32_MAX} categories", **received)
    return Factors(action_space, root)


@dataclass(frozen=True)
class Factors:
    """The factors of an action space, and the way between them and the environment's own actions.

    A draw has event shape [K] if the space is one plain Discrete (`single`), else [F, K]. Factors with fewer than K
    categories are padded at the end. Factor indices count from 0 whatever `start` the space has. Conversions run
    on the host, on NumPy arrays or eager tensors, without a Python loop over rows; a compiled environment takes
    factor indices or one-hots as they are.

    Attributes:
        space: the Gymnasium space.
        root: the tree of its parts.

    Examples:
        >>> factors = spaces.factorise(gym.spaces.Tuple([gym.spaces.Discrete(3, start=5), gym.spaces.MultiBinary(2)]))
        >>> factors.padding_mask
        array([[ True,  True,  True],
               [ True,  True, False],
               [ True,  True, False]])
        >>> factors.from_env((np.array([6]), np.array([[1, 0]])))
        array([[1, 1, 0]], dtype=int32)
        >>> factors.to_env(np.array([[1, 1, 0]]))
        (array([6]), array([[1, 0]], dtype=int8))
    """

    space: gym.Space
    root: Part = field(repr=False, compare=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of categories of each factor."""
        return self.root.sizes

    @property
    def num_factors(self) -> int:
        """F, the number of factors."""
        return len(self.root.sizes)

    @cached_property
    def num_categories(self) -> int:
        """K, the number of categories of the largest factor."""
        return max(self.root.sizes)

    @property
    def single(self) -> bool:
        """Whether the space is one plain Discrete, so that draws have no factor axis."""
        return isinstance(self.space, gym.spaces.Discrete)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action as factor indices: () or (F,)."""
        return () if self.single else (self.num_factors,)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one action as one-hots, and of its logits: (K,) or (F, K)."""
        return (*self.action_shape, self.num_categories)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Path of each factor within the space, such as `Dict['arm'][1]`."""
        return tuple(part.path for part in self.root.factors)

    @property
    def padding_mask(self) -> np.ndarray | None:
        """Which categories exist, bool [F, K], read-only; None if every factor has K of them."""
        return None if min(self.sizes) == self.num_categories else self.root.valid

    def mask(
        self, mask: Any = None, batch: int | tuple[int, ...] | None = None, present: Any = None
    ) -> np.ndarray | None:
        """Reads a mask of legal actions in any form in use into the one form the library takes.

        Entries are bool, or integers 0 and 1; leading axes `...` are the batch, and may be absent. Forms:

            None                      everything legal
            [..., n]                  Discrete: Taxi's `info["action_mask"]`, PettingZoo's `observation["action_mask"]`
            [..., sum(sizes)]         the factors one after another (sb3-contrib)
            [..., F, K]               padded; what the padding says is ignored
            list or tuple             one mask [..., size] per factor
            as `Space.sample(mask=)`  tuples and dicts nested like the space, None for an entry without a mask; for
                                      MultiBinary an integer array [..., *shape] of 0, 1, or 2 for either
            object array [B]          one of the above per row, None where a row has none: what a vector environment
                                      makes of masks that are not arrays

        Entries of a Tuple or Dict may each have a form of their own. Flags that a vector environment adds inside a
        dict (`_key`) are honoured. Integers of shape [..., *shape] for a MultiBinary are always taken as Gymnasium
        means them; padded masks that could be mistaken for that must be bool.

        Args:
            mask: the mask.
            batch: batch shape the result must have; a mask with fewer rows is broadcast.
            present: bool, shape of the batch: False where the row's mask says nothing and all is legal. The vector
                environment's `info["_action_mask"]`, or the rows that are about to be reset.

        Returns:
            bool [..., K] if `single`, else [..., F, K], True = legal, False on padding. Without a mask the padding
            mask (None if nothing is padded), broadcast if `batch` is given.

        Raises:
            ValueError: wrong shape, dtype or value, or a factor without a legal category; names the part and row.
        """
        shape = (int(batch),) if isinstance(batch, (int, np.integer)) else batch
        if mask is None:
            return masks.broadcast(self.padding_mask, shape) if self.padding_mask is not None else None
        legal = masks.read(self.root, mask, present)
        if self.padding_mask is not None:
            legal &= self.padding_mask
        masks.check_legal(self.root, legal)
        legal = masks.broadcast(legal, shape)
        return legal[..., 0, :] if self.single else legal

    def to_env(self, draw: Any) -> Any:
        """Turns draws into actions as the environment takes them.

        The dtype says what `draw` is: integers are factor indices, floats are one-hots, of which the largest entry
        counts, so that relaxed draws are decoded too.

        Args:
            draw: int [...] or float [..., K] if `single`, else int [..., F] or float [..., F, K].

        Returns:
            NumPy values with starts added and the space's dtypes and nesting. With a batch axis, a batch as
            `gymnasium.vector.utils.batch_space` describes it; without one, a single action that `space` contains.

        Raises:
            ValueError: wrong dtype or shape, an index outside its factor, a row of NaN or without a positive entry.
        """
        values = as_array(draw, "draw")
        integer = values.dtype.kind in "iu"
        # ml_dtypes' bfloat16 is no subtype of np.floating.
        if not integer and not np.issubdtype(values.dtype, np.floating) and values.dtype.name != "bfloat16":
            raise checks.invalid("draw to be factor indices (integers) or one-hots (floats)", dtype=values.dtype.name)
        event = self.action_shape if integer else self.event_shape
        if not conversion.ends_with(values.shape, event):
            kind = "factor indices" if integer else "one-hots"
            raise checks.invalid(f"draw to be {kind} of shape {conversion.dotted(event)}", shape=values.shape)
        if self.single:
            values = values[..., None] if integer else values[..., None, :]
        indices = values if integer else conversion.largest(values)
        conversion.check_indices(self.root, indices)
        return conversion.encode(self.root, indices)

    def from_env(self, actions: Any) -> np.ndarray:
        """Turns the environment's actions into factor indices: the inverse of `to_env`.

        Axes in front of a part's own shape are the batch, so single actions need no flag. A batch for a Tuple or
        Dict is a tuple or dict of batches, as vector environments have it, not a list of actions.

        Args:
            actions: one action of the space, or a batch.

        Returns:
            int32 [...] if `single`, else [..., F].

        Raises:
            ValueError: wrong nesting, dtype or shape, or a value outside the space; names the part and row.
        """
        indices = conversion.decode(self.root, actions)
        return indices[..., 0] if self.single else indices
