"""Ordered actions: a real number, rounded to the nearest legal level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.distributions import base, shapes
from rlsample.ops.softmax import compute_dtype
from rlsample.types import Objective, Sample, TensorLike


class OrdinalDistribution(base.Distribution):
    """Levels 0 .. K-1 in order: x = location + scale L, L standard logistic noise, rounded to the nearest legal level.

        mass      p(k) = sigmoid((b - location) / scale) - sigmoid((a - location) / scale), where a and b lie half-way
                  to the legal levels below and above k (a = -inf, b = inf at the ends)
        forward   one_hot(nearest legal level)
        backward  to x, (g_above - g_below) r'(t) / (above - below): g the gradient to the one-hot at the legal levels
                  on either side of x, t in [0, 1] how far x is from the lower to the upper, r the rounding surrogate

    So the objective's difference between neighbouring levels is what moves x. Levels near each other share what they
    learn, unlike those of a categorical. If the objective is linear in the one-hot, the mean gradient tends to the
    exact one as r gets sharper, because r' then integrates to 1 about the half, where the masses exchange; the
    variance grows with the sharpness. With r' = 1 (straight_through) the bias is of second order in 1 / scale.
    Without masks this is the discretised logistic distribution (Salimans et al. 2017, arXiv 1701.05517, section 2.1).

    With a sampler x is not drawn: the level is, by its mass, and its gradient goes through the masses. `fini` fits: for
    objectives up to quadratic in the level it has no bias, and there is no sharpness to tune.

    Args:
        location: float `[...]`, or `[..., F]` for F factors that make up one action.
        scale: the same shape, above 0.
        num_categories: K.
        rounder: a name of `ops.ROUNDERS`.
        sharpness: of the rounder, number or tensor, scalar or of the batch shape; see
            `ops.SHARPNESS`. Not used by straight_through.
        mask: boolean, broadcasts to `[..., (F,) K]`, True = legal.
        factored: whether the last axis of `location` holds the factors of one action.
        sampler: a sampler, its name or its config, that draws a level by the masses at the temperature 1 / sharpness;
            None rounds x.

    Examples:
        >>> policy = distributions.OrdinalDistribution(location=[1.2], scale=[0.5], num_categories=4)
        >>> print(policy.probs().numpy(), policy.mode().action.numpy())
        [[0.198 0.448 0.285 0.069]] [1]
        >>> location = tf.Variable([1.2] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     policy = distributions.OrdinalDistribution(location, 0.5 * tf.ones([10_000]), num_categories=4)
        ...     level = policy.expectation(lambda one_hot: tf.linalg.matvec(one_hot, [0.0, 1.0, 2.0, 3.0]), seed=(0, 1))
        >>> print(level.numpy().mean(), tape.gradient(level, location).numpy().mean())
        1.2177 0.8857
    """

    def __init__(
        self,
        location: TensorLike,
        scale: TensorLike,
        num_categories: int,
        rounder: str = "straight_through",
        sharpness: TensorLike = 1.0,
        mask: TensorLike | None = None,
        factored: bool = False,
        sampler: str | Mapping[str, Any] | samplers.Sampler | None = None,
    ) -> None:
        location, scale = tf.convert_to_tensor(location), tf.convert_to_tensor(scale)
        self.num_categories = checks.check_count("num_categories", num_categories)
        if rounder not in ops.ROUNDERS:
            raise checks.unknown("rounder", rounder, ops.ROUNDERS)
        self.rounder, self.event_ndims = rounder, 1 + factored
        self.sampler = None if sampler is None else samplers.create(sampler)
        if self.sampler is not None and not self.sampler.draws_from_logits:
            raise checks.invalid("a sampler that draws by the masses themselves", sampler=self.sampler.name)
        self.pathwise = self.sampler is None or self.sampler.pathwise
        per_row = factored and shapes.is_per_row(sharpness)
        self.sharpness: Any = tf.convert_to_tensor(sharpness)[..., None] if per_row else sharpness
        mask = checks.check_mask(mask, tf.TensorShape([*location.shape, num_categories]))
        self.legal = tf.ones([num_categories], tf.bool) if mask is None else mask
        _check_parameters(location, scale, self.legal)
        self.dtype, wide = location.dtype, compute_dtype(location.dtype)
        self.location, self.scale = tf.cast(location, wide), tf.cast(scale, wide)

    @property
    def event_shape(self) -> tf.TensorShape:
        """See `Distribution.event_shape`."""
        shape = self.location.shape
        return tf.TensorShape([*shape[len(shape) + 1 - self.event_ndims :], self.num_categories])

    @base.kept
    def drawn_logits(self) -> tf.Tensor:
        """The log-masses `[..., K]`; -inf at illegal levels."""
        dtype = self.location.dtype
        level = tf.range(self.num_categories)
        below = _running_max(tf.where(self.legal, level, -1), -1)
        above = -_running_max(tf.where(self.legal, -level, -self.num_categories)[..., ::-1], -self.num_categories)[
            ..., ::-1
        ]
        level, low, high = (tf.cast(each, dtype) for each in (level, below, above))
        first, last = below < 0, above == self.num_categories
        lower, upper = tf.where(first, level, (low + level) / 2), tf.where(last, level, (level + high) / 2)
        location, scale = self.location[..., None], self.scale[..., None]
        # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), each factor exact in its tail. Where a or b
        # is infinite its factors are 1: left out within as without, or small scales would have no gradient.
        zero, width = tf.zeros([], dtype), tf.where(first | last, tf.ones([], dtype), upper - lower)
        width = tf.where(first | last, zero, tf.math.log(-tf.math.expm1(-width / scale)))
        beneath = tf.where(last, zero, tf.math.log_sigmoid(tf.where(last, zero, upper - location) / scale))
        beyond = tf.where(first, zero, tf.math.log_sigmoid(tf.where(first, zero, location - lower) / scale))
        return tf.where(self.legal, beneath + beyond + width, tf.constant(float("-inf"), dtype))

    def sample(self, seed: TensorLike, sample_shape: TensorLike = ()) -> Sample:
        """See `Distribution.sample`."""
        if self.sampler is not None:
            logits = shapes.with_sample_axes(self.drawn_logits, sample_shape)
            return self._cast(self.sampler(logits, seed, temperature=self._temperature(logits)))
        location, scale = (shapes.with_sample_axes(each, sample_shape) for each in (self.location, self.scale))
        uniform = tf.cast(ops.uniform(tf.shape(location), seed), location.dtype)
        x = location + scale * (tf.math.log(uniform) - tf.math.log1p(-uniform))
        below, above = self._neighbours(x)
        start, gap = tf.cast(below, x.dtype), tf.cast(above - below, x.dtype)
        between = tf.where(gap > 0, (x - start) / tf.maximum(gap, 1), tf.zeros_like(x))
        broken = tf.math.is_nan(x) | (below < 0)
        action = tf.where(broken, -1, tf.where(between > 0.5, above, below))
        rounded = self._round(between)[..., None]
        depth = self.num_categories
        relaxed = (1 - rounded) * tf.one_hot(below, depth, dtype=x.dtype) + rounded * tf.one_hot(
            above, depth, dtype=x.dtype
        )
        relaxed = tf.cast(relaxed, self.dtype)
        return Sample(action, ops.with_gradient_of(shapes.one_hot_like(action, relaxed), relaxed))

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """See `Distribution.expectation`; with a sampler the gradient is that sampler's."""
        if self.sampler is None:
            return super().expectation(objective, seed, num_samples)
        options: dict[str, Any] = {"temperature": self._temperature(self.drawn_logits), "num_samples": num_samples}
        return self._estimated_by(
            self.sampler, lambda one_hot: objective(tf.cast(one_hot, self.dtype)), self.drawn_logits, seed, **options
        )

    def mode(self) -> Sample:
        """See `Distribution.mode`."""
        action = ops.mode(self.drawn_logits)
        return self._cast(Sample(action, shapes.one_hot_like(action, self.drawn_logits)))

    def _temperature(self, logits: tf.Tensor) -> TensorLike:
        """That of the sampler: a scalar, or one for each row of the logits."""
        temperature = 1 / self.sharpness
        if not shapes.is_per_row(temperature):
            return temperature
        return tf.ensure_shape(tf.broadcast_to(temperature, tf.shape(logits)[:-1]), logits.shape[:-1])

    def _cast(self, sample: Sample) -> Sample:
        return Sample(sample.action, tf.cast(sample.one_hot, self.dtype))

    def _log_prob(self, action: tf.Tensor) -> tf.Tensor:
        return self._joint(ops.log_prob(*shapes.with_actions(self.drawn_logits, action)))

    def probs(self) -> tf.Tensor:
        """See `Distribution.probs`."""
        return tf.cast(ops.softmax(self.drawn_logits), self.dtype)

    def entropy(self) -> tf.Tensor:
        """See `Distribution.entropy`."""
        return self._joint(ops.entropy(self.drawn_logits))

    def kl_divergence(self, other: OrdinalDistribution) -> tf.Tensor:
        """See `Distribution.kl_divergence`; +inf where a level is legal here and illegal there."""
        base.check_pair(self, other, OrdinalDistribution)
        return self._joint(ops.kl_divergence(self.drawn_logits, other.drawn_logits))

    def _neighbours(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The legal levels at or below and above x, int32; both the outermost one beyond it, both -1 if none."""
        level = tf.range(self.num_categories)
        beneath = tf.cast(level, x.dtype) <= x[..., None]
        below = tf.reduce_max(tf.where(self.legal & beneath, level, -1), -1)
        above = tf.reduce_min(tf.where(self.legal & ~beneath, level, self.num_categories), -1)
        none_below, none_above = below < 0, above == self.num_categories
        above_or_none = tf.where(none_above, -1, above)
        return tf.where(none_below, above_or_none, below), tf.where(none_above, below, above)

    def _round(self, between: tf.Tensor) -> tf.Tensor:
        option = ops.SHARPNESS[self.rounder]
        options = {} if option is None else {option: self.sharpness}
        return ops.ROUNDERS[self.rounder](between, **options)

    def _joint(self, per_factor: tf.Tensor) -> tf.Tensor:
        joint = per_factor if self.event_ndims == 1 else tf.reduce_sum(per_factor, -1)
        return tf.cast(joint, self.dtype)


def _running_max(values: tf.Tensor, least: int) -> tf.Tensor:
    """The largest value at smaller indices of the last axis, `least` at index 0; log2(K) steps."""
    padding = [[0, 0]] * (values.shape.rank - 1)
    width = values.shape[-1]
    values = tf.pad(values, [*padding, [1, 0]], constant_values=least)[..., :-1]
    shift = 1
    while shift < width:
        values = tf.maximum(values, tf.pad(values, [*padding, [shift, 0]], constant_values=least)[..., :-shift])
        shift *= 2
    return values


def _check_parameters(location: tf.Tensor, scale: tf.Tensor, legal: tf.Tensor) -> None:
    """Raises for bad parameters; in a graph for rows without a legal level, and NaN gives NaN masses and action -1."""
    if not location.dtype.is_floating or location.dtype != scale.dtype:
        raise checks.invalid("location and scale to be of one float dtype", location=location.dtype, scale=scale.dtype)
    if not tf.executing_eagerly():
        some = tf.reduce_all(tf.reduce_any(legal, -1))
        tf.debugging.Assert(some, ["Expected at least one legal category in every row. Received mask:", legal])
        return
    if not np.isfinite(location.numpy()).all():
        raise checks.invalid("every location to be finite", location=location.numpy())
    if not (np.isfinite(scale.numpy()) & (scale.numpy() > 0)).all():
        raise checks.invalid("every scale to be a finite number > 0", scale=scale.numpy())
    if not tf.reduce_all(tf.reduce_any(legal, -1)):
        raise checks.invalid("at least one legal category in every row", mask=legal.numpy())
