"""Factors that depend on those before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rlsample import samplers
from rlsample.distributions import AutoregressiveDistribution
from rlsample.distributions.autoregressive import Conditional
from rlsample.tfp.base import PolicyDistribution, Properties, as_parameter, register_kl
from rlsample.types import TensorLike


@register_kl
class AutoregressiveCategorical(PolicyDistribution):
    """F categorical factors, each conditioned on those before it; see `AutoregressiveDistribution`.

    Args:
        context: float `[..., S]`, what calling an `AutoregressiveHead` returned.
        conditional: the head.
        sampler: a sampler, its name or its config.
        temperature: number or tensor, scalar or of the batch shape.
        mask: boolean `[..., F, K]`, True = legal.
        max_outcomes: bound on the joint actions that `entropy` and `kl_divergence` sum over.
        validate_args: as in TFP.
        allow_nan_stats: as in TFP.
        name: as in TFP.
    """

    def __init__(
        self,
        context: TensorLike,
        conditional: Conditional,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "categorical",
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        max_outcomes: int = 4096,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "AutoregressiveCategorical",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            self._context = as_parameter(context)
            self._conditional = conditional
            self._sampler = samplers.create(sampler)
            self._temperature = as_parameter(temperature, self._context.dtype)
            self._mask = as_parameter(mask)
            self._max_outcomes = max_outcomes
            _ = self.law
            super().__init__(
                dtype=self._context.dtype,
                pathwise=self._sampler.pathwise,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        return {
            "context": Properties(event_ndims=1),
            "temperature": Properties(event_ndims=0),
            "mask": Properties(event_ndims=2),
        }

    @property
    def distribution(self) -> AutoregressiveDistribution:
        """The law, from the current values of the parameters."""
        return AutoregressiveDistribution(
            self._context, self._conditional, self._sampler, self._temperature, self._mask, self._max_outcomes
        )

    def _event_shape(self) -> tf.TensorShape:
        sizes = self._conditional.sizes
        return tf.TensorShape([len(sizes), max(sizes)])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._event_shape().as_list())
