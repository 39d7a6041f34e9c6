"""Actions described by vectors, as many as there are at the time."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.distributions import CategoricalDistribution
from rlsample.heads.logits import LogitsHead
from rlsample.heads.sizes import one_size
from rlsample.heads.trunk import widen
from rlsample.spaces import conversion
from rlsample.types import TensorLike


@keras.saving.register_keras_serializable(package="rlsample")
class EmbeddingHead(LogitsHead):
    """Scores every available action by its embedding: logits_k = <query(features), embedding_k> / sqrt(D').

        logits = head(features, action_embeddings)      [..., D], [..., K, D'] or [K, D'] -> [..., K]

    K may differ from call to call: recommendation candidates, legal moves, units on a map. Rows with fewer are
    padded by the caller, who masks the padding. Actions are positions among those given.

    Args:
        action_space: Discrete(n), n the most actions there can be; or n.
        sampler: a sampler, its name or its config.
        **kwargs: as of `LogitsHead`; `kernel_gain` is that of the query.

    Examples:
        >>> head = heads.EmbeddingHead(10)
        >>> candidates = tf.random.stateless_normal([1, 6, 4], seed=(0, 1))  # six, of ten at most
        >>> logits = head(tf.ones([1, 8]), candidates)
        >>> logits.shape, head.sample(logits, seed=(0, 1)).one_hot.shape
        (TensorShape([1, 6]), TensorShape([1, 6]))
    """

    def __init__(
        self, action_space: gym.spaces.Discrete | int, sampler: Any = "straight_through_gumbel_softmax", **kwargs: Any
    ) -> None:
        action_space = one_size(action_space, "num_categories")
        if not isinstance(action_space, gym.spaces.Discrete):
            raise checks.invalid("a Discrete space", action_space=action_space)
        super().__init__(action_space, sampler, **kwargs)
        self._query_size = 0

    @property
    def units(self) -> int:
        """Width of the query, which is that of the embeddings."""
        return self._query_size

    def build(self, features_shape: Any, action_embeddings_shape: Any) -> None:  # type: ignore[override]
        """Builds the layers for features `[..., D]` and embeddings `[..., K, D']`."""
        if len(action_embeddings_shape) < 2 or action_embeddings_shape[-1] is None:
            raise checks.invalid("embeddings [..., K, D'] of a known size D'", shape=action_embeddings_shape)
        self._query_size = int(action_embeddings_shape[-1])
        super().build(features_shape)

    def call(self, features: tf.Tensor, action_embeddings: tf.Tensor) -> tf.Tensor:
        """The logits `[..., K]`, float32."""
        query = self.forward(features) / self._query_size**0.5
        return self.shape_logits(tf.linalg.matvec(tf.cast(widen(action_embeddings), query.dtype), query))

    def compute_output_shape(self, features_shape: Any, action_embeddings_shape: Any) -> Any:
        """`[..., K]`."""
        return (*features_shape[:-1], action_embeddings_shape[-2])

    def distribution(self, logits: TensorLike, mask: TensorLike | None = None) -> CategoricalDistribution:
        """See `PolicyHead.distribution`."""
        return CategoricalDistribution(logits, self.sampler, self.temperature, mask)

    def to_env(self, draw: Any) -> Any:
        """See `PolicyHead.to_env`; one-hots may have fewer categories than the space."""
        values = np.asarray(draw)
        if np.issubdtype(values.dtype, np.integer):
            return super().to_env(values)
        return super().to_env(conversion.largest(values))
