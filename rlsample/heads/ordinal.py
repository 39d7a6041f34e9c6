"""Ordered actions: torque levels, quantities, prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.distributions import OrdinalDistribution
from rlsample.heads.base import PolicyHead
from rlsample.heads.logits import check_temperature_gradient
from rlsample.heads.sizes import one_size
from rlsample.types import TensorLike

# The rounders whose sharpness has a least value above 0.
_LEAST_SHARPNESS = {"ramp": 1.0}


@keras.saving.register_keras_serializable(package="rlsample")
class OrdinalHead(PolicyHead):
    """Levels in order: a real number with logistic noise, rounded to the nearest legal level.

    Calling it returns, in the place of logits, `[..., 2]` or `[..., F, 2]`: location and scale in levels, two numbers
    per factor whatever the number of levels. Neighbouring levels learn together: see `OrdinalDistribution`. At first
    every location is in the middle and the scale is a quarter of the range, which is close to uniform.

    The temperature anneals the rounding: its sharpness is 1 / temperature (alpha of soft_round, slope of ramp and
    sigmoid, terms of fourier, compositions of sine), so that a falling temperature goes from a smooth, biased gradient
    to a sharp, noisy one. The probabilities do not depend on it. With a sampler it is the sampler's; `fini`, which is
    made for ordered actions, uses none.

    Args:
        action_space: any discrete space, its factors all ordered; or a number of levels.
        rounder: a name of `ops.ROUNDERS`; straight_through has no sharpness.
        sampler: a sampler, its name or its config, that draws a level by its mass; None rounds the real number.
        temperature: first value of 1 / sharpness.
        **kwargs: seed, hidden_sizes, activation, kernel_gain and those of every Keras layer; see `PolicyHead`.

    Raises:
        ValueError: a space with a part that is not discrete, an unknown rounder, or an option out of range.

    Examples:
        >>> head = heads.OrdinalHead(5)
        >>> location_and_scale = head(tf.zeros([1, 8]))
        >>> print(location_and_scale.numpy())
        [[2.    1.251]]
        >>> print(head.distribution(location_and_scale).probs().numpy())
        [[0.232 0.17  0.197 0.17  0.232]]
    """

    def __init__(
        self,
        action_space: gym.Space | int,
        rounder: str = "soft_round",
        *,
        sampler: str | Mapping[str, Any] | samplers.Sampler | None = None,
        temperature: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(one_size(action_space, "num_levels"), temperature=temperature, **kwargs)
        if rounder not in ops.ROUNDERS:
            raise checks.unknown("rounder", rounder, ops.ROUNDERS)
        self.sampler = None if sampler is None else samplers.create(sampler)
        if self.trainable_temperature and self.sampler is not None:
            check_temperature_gradient(self.sampler)
        elif self.trainable_temperature and ops.SHARPNESS[rounder] is None:
            raise checks.invalid("a rounder with a sharpness to train", rounder=rounder)
        self.rounder = rounder

    @property
    def units(self) -> int:
        """Width of the output layer."""
        return 2 * self.factors.num_factors

    @property
    def sharpness(self) -> tf.Tensor:
        """Of the rounder: 1 / temperature, or the least that it takes."""
        sharpness = 1 / tf.convert_to_tensor(self.temperature)
        return tf.maximum(sharpness, _LEAST_SHARPNESS.get(self.rounder, 0.0))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Location and scale `[..., (F,) 2]`, float32."""
        values = self.forward(features)
        values = tf.reshape(values, tf.concat([tf.shape(values)[:-1], [*self.factors.action_shape, 2]], 0))
        sizes = np.reshape(self.factors.sizes, self.factors.action_shape).astype(values.dtype.as_numpy_dtype)
        location = (sizes - 1) / 2 * (1 + values[..., 0])
        # softplus(log(e - 1)) is 1; the floor keeps a division by the scale finite.
        scale = sizes / 4 * tf.nn.softplus(values[..., 1] + math.log(math.e - 1)) + 1e-3
        return tf.stack([location, scale], -1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`[..., 2]` or `[..., F, 2]`."""
        return (*input_shape[:-1], *self.factors.action_shape, 2)

    def distribution(self, logits: TensorLike, mask: TensorLike | None = None) -> OrdinalDistribution:
        """See `PolicyHead.distribution`; takes locations and scales."""
        values, padding = tf.convert_to_tensor(logits), self.factors.padding_mask
        self._check_event(values, (*self.factors.action_shape, 2))
        if padding is not None:
            mask = padding if mask is None else padding & _matching(mask, tf.TensorShape(padding.shape))
        return OrdinalDistribution(
            values[..., 0],
            values[..., 1],
            self.factors.num_categories,
            self.rounder,
            self.sharpness,
            mask,
            not self.factors.single,
            self.sampler,
        )

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        sampler = None if self.sampler is None else self.sampler.to_config()
        return {**super().get_config(), "rounder": self.rounder, "sampler": sampler}


def _matching(mask: TensorLike, event: tf.TensorShape) -> tf.Tensor:
    """A boolean mask whose last axes are `event`, so that combining it with another cannot broadcast a wrong one."""
    mask = tf.convert_to_tensor(mask)
    if not mask.shape[-2:].is_compatible_with(event):
        raise checks.invalid(f"mask to end in the shape of the factors, {event}", mask_shape=tuple(mask.shape))
    return tf.cast(mask, tf.bool)
