"""Numbers as people read them, the same wherever one is shown."""

from __future__ import annotations

import math

NOTHING = 1e-6
"""What is smaller is a rounding error of float32: shown as 0, without a sign."""


def shown(value: float) -> str:
    """A measured number with one decimal, or with three digits where it is small: 500.0, 21.5, 1.25, 0.15, 0."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) < NOTHING:
        return "0"
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return text if "." in text or "e" in text else f"{text}.0"
