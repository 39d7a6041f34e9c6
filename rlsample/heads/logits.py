"""What heads of categorical factors share: a sampler, and options that shape the logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.heads.base import PolicyHead


class LogitsHead(PolicyHead):
    """A head whose factors are categorical and drawn by a sampler; base class.

    Attributes:
        sampler: the gradient estimator.

    Args:
        action_space: the space.
        sampler: a sampler, its name or its config.
        trainable_temperature: learn the temperature; needs a sampler whose draws have a gradient to it.
        unimix: u in [0, 1): probabilities become (1 - u) p + u / n over a factor's n categories, so that none falls
            below u / n and log_prob stays bounded. A mask applied later renormalises over the legal ones.
        logit_clip: c > 0: logits become c tanh(logits / c), in (-c, c); a gradient remains everywhere, unlike with a
            hard clip. None leaves them as they are. Applied before unimix.
        **kwargs: temperature, seed (see `PolicyHead`), hidden_sizes, activation, kernel_gain (see `Trunk`) and those of
            every Keras layer.

    Raises:
        ValueError: a space with a part that is not discrete, an unknown sampler, or an option out of range.
    """

    def __init__(
        self,
        action_space: gym.Space,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "straight_through_gumbel_softmax",
        *,
        unimix: float = 0.0,
        logit_clip: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(action_space, **kwargs)
        self.sampler = samplers.create(sampler)
        if self.trainable_temperature:
            check_temperature_gradient(self.sampler)
        self.unimix = _check_unimix(unimix)
        self.logit_clip = None if logit_clip is None else checks.check_positive("logit_clip", logit_clip)

    def shape_logits(self, values: tf.Tensor, exists: Any = None) -> tf.Tensor:
        """Outputs `[..., K]` -> logits: clipped softly, mixed with uniform probabilities, -inf where not `exists`."""
        if self.logit_clip is not None:
            values = self.logit_clip * tf.tanh(values / self.logit_clip)
        illegal = tf.constant(float("-inf"), values.dtype)
        if exists is not None:
            values = tf.where(exists, values, illegal)
        if not self.unimix:
            return values
        exists = tf.ones_like(values, tf.bool) if exists is None else exists
        count = tf.reduce_sum(tf.cast(exists, values.dtype), -1, keepdims=True)
        mixed = (1 - self.unimix) * ops.softmax(values) + self.unimix / count
        return tf.where(exists, tf.math.log(mixed), illegal)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        options = {"sampler": self.sampler.to_config(), "unimix": self.unimix, "logit_clip": self.logit_clip}
        return {**super().get_config(), **options}


def _check_unimix(unimix: float) -> float:
    if isinstance(unimix, bool) or not isinstance(unimix, (int, float, np.number)) or not 0 <= unimix < 1:
        raise checks.invalid("unimix to be a number in [0, 1)", unimix=unimix)
    return float(unimix)


def check_temperature_gradient(sampler: samplers.Sampler) -> None:
    """Raises ValueError unless the sampler's draws have a gradient to the temperature."""
    with tf.GradientTape() as tape:
        temperature = tf.constant(0.7)
        tape.watch(temperature)
        one_hot = sampler(tf.constant([[0.3, -0.4, 0.0]]), (0, 1), temperature=temperature).one_hot
        objective = tf.reduce_sum(one_hot * [1.0, -2.0, 0.5])
    gradient = tape.gradient(objective, temperature)
    if gradient is None or checks.static_value(gradient) == 0:
        raise checks.invalid(
            "a sampler whose draws have a gradient to the temperature",
            sampler=sampler.name,
            hint="Use straight_through_gumbel_softmax or gumbel_softmax, or leave trainable_temperature off.",
        )
