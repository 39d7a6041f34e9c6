"""Reinforcement-learning policies for TensorFlow and Keras 3 in which a discrete action is a differentiable value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rlsample import lazy

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        f"Expected Keras to run on TensorFlow. Received: KERAS_BACKEND={os.environ['KERAS_BACKEND']!r}. "
        "rlsample is written in TensorFlow: unset the variable, or set it to tensorflow."
    )

__version__ = "0.1.0"

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

if TYPE_CHECKING:
    from rlsample import (
        checks,
        distributions,
        heads,
        in_graph,
        lab,
        layers,
        learning,
        networks,
        ops,
        rollouts,
        runs,
        samplers,
        schedules,
        spaces,
        tfp,
    )
    from rlsample.functional import gumbel_softmax
    from rlsample.types import Sample
else:
    # Loaded on first use: what one program needs, TensorFlow Probability or a configuration, another does not.
    _NAMES = {"functional": ["gumbel_softmax"], "types": ["Sample"]}
    __getattr__, __dir__ = lazy.attach(__name__, _NAMES, set(__all__) - {"gumbel_softmax", "Sample"})
