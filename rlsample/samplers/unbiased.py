"""What estimators share that work out the gradient to the logits themselves."""

from __future__ import annotations

import abc
import dataclasses

import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers import base
from rlsample.samplers.categorical import Categorical
from rlsample.types import Objective, TensorLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnbiasedSampler(Categorical):
    """A categorical draw whose `expectation` is an unbiased value with an explicit, unbiased gradient to the logits.

    A call draws D ~ softmax(logits) as `categorical` does. A subclass implements `estimate`. `num_samples` of
    `expectation` is the number of independent estimates that are averaged.
    """

    @abc.abstractmethod
    def estimate(
        self, objective: Objective, logits: tf.Tensor, seed: TensorLike, temperature: tf.Tensor | None, dtype: tf.DType
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One estimate of E[objective(one_hot)] and of its gradient.

        Args:
            objective: as `expectation` takes it.
            logits: float32 or float64 `[..., (F,) K]` from `ops.legal_logits`, without a gradient.
            seed: int32 `[2]`.
            temperature: a tensor of the dtype of `logits`, scalar or `[..., 1]`; None means 1.
            dtype: of the one-hots that `objective` is to see.

        Returns:
            (values `[...]`, differentiable in what the objective closes over; gradient, of the shape and dtype of
            `logits`, illegal entries 0).
        """

    def expectation(
        self,
        objective: Objective,
        logits: TensorLike,
        seed: TensorLike,
        *,
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        num_samples: int = 1,
    ) -> tf.Tensor:
        """See `Sampler.expectation`: `num_samples` independent estimates, averaged."""
        legal, estimates = self.estimates(objective, logits, seed, temperature, mask, num_samples)
        return base.mean_over_draws([with_logits_gradient(values, gradient, legal) for values, gradient in estimates])

    def estimates(
        self,
        objective: Objective,
        logits: TensorLike,
        seed: TensorLike,
        temperature: TensorLike,
        mask: TensorLike | None,
        num_samples: int,
    ) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
        """Checks the arguments of `expectation`; returns the prepared logits and what `estimate` gave for each seed."""
        checks.check_count("num_samples", num_samples)
        logits, mask = checks.check_logits(logits, mask)
        legal = ops.legal_logits(logits, mask)
        scale = base.row_temperature(temperature, legal)
        seeds = [checks.check_seed(seed)] if num_samples == 1 else tf.unstack(ops.split(seed, num_samples), num_samples)
        constant = tf.stop_gradient(legal)
        return legal, [self.estimate(objective, constant, each, scale, logits.dtype) for each in seeds]


def with_logits_gradient(values: tf.Tensor, gradient: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Value `values`, with its own gradients, and the given one to the logits: `[...]` from two `[..., (F,) K]`."""
    # Zero forward, except in a row of NaN, which it passes on.
    change = tf.reduce_sum(tf.stop_gradient(gradient) * (logits - tf.stop_gradient(logits)), -1)
    return values + tf.cast(base.joint(change, values), values.dtype)


def expand_like(values: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Values `[...]` in the dtype of `logits` `[..., (F,) K]`, with an axis of 1 for each that they lack."""
    ones = tf.ones([logits.shape.rank - values.shape.rank], tf.int32)
    return tf.reshape(tf.cast(values, logits.dtype), tf.concat([tf.shape(values), ones], 0))
