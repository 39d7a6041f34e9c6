"""Masks of legal actions, from every form in use to bool [..., F, K]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks
from rlsample.spaces.parts import Part, as_array, row


def read(part: Part, mask: Any, present: Any = None) -> np.ndarray:
    """Returns the mask of one part as a new array, bool [..., F, K] over the part's own factors.

    Args:
        part: the part of the space that the mask is for.
        mask: any of the forms that `Factors.mask` lists.
        present: bool over the batch, False where all is legal whatever the mask says; None for all True.

    Raises:
        ValueError: the mask has none of those forms. Entries on padding are left as they come.
    """
    if mask is None:
        legal = part.valid.copy()
    elif isinstance(mask, Mapping):
        legal = _read_mapping(part, mask)
    elif isinstance(mask, (list, tuple)) and part.children and not _is_flat(mask):
        legal = _read_sequence(part, mask)
    else:
        array = as_array(mask, "mask")
        legal = _read_rows(part, array) if array.dtype == object and array.ndim else _read_array(part, array)
    return legal if present is None else _apply_presence(part, legal, present)


def check_legal(root: Part, legal: np.ndarray) -> None:
    """Raises ValueError if some factor of some row of bool [..., F, K] has no legal category."""
    stuck = ~legal.any(-1)
    if stuck.any():
        where = np.argwhere(stuck)[0]
        raise checks.invalid(
            f"the mask to leave at least one legal category of {root.factors[where[-1]].path}",
            hint="Rows that have no mask, such as those about to be reset, are marked False in `present`.",
            legal=0,
            **row(where[:-1]),
        )


def broadcast(legal: np.ndarray, batch: tuple[int, ...] | None) -> np.ndarray:
    """Returns bool [..., F, K] with batch shape `batch`; unchanged if that is None."""
    if batch is None or legal.shape[:-2] == batch:
        return legal
    try:
        return np.broadcast_to(legal, batch + legal.shape[-2:]).copy()
    except ValueError:
        raise checks.invalid(f"the mask to have batch shape {batch}", batch=legal.shape[:-2]) from None


def _read_mapping(part: Part, mask: Mapping[Any, Any]) -> np.ndarray:
    keys = part.children.keys()
    # A vector environment puts beside every key of an info dict the flags of the rows that have it.
    flags = {key: f"_{key}" for key in keys if f"_{key}" in mask and f"_{key}" not in keys}
    if not isinstance(part.space, gym.spaces.Dict) or mask.keys() - flags.values() != keys:
        form = f"a dict with keys {list(keys)}" if isinstance(part.space, gym.spaces.Dict) else "an array or a sequence"
        raise checks.invalid(f"the mask of {part.path} to be {form}", mask=dict(mask))
    entries = []
    for key, child in part.children.items():
        present = mask[flags[key]] if key in flags else None
        entries.append((child, read(child, mask[key], present)))
    return _assemble(part, entries)


def _is_flat(mask: Sequence[Any]) -> bool:
    """Whether a list is an array written out, such as the [True, False, ...] of sb3-contrib's `action_masks`."""
    return all(isinstance(entry, (bool, int, float, np.generic)) for entry in mask)


def _read_sequence(part: Part, mask: Sequence[Any]) -> np.ndarray:
    if len(mask) == len(part.children):
        parts = tuple(part.children.values())
    elif len(mask) == len(part.sizes):
        parts = part.factors
    else:
        lengths = " or ".join(str(n) for n in sorted({len(part.children), len(part.sizes)}))
        raise checks.invalid(f"the mask of {part.path} to have {lengths} entries", length=len(mask))
    return _assemble(part, [(entry, read(entry, own)) for entry, own in zip(parts, mask, strict=True)])


def _assemble(part: Part, entries: list[tuple[Part, np.ndarray]]) -> np.ndarray:
    """Joins masks of inner parts into bool [..., F, K] of `part`."""
    try:
        batch = np.broadcast_shapes(*(legal.shape[:-2] for _, legal in entries))
    except ValueError:
        shapes: dict[str, Any] = {entry.path: legal.shape[:-2] for entry, legal in entries}
        raise checks.invalid(f"one batch shape for all masks inside {part.path}", **shapes) from None
    joined = np.zeros((*batch, *part.valid.shape), bool)
    for entry, legal in entries:
        joined[..., entry.first - part.first : entry.stop - part.first, : legal.shape[-1]] = legal
    return joined


def _read_rows(part: Part, masks: np.ndarray) -> np.ndarray:
    """An object array, one mask per row; the only form that costs a Python loop over rows."""
    rows = [read(part, mask) for mask in masks.ravel()]
    for index, legal in enumerate(rows):
        if legal.ndim != 2:
            raise checks.invalid(f"the mask of {part.path} to have one mask per row", row=index, batch=legal.shape[:-2])
    return np.array(rows, bool).reshape(*masks.shape, *part.valid.shape)


def _read_array(part: Part, mask: np.ndarray) -> np.ndarray:
    num_factors, num_categories = part.valid.shape
    if mask.dtype != bool and not np.issubdtype(mask.dtype, np.integer):
        raise checks.invalid(f"the mask of {part.path} to be bool, or integers 0 and 1", dtype=mask.dtype.name)
    if _is_bit_mask(part, mask):
        _check_values(part, mask, highest=2)
        bits = mask.reshape(*mask.shape[: mask.ndim - len(part.space.shape)], num_factors)
        return np.stack([bits != 1, bits != 0], axis=-1)
    _check_values(part, mask, highest=1)
    if part.children and mask.shape[-2:] == (num_factors, num_categories):
        return mask.astype(bool)
    if mask.shape[-1:] == (sum(part.sizes),):
        legal = np.zeros((*mask.shape[:-1], num_factors, num_categories), bool)
        legal[..., part.valid] = mask  # row-major, the order in which the factors follow one another
        return legal
    raise checks.invalid(f"the mask of {part.path} to have shape {_shapes(part)}", shape=mask.shape)


def _is_bit_mask(part: Part, mask: np.ndarray) -> bool:
    """Whether this is what `MultiBinary.sample(mask=...)` takes: integers in the shape of the space."""
    if not isinstance(part.space, gym.spaces.MultiBinary) or mask.dtype == bool:
        return False
    rank = len(part.space.shape)
    return 0 < rank <= mask.ndim and mask.shape[mask.ndim - rank :] == part.space.shape


def _check_values(part: Part, mask: np.ndarray, highest: int) -> None:
    if mask.dtype != bool and mask.size and (mask.min() < 0 or mask.max() > highest):
        value = mask[(mask < 0) | (mask > highest)][0].item()
        allowed = "0, 1 and 2" if highest == 2 else "0 and 1"
        raise checks.invalid(f"the mask of {part.path} to have entries {allowed}", entry=value)


def _apply_presence(part: Part, legal: np.ndarray, present: Any) -> np.ndarray:
    flags = as_array(present, "present").astype(bool)
    try:
        return legal | ~flags[..., None, None]
    except ValueError:
        raise checks.invalid(
            f"present to have the batch shape of the mask of {part.path}", present=flags.shape, batch=legal.shape[:-2]
        ) from None


def _shapes(part: Part) -> str:
    shapes = [f"[..., {sum(part.sizes)}]"]
    if part.children:
        shapes.append(f"[..., {len(part.sizes)}, {max(part.sizes)}]")
    if isinstance(part.space, gym.spaces.MultiBinary):
        shapes.append(f"[..., {', '.join(map(str, part.space.shape))}] (integers)")
    return " or ".join(shapes)
