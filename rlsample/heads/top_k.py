"""k distinct items out of K: slates, team picks, sensor selections."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.distributions import SubsetDistribution
from rlsample.distributions.subset import distinct_items
from rlsample.heads.base import PolicyHead
from rlsample.spaces import conversion
from rlsample.types import TensorLike


@keras.saving.register_keras_serializable(package="rlsample")
class TopKHead(PolicyHead):
    """k distinct items in order, by Gumbel top-k: features `[..., D]` -> logits `[..., K]`. See `SubsetDistribution`.

    An action is k items, int32 `[..., k]`, as one-hots `[..., k, K]`; the sum of those over k is the k-hot of the set,
    gradient included. The distribution is Plackett-Luce's, and `log_prob` is that of the items in their order.

    Args:
        action_space: MultiDiscrete([K] * k), a slate; or K.
        num_items: k, if `action_space` is K.
        relaxed: draw the relaxed rows themselves rather than one-hots with their gradient.
        max_outcomes: bound on the K^k sequences that `entropy`, `kl_divergence` and `probs` sum over.
        **kwargs: temperature, trainable_temperature, seed, hidden_sizes, activation, kernel_gain; see `PolicyHead`.

    Raises:
        ValueError: a space that is not a slate, or k > K.
    """

    def __init__(
        self,
        action_space: gym.spaces.MultiDiscrete | int,
        num_items: int | None = None,
        *,
        relaxed: bool = False,
        max_outcomes: int = 4096,
        **kwargs: Any,
    ) -> None:
        if isinstance(action_space, int):
            size = checks.check_count("num_categories", action_space)
            action_space = gym.spaces.MultiDiscrete([size] * checks.check_count("num_items", num_items or 0))
        slate = isinstance(action_space, gym.spaces.MultiDiscrete) and action_space.nvec.ndim == 1
        if not slate or len(set(action_space.nvec.tolist())) != 1 or len(action_space.nvec) > action_space.nvec[0]:
            raise checks.invalid("a slate MultiDiscrete([K] * k) with k <= K", action_space=action_space)
        super().__init__(action_space, **kwargs)
        self.relaxed = bool(relaxed)
        self.max_outcomes = checks.check_count("max_outcomes", max_outcomes)

    @property
    def num_items(self) -> int:
        """How many items an action has: k."""
        return self.factors.num_factors

    @property
    def units(self) -> int:
        """Width of the output layer."""
        return self.factors.num_categories

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """The logits, float32."""
        return self.forward(features)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`[..., K]`."""
        return (*input_shape[:-1], self.factors.num_categories)

    def distribution(self, logits: TensorLike, mask: TensorLike | None = None) -> SubsetDistribution:
        """See `PolicyHead.distribution`; the mask is `[..., K]`, with at least k legal items per row."""
        return SubsetDistribution(logits, self.num_items, self.temperature, self.relaxed, mask, self.max_outcomes)

    def to_env(self, draw: Any) -> Any:
        """See `PolicyHead.to_env`; the items of a relaxed draw are distinct too."""
        values = np.asarray(draw)
        if np.issubdtype(values.dtype, np.integer):
            return super().to_env(values)
        conversion.largest(values)  # refuses NaN and rows without a positive entry
        return super().to_env(distinct_items(values))

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "relaxed": self.relaxed, "max_outcomes": self.max_outcomes}
