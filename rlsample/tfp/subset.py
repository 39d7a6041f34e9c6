"""k distinct items, in order."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample.distributions import SubsetDistribution
from rlsample.tfp.base import PolicyDistribution, Properties, as_parameter, register_kl
from rlsample.types import TensorLike


@register_kl
class OrderedSubset(PolicyDistribution):
    """k distinct items out of K in order (Plackett-Luce), events `[k, K]`; see `SubsetDistribution`.

    Args:
        logits: float `[..., K]`; -inf marks an illegal item.
        num_items: k.
        temperature: number or tensor, scalar or of the batch shape.
        relaxed: whether draws are the relaxed rows rather than one-hots with their gradient.
        mask: boolean `[..., K]`, True = legal.
        max_outcomes: bound on the K^k sequences that `entropy` and `kl_divergence` sum over.
        validate_args: as in TFP.
        allow_nan_stats: as in TFP.
        name: as in TFP.
    """

    def __init__(
        self,
        logits: TensorLike,
        num_items: int,
        temperature: TensorLike = 1.0,
        relaxed: bool = False,
        mask: TensorLike | None = None,
        max_outcomes: int = 4096,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "OrderedSubset",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            self._logits = as_parameter(logits)
            self._num_items = num_items
            self._temperature = as_parameter(temperature, self._logits.dtype)
            self._relaxed = relaxed
            self._mask = as_parameter(mask)
            self._max_outcomes = max_outcomes
            _ = self.law
            super().__init__(
                dtype=self._logits.dtype,
                pathwise=True,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        return {
            "logits": Properties(event_ndims=1),
            "temperature": Properties(event_ndims=0),
            "mask": Properties(event_ndims=1),
        }

    @property
    def distribution(self) -> SubsetDistribution:
        """The law, from the current values of the parameters."""
        return SubsetDistribution(
            self._logits, self._num_items, self._temperature, self._relaxed, self._mask, self._max_outcomes
        )

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self._num_items]).concatenate(self._logits.shape[-1:])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.concat([[self._num_items], tf.shape(self._logits)[-1:]], 0)
