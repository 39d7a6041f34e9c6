"""Ordered levels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample.distributions import OrdinalDistribution
from rlsample.tfp.base import PolicyDistribution, Properties, as_parameter, register_kl
from rlsample.types import TensorLike


@register_kl
class DiscretizedLogistic(PolicyDistribution):
    """Ordered levels 0 .. K-1 from a location and a scale; see `OrdinalDistribution`.

    Args:
        location: float `[...]` or `[..., F]`, in levels.
        scale: the same shape, above 0.
        num_categories: K.
        rounder: a name of `ops.ROUNDERS`, whose gradient the draws carry.
        sharpness: of the rounder, number or tensor, scalar or of the batch shape.
        mask: boolean `[..., K]` or `[..., F, K]`, True = legal.
        factored: whether events are `[F, K]` rather than `[K]`.
        validate_args: as in TFP.
        allow_nan_stats: as in TFP.
        name: as in TFP.
    """

    def __init__(
        self,
        location: TensorLike,
        scale: TensorLike,
        num_categories: int,
        rounder: str = "straight_through",
        sharpness: TensorLike = 1.0,
        mask: TensorLike | None = None,
        factored: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "DiscretizedLogistic",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            self._location = as_parameter(location)
            self._scale = as_parameter(scale, self._location.dtype)
            self._num_categories = num_categories
            self._rounder = rounder
            self._sharpness = as_parameter(sharpness, self._location.dtype)
            self._mask = as_parameter(mask)
            self._factored = factored
            _ = self.law
            super().__init__(
                dtype=self._location.dtype,
                pathwise=True,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        def event_ndims(self: DiscretizedLogistic) -> int:
            return int(self._factored)

        return {
            "location": Properties(event_ndims=event_ndims),
            "scale": Properties(event_ndims=event_ndims),
            "sharpness": Properties(event_ndims=0),
            "mask": Properties(event_ndims=lambda self: 1 + self._factored),
        }

    @property
    def distribution(self) -> OrdinalDistribution:
        """The law, from the current values of the parameters."""
        return OrdinalDistribution(
            self._location,
            self._scale,
            self._num_categories,
            self._rounder,
            self._sharpness,
            self._mask,
            self._factored,
        )

    def _event_shape(self) -> tf.TensorShape:
        factors = self._location.shape[-1:] if self._factored else tf.TensorShape([])
        return factors.concatenate([self._num_categories])

    def _event_shape_tensor(self) -> tf.Tensor:
        factors = tf.shape(self._location)[-1:] if self._factored else tf.zeros([0], tf.int32)
        return tf.concat([factors, [self._num_categories]], 0)
