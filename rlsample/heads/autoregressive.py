"""Factors that depend on those drawn before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import keras
import tensorflow as tf

from rlsample import checks, samplers
from rlsample.distributions import AutoregressiveDistribution
from rlsample.heads.logits import LogitsHead
from rlsample.heads.sizes import Sizes, several_sizes
from rlsample.heads.trunk import orthogonal
from rlsample.types import TensorLike


@keras.saving.register_keras_serializable(package="rlsample")
class AutoregressiveHead(LogitsHead):
    """Factors in the order of the space, each seeing the differentiable one-hots of those before it.

        context    c = output(features), [..., S]: what calling the head returns, in the place of logits
        logits_i   activation(c + sum_{j<i} E_j one_hot_j) V_i + b_i

    The joint log_prob is exact and takes one pass. Entropy, divergence and `probs` are exact up to `max_outcomes` joint
    actions; beyond that there is `head.distribution(context).sampled_entropy(seed)`. `mode` is greedy. With a pathwise
    sampler the gradient of what a later factor does reaches the earlier ones. See `AutoregressiveDistribution`.

    Args:
        action_space: MultiDiscrete, MultiBinary, or a Tuple or Dict of discrete spaces; or an `nvec`.
        sampler: a sampler, its name or its config; draws each factor.
        context_size: S.
        max_outcomes: bound on the joint actions that `entropy`, `kl_divergence` and `probs` sum over.
        **kwargs: as of `LogitsHead`; `activation` is also the one above, `kernel_gain` is that of V.

    Source: Larochelle and Murray (2011), "The neural autoregressive distribution estimator", section 3.

    Examples:
        >>> head = heads.AutoregressiveHead(gym.spaces.MultiDiscrete([2, 3]), hidden_sizes=(16,))
        >>> context = head(tf.zeros([4, 8]))
        >>> action = head.sample(context, seed=(0, 1)).action
        >>> head.to_env(action).shape, head.distribution(context).log_prob(action).shape
        ((4, 2), TensorShape([4]))
    """

    def __init__(
        self,
        action_space: gym.Space | Sizes,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "straight_through_gumbel_softmax",
        *,
        context_size: int = 64,
        max_outcomes: int = 4096,
        **kwargs: Any,
    ) -> None:
        action_space = several_sizes(action_space)
        if isinstance(action_space, gym.spaces.Discrete):
            raise checks.invalid("a space of several factors", hint="Use CategoricalHead.", action_space=action_space)
        super().__init__(action_space, sampler, **kwargs)
        self.context_size = checks.check_count("context_size", context_size)
        self.max_outcomes = checks.check_count("max_outcomes", max_outcomes)
        self.sizes = self.factors.sizes

    @property
    def units(self) -> int:
        """Width of the context."""
        return self.context_size

    @property
    def output_gain(self) -> float:
        """The context is a hidden layer: the small gain belongs to the factors' kernels."""
        return 2**0.5

    def build(self, input_shape: Any) -> None:
        """Builds the layers for features `[..., D]`."""
        num_factors, num_categories = self.factors.event_shape
        gain = orthogonal(self.kernel_gain)
        self._embedding = self.add_weight(
            name="embedding",
            shape=(num_factors, num_categories, self.context_size),
            initializer=orthogonal(1.0),
        )
        # Wide rather than stacked, so that each factor's own columns start orthogonal.
        self._kernel = self.add_weight(
            name="kernel", shape=(self.context_size, num_factors * num_categories), initializer=gain
        )
        self._bias = self.add_weight(name="bias", shape=(num_factors, num_categories), initializer="zeros")
        super().build(input_shape)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """The context `[..., S]`, float32."""
        return self.forward(features)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`[..., S]`."""
        return (*input_shape[:-1], self.context_size)

    def factor_logits(self, state: tf.Tensor, factor: int) -> tf.Tensor:
        """Logits `[..., K]` of a factor given the state `[..., S]` that the context and the factors before it make."""
        size = self.factors.num_categories
        kernel = tf.cast(self._kernel, state.dtype)[:, factor * size : (factor + 1) * size]
        values = tf.linalg.matvec(kernel, self.activation(state), transpose_a=True)
        padding = self.factors.padding_mask
        values += tf.cast(self._bias, state.dtype)[factor]
        return self.shape_logits(values, None if padding is None else padding[factor])

    def advance(self, state: tf.Tensor, one_hot: tf.Tensor, factor: int) -> tf.Tensor:
        """The state `[..., S]` once a factor was decided, by its one-hot `[..., K]`."""
        embedding = tf.cast(self._embedding, state.dtype)[factor]
        return state + tf.linalg.matvec(embedding, tf.cast(one_hot, state.dtype), transpose_a=True)

    def distribution(self, logits: TensorLike, mask: TensorLike | None = None) -> AutoregressiveDistribution:
        """See `PolicyHead.distribution`; takes the context. The mask `[..., F, K]` holds whatever was drawn before."""
        if not self.built:
            raise checks.invalid("a head that was called on features", built=False, hint="Its weights are in the draw.")
        self._check_event(logits, (self.context_size,))
        return AutoregressiveDistribution(logits, self, self.sampler, self.temperature, mask, self.max_outcomes)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "context_size": self.context_size, "max_outcomes": self.max_outcomes}
