"""Categorical actions: one factor, or several independent ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import keras
import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.distributions import CategoricalDistribution
from rlsample.distributions.shapes import masked_logits
from rlsample.heads.logits import LogitsHead
from rlsample.heads.sizes import Sizes, one_size, several_sizes
from rlsample.types import TensorLike

PARAMETERISATIONS = ("softmax", "catnat")


def for_space(
    action_space: gym.Space, sampler: Any = "straight_through_gumbel_softmax", **options: Any
) -> FactoredHead:
    """The head for an action space: `CategoricalHead` for Discrete, else `FactoredHead`.

    Args:
        action_space: any space of discrete parts: Discrete, MultiDiscrete, MultiBinary, Tuple and Dict of these.
        sampler: a sampler, its name or its config.
        **options: temperature, hidden_sizes, unimix and the rest; see `FactoredHead`.

    Raises:
        ValueError: a part of the space is not discrete (names its path), or an option the head does not take.

    Examples:
        >>> space = gym.spaces.Dict({"gear": gym.spaces.Discrete(2), "dial": gym.spaces.MultiDiscrete([5, 3])})
        >>> head = heads.for_space(space)
        >>> logits = head(tf.zeros([4, 8]))
        >>> actions = head.to_env(head.sample(logits, seed=(0, 1)).action)
        >>> logits.shape, actions["gear"].shape, actions["dial"].shape
        (TensorShape([4, 3, 5]), (4,), (4, 2))
        >>> heads.for_space(gym.spaces.Box(-1.0, 1.0))
        Traceback (most recent call last):
            ...
        ValueError: Expected a discrete action space (Discrete, MultiDiscrete, MultiBinary, or a ...
    """
    head = CategoricalHead if isinstance(action_space, gym.spaces.Discrete) else FactoredHead
    return head(action_space, sampler, **options)


@keras.saving.register_keras_serializable(package="rlsample")
class FactoredHead(LogitsHead):
    """Independent categorical factors: features `[..., D]` -> logits `[..., F, K]`, for any discrete space.

    Factors of fewer than K categories are padded; the logits of the padding are -inf, which every sampler takes for
    illegal.

    Attributes:
        parameterisation: what the output layer gives: "softmax", the logits themselves, or "catnat", K - 1 angles a
            factor, whose choices along a tree make the probabilities (see `ops.catnat`; the logits are then their
            logarithms). Every sampler works with either. With "catnat" a mask takes out what is illegal choice by
            choice, as `ops.catnat_given_legal` says, and not by normalising anew; so a mask goes to `distribution`.

    Args:
        action_space: the space, or for a MultiDiscrete its `nvec`.
        sampler: a sampler, its name or its config.
        parameterisation: "softmax" or "catnat"; the latter without logit_clip.
        **kwargs: temperature, trainable_temperature, hidden_sizes, activation, kernel_gain, unimix, logit_clip, seed:
            see `LogitsHead`; and those of every Keras layer.

    Raises:
        ValueError: a space with a part that is not discrete, an unknown sampler, or an option out of range.

    Examples:
        >>> head = heads.FactoredHead([2, 3], "exact")
        >>> logits = head(tf.zeros([1, 8]))
        >>> print(head.distribution(logits).probs().numpy().round(2))
        [[[0.5  0.5  0.  ]
          [0.33 0.33 0.33]]]
    """

    def __init__(
        self,
        action_space: gym.Space | Sizes,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "straight_through_gumbel_softmax",
        *,
        parameterisation: str = "softmax",
        **kwargs: Any,
    ) -> None:
        action_space = several_sizes(action_space)
        self._check_space(action_space)
        super().__init__(action_space, sampler, **kwargs)
        if parameterisation not in PARAMETERISATIONS:
            raise checks.unknown("parameterisation", parameterisation, PARAMETERISATIONS)
        if parameterisation == "catnat" and self.logit_clip is not None:
            raise checks.invalid("softmax for a logit_clip", parameterisation=parameterisation)
        self.parameterisation = parameterisation

    def _check_space(self, action_space: Any) -> None:
        if isinstance(action_space, gym.spaces.Discrete):
            raise checks.invalid("a space of several factors", hint="Use CategoricalHead.", action_space=action_space)

    @property
    def units(self) -> int:
        """Width of the output layer, padding included."""
        return self.factors.num_factors * self._per_factor

    @property
    def _per_factor(self) -> int:
        # A layer has at least one unit, also where a single category asks for no angle.
        catnat = self.parameterisation == "catnat"
        return max(1, self.factors.num_categories - 1) if catnat else self.factors.num_categories

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """The logits, float32."""
        values = self.forward(features)
        if not self.factors.single:
            event = [*self.factors.event_shape[:-1], self._per_factor]
            values = tf.reshape(values, tf.concat([tf.shape(values)[:-1], event], 0))
        if self.parameterisation == "catnat":
            values = ops.catnat(values[..., : self.factors.num_categories - 1], self.factors.padding_mask)
        return self.shape_logits(values, self.factors.padding_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`[..., K]` or `[..., F, K]`."""
        return (*input_shape[:-1], *self.factors.event_shape)

    def distribution(self, logits: TensorLike, mask: TensorLike | None = None) -> CategoricalDistribution:
        """See `PolicyHead.distribution`."""
        logits = self._padded(logits)
        if self.parameterisation == "catnat" and mask is not None:
            logits, mask = ops.catnat_given_legal(logits, mask), None
        return CategoricalDistribution(logits, self.sampler, self.temperature, mask, not self.factors.single)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "parameterisation": self.parameterisation}

    def _padded(self, logits: TensorLike) -> TensorLike:
        """The logits with the padding made illegal, also where they do not come from this head."""
        self._check_event(logits, self.factors.event_shape)
        padding = self.factors.padding_mask
        return logits if padding is None else masked_logits(logits, padding)


@keras.saving.register_keras_serializable(package="rlsample")
class CategoricalHead(FactoredHead):
    """One categorical action: features `[..., D]` -> logits `[..., K]`, for Discrete (with its `start`).

    Args:
        action_space: a Discrete space, or its number of categories.
        sampler: a sampler, its name or its config.
        **kwargs: as of `FactoredHead`.

    Examples:
        >>> head = heads.CategoricalHead(4, "reinmax", hidden_sizes=(16,), unimix=0.01)
        >>> model = keras.Sequential([keras.Input((8,)), head])
        >>> model(tf.zeros([2, 8])).shape, head.sampler
        (TensorShape([2, 4]), ReinMax())
    """

    def __init__(
        self,
        action_space: gym.spaces.Discrete | int,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "straight_through_gumbel_softmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(one_size(action_space, "num_categories"), sampler, **kwargs)

    def _check_space(self, action_space: Any) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise checks.invalid("a Discrete space", hint="heads.for_space takes any.", action_space=action_space)
