"""A temperature that holds what is measured while training at a target."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from rlsample import checks
from rlsample.schedules.base import Temperature
from rlsample.types import TensorLike

HELD = {"entropy": "sampler/relaxed_entropy", "signal_to_noise": "sampler/gradient_snr"}
"""What can be held, and the metric that measures it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptive(Temperature):
    """Raises the temperature while a metric is below its target, and lowers it while it is above.

        log tau <- clip(log tau + rate * clip(log(target / measured), -1, 1), log minimum, log maximum)

    once for each measurement; one that is NaN changes nothing. What it can hold, both of which rise with the
    temperature of the Gumbel-softmax family:

        entropy           that of the relaxed sample behind the gradient, as a share of the largest: near 0 it is a
                          one-hot, whose gradient has little bias and much noise, near 1 the other way round. It is not
                          the entropy of the policy, which no temperature of a hard sampler changes. As a policy
                          becomes certain its logits grow, and the temperature with them.
        signal_to_noise   |mean| / standard deviation of the sampler's gradient against the agent's own critic: the
                          noise is bounded, the bias is whatever that takes.

    Attributes:
        holds: "entropy" or "signal_to_noise".
        target: of the measured value; below 1 for the entropy.
        start: the temperature before anything was measured.
        minimum: the lowest temperature.
        maximum: the highest temperature.
        rate: by how much log tau moves at most for one measurement; 1 / rate of them average out its noise.

    Examples:
        >>> temperature = schedules.Adaptive(target=0.3, rate=0.1)
        >>> state = temperature.initial()
        >>> for measured in (0.6, 0.3, 0.2):
        ...     state = temperature.update(state, {temperature.metric: measured})
        ...     print(round(float(temperature.at(state, 0)), 3))
        0.933
        0.933
        0.972
    """

    name: ClassVar[str] = "adaptive"

    target: float
    holds: str = "entropy"
    start: float = 1.0
    minimum: float = 0.1
    maximum: float = 10.0
    rate: float = 0.05

    def __post_init__(self) -> None:
        for name in ("target", "start", "minimum", "maximum", "rate"):
            object.__setattr__(self, name, checks.check_positive(name, getattr(self, name)))
        if not isinstance(self.holds, str) or self.holds not in HELD:
            raise checks.unknown("quantity to hold", self.holds, HELD)
        if self.holds == "entropy" and self.target >= 1:
            raise checks.invalid("a target entropy below 1, the share of the largest", target=self.target)
        if not self.minimum <= self.start <= self.maximum:
            received: dict[str, Any] = {"minimum": self.minimum, "start": self.start, "maximum": self.maximum}
            raise checks.invalid("minimum <= start <= maximum", **received)

    @property
    def metric(self) -> str:
        """See `Temperature.metric`."""
        return HELD[self.holds]

    def initial(self) -> tf.Tensor:
        """See `Temperature.initial`; the logarithm of the temperature, float32 scalar."""
        return tf.constant(math.log(self.start))

    def at(self, state: tf.Tensor, step: TensorLike) -> tf.Tensor:
        """See `Temperature.at`."""
        # Within its bounds to the last digit, which the logarithm would miss.
        return tf.clip_by_value(tf.exp(state), self.minimum, self.maximum)

    def update(self, state: tf.Tensor, metrics: Mapping[str, TensorLike]) -> tf.Tensor:
        """See `Temperature.update`."""
        measured = tf.cast(metrics[self.metric], tf.float32)
        error = tf.clip_by_value(math.log(self.target) - tf.math.log(tf.maximum(measured, 0.0)), -1.0, 1.0)
        moved = state + self.rate * tf.where(tf.math.is_nan(measured), 0.0, error)
        return tf.clip_by_value(moved, math.log(self.minimum), math.log(self.maximum))
