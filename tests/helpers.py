"""What the contract tests run over."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from rlsample import samplers

# Every kind of discrete action space: shifted, ragged, with several axes, of other dtypes, nested.
ALL_SPACES = (
    Discrete(4),
    Discrete(1),
    Discrete(3, start=-2),
    Discrete(5, start=250, dtype=np.int16),
    MultiDiscrete([3, 3]),
    MultiDiscrete([5]),
    MultiDiscrete([2, 5, 3], start=[1, -4, 0]),
    MultiDiscrete([[2, 3, 4], [5, 1, 2]], start=[[0, 7, 0], [-1, 0, 3]], dtype=np.int32),
    MultiDiscrete([100, 27], start=[-128, 100], dtype=np.int8),
    MultiBinary(1),
    MultiBinary(4),
    MultiBinary((2, 3)),
    Tuple((Discrete(3, start=1), MultiDiscrete([2, 4]))),
    Tuple((Tuple((Discrete(2),)), Discrete(2, start=9))),
    Dict({"steer": Discrete(3, start=2), "boost": MultiBinary(2)}),
    Dict(
        {
            "move": Tuple((MultiDiscrete([[2, 3], [4, 2]]), Dict({1: Discrete(2, start=-1), 0: MultiBinary((1, 2))}))),
            "aim": Discrete(6),
        },
        sort_keys=False,
    ),
)


def space_name(space: object) -> str:
    """Readable pytest id of a space."""
    return " ".join(str(space).split())


# Every sampler by its name alone, and the options that choose another code path.
ALL_SAMPLERS = (
    *(samplers.create(name) for name in sorted(samplers.SAMPLERS)),
    samplers.create({"name": "decoupled_straight_through", "forward_temperature": 2.5}),
    samplers.create({"name": "entmax", "alpha": 2.0}),
    samplers.create({"name": "entmax", "alpha": 1.25}),
    samplers.create({"name": "gapped_straight_through", "gap": "probability"}),
)


def every_third(cases):
    """All of them, but in `make test` only every third: for what the samplers have from their base class."""
    return [pytest.param(case, marks=[pytest.mark.slow] * (index % 3 > 0)) for index, case in enumerate(cases)]


PATHWISE_SAMPLERS = tuple(sampler for sampler in ALL_SAMPLERS if sampler.pathwise)

# The graph is one as users ask for it, with AutoGraph, to which XLA has nothing to add but the time it takes.
MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "xla": lambda function: tf.function(function, jit_compile=True, autograph=False),
}
QUICK_MODES = ["eager", pytest.param("graph", marks=pytest.mark.slow), "xla"]
"""For long tests: what holds in eager mode and under XLA seldom fails in the graph between them."""


def sampler_name(sampler: samplers.Sampler) -> str:
    """Readable pytest id of a sampler: its name and what differs from the defaults."""
    default = type(sampler)().to_config()
    options = [f"{key}={value}" for key, value in sampler.to_config().items() if default[key] != value]
    return " ".join([sampler.name, *options])


def value_and_gradient(function, x, **options):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x, **options)
    return y, tape.gradient(y, x)
