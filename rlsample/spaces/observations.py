"""Observation spaces as trees of arrays: what one observation is in tensors, in its own shape and dtype.

An observation of a Box, Discrete, MultiDiscrete or MultiBinary is one array; one of a Tuple or Dict of these, nested to
any depth, is a tuple or dict of arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import tree as nest

from rlsample import checks


def map_parts(function: Callable[[str, gym.Space], Any], space: gym.Space, path: str = "observation") -> Any:
    """The tree of what a function makes of each part of a space that is an array.

    Args:
        function: (path, part) -> value; the path says where the part sits: `observation['arm'][1]`.
        space: the space.
        path: of the space itself.

    Raises:
        ValueError: a part that is no array, such as a text; names it and the way out.

    Examples:
        >>> from rlsample.spaces.observations import map_parts
        >>> space = gym.spaces.Tuple([gym.spaces.Discrete(3), gym.spaces.Box(0, 1, (2, 2))])
        >>> map_parts(lambda path, part: (path, part.shape), space)
        (('observation[0]', ()), ('observation[1]', (2, 2)))
    """
    if isinstance(space, (gym.spaces.Tuple, gym.spaces.Dict)) and not space.spaces:
        hint = "A mask is no observation; where there is nothing to see, give a constant."
        raise checks.invalid(f"{path} to have a part", space=space, hint=hint)
    match space:
        case gym.spaces.Tuple():
            return tuple(map_parts(function, part, f"{path}[{index}]") for index, part in enumerate(space.spaces))
        case gym.spaces.Dict():
            return {key: map_parts(function, part, f"{path}[{key!r}]") for key, part in space.spaces.items()}
        case gym.spaces.Box() | gym.spaces.Discrete() | gym.spaces.MultiDiscrete() | gym.spaces.MultiBinary():
            return function(path, space)
    hint = "Turn it into numbers with gymnasium.wrappers.TransformObservation"
    if space.dtype is not None and space.dtype.kind == "U":
        hint = (
            "A network reads no text. Leave it out with gymnasium.wrappers.FilterObservation, or turn it into numbers"
        )
    rule = "observations that are Box, Discrete, MultiDiscrete, MultiBinary, or a Tuple or Dict of these"
    raise checks.invalid(rule, hint=f"{hint}; env.wrappers names wrappers.", **{path: space})


def parts(space: gym.Space) -> list[gym.Space]:
    """The parts that are arrays, in the order in which `tf.nest` and Keras flatten a tree of them.

    Examples:
        >>> from rlsample.spaces.observations import parts
        >>> parts(gym.spaces.Dict(b=gym.spaces.Discrete(3), a=gym.spaces.Discrete(2)))
        [Discrete(2), Discrete(3)]
    """
    return nest.flatten(map_parts(lambda _, part: part, space))


def specs(space: gym.Space) -> Any:
    """The tree of `tf.TensorSpec` of one observation.

    Bytes and booleans stay what they are, other integers become int32, and other floats float32.

    Examples:
        >>> from rlsample.spaces.observations import specs
        >>> specs(gym.spaces.Box(0, 255, (84, 84, 3), np.uint8))
        TensorSpec(shape=(84, 84, 3), dtype=tf.uint8, name=None)
    """
    import tensorflow as tf  # Not above: what steps environments far away from any learner needs the rest alone.

    return map_parts(lambda _, part: tf.TensorSpec(part.shape or (), dtype_of(part)), space)


def dtype_of(part: gym.Space) -> np.dtype:
    """The dtype in which observations of an array space are kept.

    Examples:
        >>> from rlsample.spaces.observations import dtype_of
        >>> dtype_of(gym.spaces.Discrete(4)), dtype_of(gym.spaces.Box(-1, 1, (2,), np.float64))
        (dtype('int32'), dtype('float32'))
    """
    if isinstance(part, gym.spaces.MultiBinary) or part.dtype == np.bool_:
        return np.dtype(np.bool_)
    if part.dtype == np.uint8:
        return np.dtype(np.uint8)
    return np.dtype(np.int32 if np.issubdtype(part.dtype, np.integer) else np.float32)
