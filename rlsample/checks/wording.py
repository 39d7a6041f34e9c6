"""The wording of errors, and the rules for plain numbers; loaded without TensorFlow."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def invalid(expected: str, *, hint: str = "", **received: Any) -> ValueError:
    """Builds the error for a value that breaks a rule.

    Args:
        expected: the rule, to be read after the word "Expected".
        hint: the way out, a full sentence; may be empty.
        **received: the offending values by name.

    Returns:
        `ValueError("Expected <rule>. Received: <name>=<value>. <hint>")`, for the caller to raise.

    Examples:
        >>> from rlsample import checks
        >>> print(checks.invalid("temperature > 0", temperature=-1.0, hint="For the limit of 0 use head.mode."))
        Expected temperature > 0. Received: temperature=-1.0. For the limit of 0 use head.mode.
    """
    values = ", ".join(f"{name}={value!r}" for name, value in received.items())
    return ValueError(f"Expected {expected}. Received: {values}." + (f" {hint}" if hint else ""))


def unknown(kind: str, name: Any, choices: Iterable[str], *, limit: int | None = None, hint: str = "") -> ValueError:
    """Builds the error for a name that is not among `choices`, with the nearest one suggested.

    Args:
        kind: what the name is of.
        name: as received.
        choices: the names there are.
        limit: how many of them to say, the nearest first; by default all.
        hint: the way out if it is none of them, a full sentence; may be empty.

    Examples:
        >>> from rlsample import checks
        >>> print(checks.unknown("sampler", "reinmx", ["exact", "reinmax", "zgr"]))
        Unknown sampler 'reinmx'. Did you mean 'reinmax'? Choose one of: exact, reinmax, zgr.
    """
    choices = sorted(choices)
    near = difflib.get_close_matches(str(name), choices, n=1)
    suggestion = f"Did you mean {near[0]!r}? " if near else ""
    if limit is None or len(choices) <= limit:
        rest = f"Choose one of: {', '.join(choices)}." if choices else "It takes none."
    else:
        nearest = difflib.get_close_matches(str(name), choices, n=limit, cutoff=0.0)
        rest = f"The nearest of {len(choices)}: {', '.join(nearest)}."
    return ValueError(f"Unknown {kind} {name!r}. {suggestion}{rest}" + (f" {hint}" if hint else ""))


def check_positive(name: str, value: float) -> float:
    """Returns `value` as a float if it is a finite number above zero in float32 too; raises ValueError otherwise.

    Examples:
        >>> from rlsample import checks
        >>> checks.check_positive("temperature", 1)
        1.0
        >>> checks.check_positive("temperature", 0)
        Traceback (most recent call last):
            ...
        ValueError: Expected temperature to be a finite number > 0. Received: temperature=0.
    """
    received: dict[str, Any] = {name: value}
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise invalid(f"{name} to be a number", **received)
    if not 0 < value < math.inf:
        raise invalid(f"{name} to be a finite number > 0", **received)
    if not _SMALLEST <= value <= _LARGEST:
        raise invalid(f"{name} to be from {_SMALLEST:.2g} to {_LARGEST:.2g}, as float32 is", **received)
    return float(value)


def check_count(name: str, value: int | np.integer, minimum: int = 1) -> int:
    """Returns `value` as an int if it is a whole number of at least `minimum`; raises ValueError otherwise.

    Examples:
        >>> from rlsample import checks
        >>> checks.check_count("num_samples", 10)
        10
        >>> checks.check_count("num_samples", 0)
        Traceback (most recent call last):
            ...
        ValueError: Expected num_samples to be a whole number >= 1. Received: num_samples=0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        received: dict[str, Any] = {name: value}
        raise invalid(f"{name} to be a whole number >= {minimum}", **received)
    return int(value)
