"""Reinforcement-learning policies for TensorFlow and Keras 3 in which a discrete action is a differentiable value."""

from __future__ import annotations

import importlib
import os
from typing import Any

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        f"Expected Keras to run on TensorFlow. Received: KERAS_BACKEND={os.environ['KERAS_BACKEND']!r}. "
        "rlsample is written in TensorFlow: unset the variable, or set it to tensorflow."
    )

from rlsample import checks, ops, samplers, schedules, spaces
from rlsample.functional import gumbel_softmax
from rlsample.types import Sample

__version__ = "0.1.0"

# Loaded on first use: TensorFlow Probability, and what only some programs need, stay out of `import rlsample`.
_LAZY = ("distributions", "heads", "in_graph", "lab", "layers", "learning", "networks", "rollouts", "runs", "tfp")

__all__ = [
    "Sample",
    "checks",
    "distributions",
    "gumbel_softmax",
    "heads",
    "in_graph",
    "lab",
    "layers",
    "learning",
    "networks",
    "ops",
    "rollouts",
    "runs",
    "samplers",
    "schedules",
    "spaces",
    "tfp",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"rlsample.{name}")
    raise AttributeError(f"module 'rlsample' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
