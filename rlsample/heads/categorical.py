"""Categorical actions: one factor, or several independent ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import keras
import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.heads.base import PolicyHead
from rlsample.laws import CategoricalLaw
from rlsample.laws.base import masked_logits
from rlsample.types import TensorLike

if TYPE_CHECKING:
    from rlsample.distributions import FactoredCategorical


def for_space(action_space: gym.Space, sampler: Any = "straight_through_gumbel_softmax", **options: Any) -> PolicyHead:
    """The head for an action space: `CategoricalHead` for Discrete, else `FactoredHead`.

    Args:
        action_space: any space of discrete parts: Discrete, MultiDiscrete, MultiBinary, Tuple and Dict of these.
        sampler: a sampler, its name or its config.
        **options: temperature, hidden_sizes, unimix and the rest; see `FactoredHead`.

    Raises:
        ValueError: a part of the space is not discrete (names its path), or an option the head does not take.
    """
    head = CategoricalHead if isinstance(action_space, gym.spaces.Discrete) else FactoredHead
    return head(action_space, sampler, **options)


@keras.saving.register_keras_serializable(package="rlsample")
class FactoredHead(PolicyHead):
    """Independent categorical factors: features `[..., D]` -> logits `[..., F, K]`, for any discrete space.

    Factors of fewer than K categories are padded; the logits of the padding are -inf, which every sampler takes for
    illegal.

    Attributes:
        sampler: the gradient estimator.

    Args:
        action_space: the space, or for a MultiDiscrete its `nvec` as a list.
        sampler: a sampler, its name or its config.
        temperature: its first value; see `PolicyHead`.
        trainable_temperature: learn the temperature; needs a sampler whose draws have a gradient to it.
        unimix: u in [0, 1): probabilities become (1 - u) p + u / n over a factor's n categories, so that none falls
            below u / n and log_prob stays bounded. A mask applied later renormalises over the legal ones.
        logit_clip: c > 0: logits become c tanh(logits / c), in (-c, c); a gradient remains everywhere, unlike with a
            hard clip. None leaves them alone. Before unimix.
        seed: see `PolicyHead`.
        hidden_sizes: widths of hidden layers; none by default.
        activation: of the hidden layers.
        kernel_gain: of the output layer's orthogonal kernel.
        **kwargs: as of every Keras layer.

    Raises:
        ValueError: a space with a part that is not discrete, an unknown sampler, or an option out of range.
    """

    def __init__(
        self,
        action_space: gym.Space | list[int],
        sampler: str | Mapping[str, Any] | samplers.Sampler = "straight_through_gumbel_softmax",
        *,
        unimix: float = 0.0,
        logit_clip: float | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(action_space, list):
            action_space = gym.spaces.MultiDiscrete(action_space)
        self._check_space(action_space)
        super().__init__(action_space, **kwargs)
        self.sampler = samplers.create(sampler)
        if self.trainable_temperature:
            _check_temperature_gradient(self.sampler)
        if isinstance(unimix, bool) or not isinstance(unimix, (int, float)) or not 0 <= unimix < 1:
            raise checks.invalid("unimix to be a number in [0, 1)", unimix=unimix)
        self.unimix = float(unimix)
        self.logit_clip = None if logit_clip is None else checks.check_positive("logit_clip", logit_clip)
        self._factored = not self.factors.single

    def _check_space(self, action_space: Any) -> None:
        if isinstance(action_space, gym.spaces.Discrete):
            raise checks.invalid("a space of several factors", hint="Use CategoricalHead.", action_space=action_space)

    @property
    def units(self) -> int:
        """Width of the output layer, padding included."""
        return self.factors.num_factors * self.factors.num_categories

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """The logits, float32."""
        values = self.forward(features)
        if self._factored:
            values = tf.reshape(values, tf.concat([tf.shape(values)[:-1], self.factors.event_shape], 0))
        return shape_logits(values, self.factors.padding_mask, self.unimix, self.logit_clip)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`[..., K]` or `[..., F, K]`."""
        return (*input_shape[:-1], *self.factors.event_shape)

    def law(self, logits: TensorLike, mask: TensorLike | None = None) -> CategoricalLaw:
        """See `PolicyHead.law`."""
        return CategoricalLaw(self._padded(logits), self.sampler, self.temperature, mask, self._factored)

    def distribution(self, logits: TensorLike, mask: TensorLike | None = None) -> FactoredCategorical:
        """See `PolicyHead.distribution`."""
        from rlsample.distributions import FactoredCategorical

        return FactoredCategorical(self._padded(logits), self.sampler, self.temperature, mask, self._factored)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        options = {"sampler": self.sampler.to_config(), "unimix": self.unimix, "logit_clip": self.logit_clip}
        return {**super().get_config(), **options}

    def _padded(self, logits: TensorLike) -> TensorLike:
        """The logits with the padding illegal, whoever made them."""
        padding = self.factors.padding_mask
        return logits if padding is None else masked_logits(logits, padding)


@keras.saving.register_keras_serializable(package="rlsample")
class CategoricalHead(FactoredHead):
    """One categorical action: features `[..., D]` -> logits `[..., K]`, for Discrete (with its `start`).

    Args:
        action_space: a Discrete space, or its number of categories.
        sampler: a sampler, its name or its config.
        **kwargs: as of `FactoredHead`.
    """

    def __init__(
        self,
        action_space: gym.spaces.Discrete | int,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "straight_through_gumbel_softmax",
        **kwargs: Any,
    ) -> None:
        if isinstance(action_space, int):
            action_space = gym.spaces.Discrete(checks.check_count("num_categories", action_space))
        super().__init__(action_space, sampler, **kwargs)

    def _check_space(self, action_space: Any) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise checks.invalid("a Discrete space", hint="heads.for_space takes any.", action_space=action_space)


def shape_logits(
    values: tf.Tensor, padding_mask: Any = None, unimix: float = 0.0, logit_clip: float | None = None
) -> tf.Tensor:
    """Raw outputs `[..., K]` -> logits: clipped softly, padding at -inf, mixed with the uniform law."""
    if logit_clip is not None:
        values = logit_clip * tf.tanh(values / logit_clip)
    if padding_mask is not None:
        values = tf.where(padding_mask, values, tf.constant(float("-inf"), values.dtype))
    if unimix:
        legal = tf.ones_like(values) if padding_mask is None else tf.cast(padding_mask, values.dtype)
        mixed = (1 - unimix) * ops.softmax(values) + unimix * legal / tf.reduce_sum(legal, -1, keepdims=True)
        # log(0) is -inf, and its gradient is kept away from the padding.
        values = tf.where(legal > 0, tf.math.log(tf.where(legal > 0, mixed, 1.0)), float("-inf"))
    return values


def _check_temperature_gradient(sampler: samplers.Sampler) -> None:
    """Raises ValueError unless the sampler's draws have a gradient to the temperature."""
    with tf.init_scope(), tf.GradientTape() as tape:
        temperature = tf.constant(0.7)
        tape.watch(temperature)
        one_hot = sampler(tf.constant([[0.3, -0.4, 0.0]]), (0, 1), temperature=temperature).one_hot
        gradient = tape.gradient(tf.reduce_sum(one_hot * [1.0, -2.0, 0.5]), temperature)
    if gradient is None or not gradient:
        raise checks.invalid(
            "a sampler whose draws have a gradient to the temperature",
            sampler=sampler.name,
            hint="Use straight_through_gumbel_softmax or gumbel_softmax, or leave trainable_temperature off.",
        )
