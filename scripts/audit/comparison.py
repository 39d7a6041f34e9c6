"""A number of ours beside one that was published or derived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from .claims import bound, in_standard_errors


class Comparison(NamedTuple):
    """One quantity, measured here and known from elsewhere.

    Attributes:
        quantity: what it is.
        ours: the numbers measured, an array or a number.
        error: their standard errors.
        theirs: the numbers known.
        their_error: their standard errors, 0 for formulas.
        slack: what rounding explains: half a unit of the last digit printed.
        source: `published`, or `derived` where a formula, quadrature or an independent program gives it.
    """

    quantity: str
    ours: Any
    error: Any
    theirs: Any
    their_error: Any = 0.0
    slack: Any = 0.0
    source: str = "published"

    def z(self) -> np.ndarray:
        """|ours - theirs| beyond the slack, in standard errors of the difference."""
        difference = np.atleast_1d(np.asarray(self.ours, float) - np.asarray(self.theirs, float))
        return in_standard_errors(difference, np.hypot(self.error, self.their_error), self.slack)


def show(title: str, rows: Sequence[Comparison], console: Console) -> int:
    """Prints the comparisons; returns how many fail, all being tested together at one in a million."""
    limit = bound(sum(row.z().size for row in rows))
    table = Table("quantity", "ours", "standard error", "known", "source", "z", title=title)
    failed = 0
    for row in rows:
        holds = bool((row.z() <= limit).all())
        failed += not holds
        worst = float(np.max(row.z()))
        error = float(np.max(row.error))
        table.add_row(
            row.quantity,
            _written(row.ours),
            f"{error:.2g}" if error else "-",
            _written(row.theirs),
            row.source,
            f"{worst:.1f}" + ("" if holds else " FAILS"),
        )
    console.print(table)
    console.print(f"{len(rows) - failed} of {len(rows)} agree; z up to {limit:.1f} allowed.\n")
    return failed


def _written(numbers: Any) -> str:
    return " ".join(f"{number:.5g}" for number in np.atleast_1d(numbers))
