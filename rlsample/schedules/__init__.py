"""Temperatures that are their own config: schedules over the environment step, and one that adapts.

temperature = schedules.create({"name": "exponential", "start": 1.0, "end": 0.1, "steps": 30_000})
temperature(15_000)  # 0.316
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlsample import checks
from rlsample.registry import Registry
from rlsample.schedules.adaptive import Adaptive
from rlsample.schedules.base import Temperature
from rlsample.schedules.by_step import Constant, Cosine, Exponential, Linear, Piecewise, Schedule

__all__ = [
    "SCHEDULES",
    "Adaptive",
    "Constant",
    "Cosine",
    "Exponential",
    "Linear",
    "Piecewise",
    "Schedule",
    "Temperature",
    "create",
]

SCHEDULES: dict[str, type[Temperature]] = {
    "adaptive": Adaptive,
    "constant": Constant,
    "cosine": Cosine,
    "exponential": Exponential,
    "linear": Linear,
    "piecewise": Piecewise,
}


_registry = Registry("schedule", Temperature, SCHEDULES)


def create(config: float | str | Mapping[str, Any] | Temperature) -> Temperature:
    """Builds a schedule from a number (a constant), a name, `{"name": ..., **options}`, or returns a built one.

    Raises:
        ValueError: an unknown name or option (with the nearest one suggested), or a value the schedule refuses.

    Examples:
        >>> schedules.create(0.5)
        Constant(value=0.5)
        >>> schedules.create({"name": "cosine", "end": 0.2, "steps": 10_000})
        Cosine(start=1.0, end=0.2, steps=10000)
    """
    if isinstance(config, (int, float)):
        return Constant(value=checks.check_positive("temperature", config))
    return _registry.create(config)
