"""Convolutional networks for images and for planes of features."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import keras

from rlsample import checks
from rlsample.networks.base import DenseNetwork, inputs_of, registry
from rlsample.networks.planes import Channels, channels_of, check_scaled, plane_shape, planes


class Stack(NamedTuple):
    """Layers that suit images of a size."""

    smallest_side: int
    filters: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    strides: tuple[int, ...]
    hidden_sizes: tuple[int, ...]


STACKS = (
    Stack(36, (32, 64, 64), (8, 4, 3), (4, 2, 1), (512,)),
    Stack(16, (32, 64, 64), (3, 3, 3), (2, 2, 1), (256,)),
    Stack(0, (16,), (3,), (1,), (128,)),
)
"""Mnih et al. (2015), Human-level control through deep reinforcement learning, for screens; something between; Young
and Tian (2019), arXiv 1903.03176 (MinAtar), for small planes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvolutionalLayers(DenseNetwork):
    """Convolutions below the dense layers; what is left open follows from the size of the image.

    Attributes:
        filters: of each convolution.
        kernel_sizes: side of each one's kernel; 3 where there are filters alone.
        strides: of each one; 1 where there are filters alone.
    """

    filters: tuple[int, ...] | None = None
    kernel_sizes: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("filters", "kernel_sizes", "strides"):
            self._keep_sizes(name)

    def _fitted_to(self, height: int, width: int, stack: Stack) -> Any:
        """The layers decided, those of the stack where nothing is said; the kernels are checked against the image."""
        received: dict[str, Any] = {name: getattr(self, name) for name in ("filters", "kernel_sizes", "strides")}
        if all(value is None for value in received.values()):
            received = {name: getattr(stack, name) for name in received}
        elif received["filters"] is None:
            raise checks.invalid("filters with kernel_sizes and strides", **received)
        for name, usual in (("kernel_sizes", 3), ("strides", 1)):
            if received[name] is None:
                received[name] = (usual,) * len(received["filters"])
        if len({len(value) for value in received.values()}) > 1:
            raise checks.invalid("filters, kernel_sizes and strides of one length", **received)
        network = self._decided(**received, hidden_sizes=stack.hidden_sizes, activation="relu")
        for kernel, stride in zip(network.kernel_sizes, network.strides, strict=True):
            if min(height, width) < kernel:
                raise checks.invalid("kernels that fit the image", kernel_size=kernel, left_of_it=(height, width))
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
        return network

    def convolutions(self, image: Any) -> Any:
        """Planes `[B, H, W, C]` through the convolutions, flat: `[B, D]`."""
        layers = zip(self.filters or (), self.kernel_sizes or (), self.strides or (), strict=True)
        for filters, size, stride in layers:
            layer = keras.layers.Conv2D(filters, size, stride, kernel_initializer=keras.initializers.Orthogonal(2**0.5))
            image = self.activated(layer, image)
        return keras.layers.Flatten()(image)


@registry.register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolutional(ConvolutionalLayers):
    """Convolutions on an image or on planes of features, then dense layers. Bytes are scaled to 0 .. 1.

    Attributes:
        channels: "first" or "last" axis of an image; by default the shorter of the two ends.

    Examples:
        >>> network = networks.Convolutional(filters=(8, 16), kernel_sizes=(4, 3), strides=(2, 1), hidden_sizes=(32,))
        >>> networks.model_of(network, gym.spaces.Box(0, 255, (24, 24, 3), np.uint8)).output_shape
        (None, 32)
    """

    name: ClassVar[str] = "convolutional"

    channels: Channels | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels not in (None, "first", "last"):
            raise checks.invalid("channels to be first or last", channels=self.channels)

    def fitted(self, space: gym.Space, **defaults: Any) -> Convolutional:
        """See `Network.fitted`; an agent's dense layers are for vectors, and are not taken over."""
        channels = self.channels or channels_of(space)
        height, width, _ = plane_shape(space, channels)
        check_scaled(space)
        stack = next(each for each in STACKS if min(height, width) >= each.smallest_side)
        return self._decided(channels=channels)._fitted_to(height, width, stack)

    def build(self, space: gym.Space) -> keras.Model:
        """See `Network.build`."""
        network, inputs = self.fitted(space), inputs_of(space)
        image = planes(inputs, space, network.channels or "last")
        return keras.Model(inputs, network.dense(network.convolutions(image)))
