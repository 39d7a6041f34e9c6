"""The families of rounding with a gradient by name, and what sharpens each.

A sharpness can be annealed from soft to sharp, as a temperature is from high to low. It is a number, or a tensor or
Variable (a scalar, or of a shape that broadcasts to the input), whose change never retraces; it receives a gradient if
it is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import tensorflow as tf

from rlsample.ops.rounding import round_fourier, round_ramp, round_sigmoid, round_sine, round_straight_through
from rlsample.ops.soft_rounding import soft_round

ROUNDERS: Mapping[str, Callable[..., tf.Tensor]] = MappingProxyType(
    {
        "straight_through": round_straight_through,
        "ramp": round_ramp,
        "sigmoid": round_sigmoid,
        "fourier": round_fourier,
        "sine": round_sine,
        "soft_round": soft_round,
    }
)

# The argument of each rounder that says how sharp it is: the larger, the nearer to round. At the least value it
# takes (ramp 1; fourier, sine and soft_round 0) the rounder is the identity; sigmoid has no such limit. None: nothing
# to anneal.
SHARPNESS: Mapping[str, str | None] = MappingProxyType(
    {
        "straight_through": None,
        "ramp": "slope",
        "sigmoid": "slope",
        "fourier": "terms",
        "sine": "compositions",
        "soft_round": "alpha",
    }
)
