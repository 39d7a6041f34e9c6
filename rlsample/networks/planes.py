"""Images of every layout as planes: float `[B, height, width, channels]`."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium as gym
import keras
import numpy as np

from rlsample import checks
from rlsample.spaces.observations import dtype_of

Channels = Literal["first", "last"]

UNSCALED = 10.0
"""Floats of an image that reach further than this from 0 look like bytes that nobody divided by 255."""

LAYOUTS = "[H, W], [H, W, C], [C, H, W], or frames of these stacked in front"


def channels_of(space: gym.Space) -> Channels:
    """Where the channels of an image are: on the shorter of the two ends, the last one if they are equal."""
    shape: tuple[int, ...] = space.shape or ()
    return "first" if len(shape) == 3 and shape[0] < min(shape[1:]) else "last"


def plane_shape(space: gym.Space, channels: Channels) -> tuple[int, int, int]:
    """(height, width, channels) of the planes.

    Raises:
        ValueError: the space has not the layout of an image.
    """
    shape = space.shape if isinstance(space, gym.spaces.Box) else ()
    match shape, channels:
        case (height, width), _:
            return height, width, 1
        case (height, width, depth), "last":
            return height, width, depth
        case (depth, height, width), "first":
            return height, width, depth
        case (frames, height, width, depth), "last":
            return height, width, frames * depth
        case (frames, depth, height, width), "first":
            return height, width, frames * depth
    raise checks.invalid(f"an image: a Box of shape {LAYOUTS}", observation=space)


def check_scaled(space: gym.Space) -> None:
    """Raises ValueError for an image of floats whose declared range looks unscaled."""
    bounds = space.low.min(), space.high.max()
    if dtype_of(space) == np.float32 and any(np.isfinite(bound) and abs(bound) > UNSCALED for bound in bounds):
        hint = "Declare bytes (uint8), which are scaled here, or scale with gymnasium.wrappers.RescaleObservation."
        received = {"low": float(bounds[0]), "high": float(bounds[1])}
        raise checks.invalid("an image of floats to be scaled, to 0 .. 1 for example", **received, hint=hint)


def planes(inputs: Any, space: gym.Space, channels: Channels) -> Any:
    """Float planes of a Keras input: channels last, bytes divided by the largest that the space declares."""
    axes = {("first", 3): (2, 3, 1), ("first", 4): (3, 4, 1, 2), ("last", 4): (2, 3, 1, 4)}
    order = axes.get((channels, len(space.shape)))
    image = inputs if order is None else keras.layers.Permute(order)(inputs)
    if len(space.shape) != 3:
        image = keras.layers.Reshape(plane_shape(space, channels))(image)
    if dtype_of(space) == np.float32:
        return image
    scale = 1 / max(int(space.high.max()), 1) if space.dtype == np.uint8 else 1.0
    return keras.layers.Rescaling(scale)(image)
