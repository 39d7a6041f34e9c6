"""Networks for grids whose cells hold categories: integers that name things, and do not measure them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.networks.base import inputs_of, registry
from rlsample.networks.convolutional import ConvolutionalLayers, Stack

STACK = Stack(0, (16, 32), (3, 3), (1, 1), (128,))

MOST_PLANES = 32
"""Up to so many categories over all channels become one plane each; more are embedded."""

EMBEDDING_SIZE = 16

MOST_CATEGORIES = 1024
"""Of one channel; a larger number is no category."""


@keras.saving.register_keras_serializable(package="rlsample")
class Cells(keras.layers.Layer):
    """Categories `[B, H, W, C]` -> planes: one for each category of each channel, or the sum of learned vectors.

    Args:
        sizes: number of categories of each channel.
        embedding_size: length of the learned vectors; None for one-hots.
        **kwargs: as of every Keras layer.
    """

    def __init__(self, sizes: Sequence[int], embedding_size: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes, self.embedding_size = tuple(sizes), embedding_size

    def build(self, input_shape: Any) -> None:
        """Makes the table of vectors `[all categories, size]`, of variance 1 / channels."""
        if self.embedding_size is not None:
            initializer = keras.initializers.RandomNormal(stddev=len(self.sizes) ** -0.5)
            self.table = self.add_weight(
                name="table", shape=(sum(self.sizes), self.embedding_size), initializer=initializer
            )

    def call(self, cells: tf.Tensor) -> tf.Tensor:
        """The planes, float `[B, H, W, D]`."""
        cells = tf.cast(cells, tf.int32)
        if self.embedding_size is None:
            hot = [tf.one_hot(cells[..., channel], size) for channel, size in enumerate(self.sizes)]
            return tf.concat(hot, -1)
        starts = np.cumsum([0, *self.sizes[:-1]], dtype=np.int32)
        return tf.reduce_sum(tf.gather(tf.convert_to_tensor(self.table), cells + starts), -2)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`[B, H, W, D]`."""
        return (*input_shape[:-1], self.embedding_size or sum(self.sizes))

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "sizes": list(self.sizes), "embedding_size": self.embedding_size}


def categories(space: gym.Space) -> tuple[int, ...]:
    """Number of categories of each channel of a grid `[H, W]` or `[H, W, C]`.

    Raises:
        ValueError: the space is no grid of categories.
    """
    grid = isinstance(space, gym.spaces.Box) and len(space.shape) in (2, 3) and np.issubdtype(space.dtype, np.integer)
    if not grid or space.low.min() < 0 or space.high.max() >= MOST_CATEGORIES:
        rule = f"a grid: a Box of integers from 0 to {MOST_CATEGORIES - 1} of shape [H, W] or [H, W, C]"
        raise checks.invalid(rule, observation=space)
    highest = space.high.reshape(*space.shape[:2], -1).max((0, 1))
    return tuple(int(high) + 1 for high in highest)


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid(ConvolutionalLayers):
    """Cells as planes or as learned vectors, then convolutions and dense layers.

    The vectors of a cell's channels are added up, as by Hui et al. (2020), arXiv 2007.12770 (BabyAI 1.1).

    Attributes:
        embedding_size: length of the vectors; 0 for a plane for each category. By default planes if they are few.

    Examples:
        >>> space = gym.spaces.Box(0, 10, (7, 7, 3), np.uint8)  # cells that name things, as MiniGrid has them
        >>> networks.model_of(networks.Grid(embedding_size=8, hidden_sizes=(32,)), space).output_shape
        (None, 32)
    """

    name: ClassVar[str] = "grid"

    embedding_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_size is not None:
            checks.check_count("embedding_size", self.embedding_size, minimum=0)

    def fitted(self, space: gym.Space, **defaults: Any) -> Grid:
        """See `Network.fitted`."""
        few = sum(categories(space)) <= MOST_PLANES
        network = self._decided(embedding_size=0 if few else EMBEDDING_SIZE)
        return network._fitted_to(*space.shape[:2], STACK)

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        network, inputs = self.fitted(space), inputs_of(space)
        grid = inputs if len(space.shape) == 3 else keras.layers.Reshape((*space.shape, 1))(inputs)
        cells = Cells(categories(space), network.embedding_size or None)(grid)
        return keras.Model(inputs, network.dense(network.convolutions(cells)))
