"""Observation space -> the network that suits it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from rlsample.networks.base import DenseNetwork
from rlsample.networks.convolutional import Convolutional
from rlsample.networks.grid import MOST_CATEGORIES, Grid
from rlsample.networks.mlp import MLP
from rlsample.networks.planes import channels_of, plane_shape
from rlsample.spaces import observations

LARGEST_GRID = 25
"""Cells of a side; MiniGrid's largest. Bytes of more are the colours of an image."""

MOST_CHANNELS = 16
"""Of an image of floats or of integers; with more, the last axis is no list of planes."""

SMALLEST_SIDE = 3
"""Of an image, the side of the smallest kernel."""


def for_array(space: gym.Space) -> type[DenseNetwork]:
    """The kind of network for observations that are one array."""
    if not isinstance(space, gym.spaces.Box):
        return MLP
    return Grid if is_grid(space) else Convolutional if is_image(space) else MLP


def is_grid(space: gym.spaces.Box) -> bool:
    """Whether each cell holds small integers above 1, which name things; MiniGrid declares up to 255."""
    if len(space.shape) not in (2, 3) or not np.issubdtype(space.dtype, np.integer):
        return False
    sides, depth = space.shape[:2], space.shape[2] if len(space.shape) == 3 else 1
    if min(sides) < SMALLEST_SIDE or max(sides) > LARGEST_GRID or depth > min(sides) or space.low.min() < 0:
        return False
    highest = space.high.max()
    return highest == 255 and depth == 3 if highest >= 255 else 1 < highest < MOST_CATEGORIES


def is_image(space: gym.spaces.Box) -> bool:
    """Whether neighbours belong together: bytes of an image's layout, or planes, or frames of them, of few channels."""
    bytes_ = space.dtype == np.uint8
    if len(space.shape) not in ((2, 3, 4) if bytes_ else (3, 4)):
        return False
    height, width, depth = plane_shape(space, channels_of(space))
    return min(height, width) >= SMALLEST_SIDE and (bytes_ or depth <= MOST_CHANNELS)


def only_vectors(space: gym.Space) -> bool:
    """Whether no part of a space is an image or a grid."""
    return all(for_array(part) is MLP for part in observations.parts(space))
