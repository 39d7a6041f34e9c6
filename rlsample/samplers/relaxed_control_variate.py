"""What rebar and relax share: the score function with a control variate of the relaxed draw."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers.base import PreparedLogits, independent_seeds
from rlsample.samplers.control_variates import ControlVariate
from rlsample.samplers.explicit_gradient import ExplicitGradient, without_gradient
from rlsample.samplers.gumbel_softmax import centre
from rlsample.samplers.objectives import expand_like, joint, mean_over_draws, objective_values
from rlsample.types import Objective, TensorLike


class CoupledNoise(NamedTuple):
    """A relaxed draw, the category it gives, and a second relaxed draw that is independent given the category.

    Attributes:
        one_hot: D = one_hot(argmax z), `[..., K]`.
        relaxed: z = log p + G, `[..., K]`; its derivative with respect to log p is 1.
        conditional: z~ ~ (z | D), `[..., K]`.
        slope: derivative of z~ with respect to log p, `[..., K]`: 0 at the category drawn.
    """

    one_hot: tf.Tensor
    relaxed: tf.Tensor
    conditional: tf.Tensor
    slope: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelaxedControlVariate(ExplicitGradient):
    """The score function with a control variate c(z) of the relaxed draw, whose mean is added back pathwise.

        noise     z = log p + G, D = one_hot(argmax z), z~ ~ (z | D) with noise of its own
        c(z)      eta f(softmax(z / lambda)) + network(z); a subclass says what the network is
        backward  (f(D) - c(z~)) (D - p) + dc(z)/dlogits - dc(z~)/dlogits, derivatives taken through z and z~

    Attributes:
        scale: eta; 0 leaves the objective out of the control variate.
        relaxation_temperature: lambda. The `temperature` of a call multiplies it.
        control_variate: what is learned; the caller owns and saves it.
    """

    scale: float = 1.0
    relaxation_temperature: float = 0.5
    control_variate: keras.layers.Layer | None = None

    def __post_init__(self) -> None:
        checks.check_positive("relaxation_temperature", self.relaxation_temperature)
        number = isinstance(self.scale, (int, float)) and not isinstance(self.scale, bool)
        if not (number and math.isfinite(self.scale)):
            raise checks.invalid("scale to be a finite number", scale=self.scale)
        self._check_control_variate()

    @abc.abstractmethod
    def _check_control_variate(self) -> None:
        """Raises ValueError unless `control_variate` is one that the estimator takes."""

    @abc.abstractmethod
    def _network(self, z: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """The free-form part of the control variate at z, of the shape of the objective's `values`."""

    def variance_loss(
        self,
        objective: Objective,
        logits: TensorLike,
        seed: TensorLike,
        *,
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        num_samples: int = 1,
    ) -> tf.Tensor:
        """What to minimise in the variables of the control variate, and in nothing else.

        The mean over rows and draws of |gradient|^2, the gradient being that of `expectation` to the logits. Its mean
        does not depend on the control variate, so the derivative of this is, from one draw, an unbiased estimate of
        the derivative of the variance.

        Args:
            objective: as in `expectation`, and so are the others.
            logits: float `[..., (F,) K]`; no gradient reaches them.
            seed: int32 `[2]`; that of `expectation` gives its draw.
            temperature: as in `expectation`.
            mask: as in `expectation`.
            num_samples: how many independent draws to average.

        Returns:
            A scalar, float32 or float64: the second moment of the gradient, which is its variance plus a constant.
        """
        seeds = independent_seeds(seed, checks.check_count("num_samples", num_samples))
        prepared = without_gradient(self.prepare(logits, temperature, mask))
        estimates = [self.values_and_gradient(objective, prepared, each) for each in seeds]
        squares = [joint(tf.reduce_sum(gradient**2, -1), values) for values, gradient in estimates]
        return tf.reduce_mean(mean_over_draws(squares))

    def values_and_gradient(
        self, objective: Objective, prepared: PreparedLogits, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ExplicitGradient`; the gradient is differentiable in the variables of the control variate."""
        logits, temperature, dtype = prepared.logits, prepared.temperature, prepared.given.dtype
        log_probs, probs = tf.nn.log_softmax(logits), tf.nn.softmax(logits)
        noise = coupled_noise(log_probs, seed)
        values = objective_values(objective, tf.cast(noise.one_hot, dtype))
        _, relaxed_slope = self._control(objective, noise.relaxed, values, temperature, dtype)
        control, conditional_slope = self._control(objective, noise.conditional, values, temperature, dtype)
        advantage = expand_like(values, logits) - expand_like(control, logits)
        to_log_probs = relaxed_slope - noise.slope * conditional_slope
        pathwise = to_log_probs - probs * tf.reduce_sum(to_log_probs, -1, keepdims=True)
        return values, advantage * (noise.one_hot - probs) + pathwise

    def _control(
        self, objective: Objective, z: tf.Tensor, values: tf.Tensor, temperature: tf.Tensor | None, dtype: tf.DType
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The control variate c at z, of the shape of `values`, and its gradient to z `[..., (F,) K]`."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            control = self._network(z, values)
            relaxed = None
            if self.scale:
                scale, relaxation_temperature = self._relaxation(z.dtype, temperature)
                relaxed = tf.cast(ops.tempered_softmax(centre(z), relaxation_temperature), dtype)
                control += scale * tf.cast(objective_values(objective, relaxed), z.dtype)
        slope, to_relaxed = tape.gradient(control, [z, relaxed if self.scale else z])
        if self.scale and to_relaxed is None:
            # Without a derivative the pathwise terms would be missing in silence, and the estimate biased.
            raise checks.invalid(
                "objective to be differentiable in a relaxed one-hot",
                gradient=None,
                hint="For one that is not use leave_one_out, or relax with scale=0 and a network.",
            )
        return control, tf.zeros_like(z) if slope is None else slope

    def _relaxation(self, dtype: tf.DType, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """The scale eta and the temperature lambda, with what is learned and the temperature of the call."""
        scale, relaxation = tf.constant(self.scale, dtype), tf.constant(self.relaxation_temperature, dtype)
        if isinstance(self.control_variate, ControlVariate):
            scale *= tf.cast(self.control_variate.scale, dtype)
            relaxation *= tf.exp(tf.cast(self.control_variate.log_temperature, dtype))
        return scale, relaxation if temperature is None else relaxation * temperature

    def to_config(self) -> dict[str, Any]:
        """See `Sampler.to_config`.

        Raises:
            ValueError: the sampler has a control variate, whose weights a config cannot hold.
        """
        config = super().to_config()
        if config.pop("control_variate") is not None:
            raise checks.invalid(
                "a sampler without a live control variate to be turned into a config",
                control_variate=self.control_variate,
                hint="Save the control variate beside, as a Keras object, and pass it when the sampler is made again.",
            )
        return config


def coupled_noise(log_probs: tf.Tensor, seed: TensorLike) -> CoupledNoise:
    """Draws z, D and z~ for normalised log-probabilities `[..., K]`, illegal ones at a finite floor."""
    first, second = tf.unstack(ops.split(seed, 2))
    relaxed = log_probs + tf.cast(ops.gumbel(tf.shape(log_probs), first), log_probs.dtype)
    one_hot = tf.one_hot(tf.argmax(relaxed, -1), tf.shape(log_probs)[-1], dtype=log_probs.dtype)
    # The largest perturbed logit is a standard Gumbel; the others are Gumbels cut off at it.
    log_noise = tf.cast(tf.math.log(ops.exponential(tf.shape(log_probs), second)), log_probs.dtype)
    log_top = tf.reduce_sum(one_hot * log_noise, -1, keepdims=True)
    ahead = log_noise - log_probs - log_top
    others = -(log_top + tf.math.softplus(ahead))
    conditional = tf.where(one_hot > 0, -log_top, others)
    return CoupledNoise(one_hot, relaxed, conditional, (1 - one_hot) * tf.sigmoid(ahead))


def no_network(z: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Zeros in place of a network at z, of the shape of the objective's `values`."""
    return tf.zeros_like(tf.stop_gradient(values), z.dtype)
