"""The decoupled straight-through estimator: one temperature for the draw, another for the gradient."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import tensorflow as tf

from rlsample import checks, ops
from rlsample.ops.softmax import ILLEGAL
from rlsample.samplers.base import Sampler
from rlsample.samplers.inverse_cdf import draw_one_hot
from rlsample.samplers.softmax import Softmax
from rlsample.types import TensorLike


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoupledStraightThrough(Sampler):
    """A hard draw from softmax(logits / forward_temperature) with the gradient of softmax(logits / temperature).

        forward   D ~ softmax(logits / tau_f), one-hot
        backward  (1 / tau) p_tau * (g - <p_tau, g>), p_tau = softmax(logits / tau)

    The draw is not from softmax(logits): `drawn_logits` gives the logits of the distribution that is drawn from, and
    log-probabilities, entropies and importance ratios must use those. The forward temperature has to change that
    distribution: dividing after the Gumbel noise is added, argmax((logits + G) / tau_f), changes nothing.

    Bias: exact only if tau_f = tau = 1 and the objective is linear in the one-hot; with tau_f = tau it is
    `straight_through` on logits / tau. tau_f -> 0: the draw becomes the mode; tau_f -> infinity: uniform. In tau the
    limits are those of `straight_through`.

    Attributes:
        forward_temperature: tau_f. Above 1 it explores more than softmax(logits) does, below 1 less.

    Source: Shah, Yan, Mozer and Liu (2024), "Improving discrete optimisation via decoupled straight-through
    estimator", arXiv 2410.13331, version 2.

    Examples:
        >>> sampler = samplers.create({"name": "decoupled_straight_through", "forward_temperature": 2.0})
        >>> print(ops.softmax(sampler.drawn_logits([0.0, 1.0, 2.0])).numpy())  # what is drawn from
        [0.186 0.307 0.506]
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.692 -2.955  3.647] [0.581 2.48  3.061]
    """

    name: ClassVar[str] = "decoupled_straight_through"
    family: ClassVar[str] = "straight-through"
    draws_from_logits: ClassVar[bool] = False

    forward_temperature: float = 1.0

    def __post_init__(self) -> None:
        checks.check_positive("forward_temperature", self.forward_temperature)

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        forward_temperature = tf.constant(self.forward_temperature, logits.dtype)
        action, one_hot = draw_one_hot(ops.normalise(ops.temper(logits, forward_temperature)), seed)
        tempered = ops.temper(logits, temperature)
        return action, ops.with_softmax_gradient(one_hot, tempered, ops.normalise(tempered))

    def drawn_logits(
        self, logits: TensorLike, *, temperature: TensorLike = 1.0, mask: TensorLike | None = None
    ) -> tf.Tensor:
        """The logits divided by `forward_temperature`, with a row maximum of 0 so that dividing cannot overflow."""
        logits = tf.convert_to_tensor(logits)
        legal = ops.legal_logits(logits, mask)
        # -inf marks the illegal; their floor divided by a temperature above 1 would pass for a legal logit.
        divided = tf.where(legal <= ILLEGAL, tf.constant(float("-inf"), legal.dtype), legal / self.forward_temperature)
        return tf.cast(divided, logits.dtype)

    @property
    def relaxation(self) -> Softmax:
        """See `Sampler.relaxation`."""
        return Softmax()
