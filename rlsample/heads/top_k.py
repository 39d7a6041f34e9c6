"""k distinct items out of K: slates, team picks, sensor selections."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.distributions import SubsetDistribution, UnorderedSubsetDistribution
from rlsample.distributions.subset import distinct_items
from rlsample.heads.base import PolicyHead
from rlsample.spaces import conversion
from rlsample.types import TensorLike

ESTIMATORS = ("gumbel_top_k", "simple")


@keras.saving.register_keras_serializable(package="rlsample")
class TopKHead(PolicyHead):
    """k distinct items: features `[..., D]` -> logits `[..., K]`.

    An action is k items, int32 `[..., k]`, as one-hots `[..., k, K]`; the sum of those over k is the k-hot of the set,
    gradient included. The estimator says what the distribution is:

        gumbel_top_k  items in order, drawn without replacement (Plackett-Luce's distribution), with the gradient of
                      relaxed rows; see `SubsetDistribution`
        simple        a set, its items in ascending order, of probability proportional to exp(the sum of their logits),
                      with the gradient of the exact probabilities, without temperature; see
                      `UnorderedSubsetDistribution`

    For objectives that do not ask for the order, and entropies of many items, `simple`.

    Args:
        action_space: MultiDiscrete([K] * k), a slate; or K.
        num_items: k, if `action_space` is K.
        estimator: gumbel_top_k or simple.
        relaxed: draw the relaxed rows themselves rather than one-hots with their gradient; gumbel_top_k only.
        max_outcomes: bound on the K^k sequences that `entropy`, `kl_divergence` and `probs` of gumbel_top_k sum over.
        **kwargs: temperature, trainable_temperature, seed, hidden_sizes, activation, kernel_gain; see `PolicyHead`.

    Raises:
        ValueError: a space that is not a slate, k > K, an unknown estimator, or an option that it does not take.

    Examples:
        >>> head = heads.TopKHead(5, num_items=2, estimator="simple")
        >>> logits = head(tf.zeros([4, 8]))
        >>> sample = head.sample(logits, seed=(0, 1))
        >>> sample.action.shape, tf.reduce_sum(sample.one_hot, 1).shape
        (TensorShape([4, 2]), TensorShape([4, 5]))
    """

    def __init__(
        self,
        action_space: gym.spaces.MultiDiscrete | int,
        num_items: int | None = None,
        *,
        estimator: str = "gumbel_top_k",
        relaxed: bool = False,
        max_outcomes: int = 4096,
        **kwargs: Any,
    ) -> None:
        if isinstance(action_space, (int, np.integer)):
            if num_items is None:
                raise checks.invalid("num_items beside the number of items", num_items=None)
            size = checks.check_count("num_categories", action_space)
            action_space = gym.spaces.MultiDiscrete([size] * checks.check_count("num_items", num_items))
        slate = isinstance(action_space, gym.spaces.MultiDiscrete) and action_space.nvec.ndim == 1
        if not slate or len(set(action_space.nvec.tolist())) != 1 or len(action_space.nvec) > action_space.nvec[0]:
            raise checks.invalid("a slate MultiDiscrete([K] * k) with k <= K", action_space=action_space)
        if num_items not in (None, len(action_space.nvec)):
            raise checks.invalid(f"the {len(action_space.nvec)} items of {action_space}", num_items=num_items)
        super().__init__(action_space, **kwargs)
        if estimator not in ESTIMATORS:
            raise checks.unknown("estimator", estimator, ESTIMATORS)
        if estimator == "simple" and (relaxed or self.trainable_temperature):
            raise checks.invalid(
                "gumbel_top_k for relaxed rows or a trainable temperature",
                estimator=estimator,
                relaxed=relaxed,
                trainable_temperature=self.trainable_temperature,
            )
        self.estimator = estimator
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

    def distribution(
        self, logits: TensorLike, mask: TensorLike | None = None
    ) -> SubsetDistribution | UnorderedSubsetDistribution:
        """See `PolicyHead.distribution`; the mask is `[..., K]`, with at least k legal items per row."""
        self._check_event(logits, (self.factors.num_categories,))
        if self.estimator == "simple":
            return UnorderedSubsetDistribution(logits, self.num_items, mask)
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
        options = {"estimator": self.estimator, "relaxed": self.relaxed, "max_outcomes": self.max_outcomes}
        return {**super().get_config(), **options}
