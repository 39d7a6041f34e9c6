"""The quality of a batch's gradients, measured inside the graph of a training step."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.lab.gradients import estimate_gradient, exact_gradient
from rlsample.types import Objective, TensorLike


class OnlineAudit(NamedTuple):
    """How good the gradients of a batch are; float32 scalars that carry no gradient.

    The batch's gradient to all its logits counts as one vector g, with mean E[g], covariance C and exact value g*; |.|
    is the Euclidean length. Names, units and what `relative` means are those of `Audit`, but squared lengths of means
    are free of the noise's share, trace(C) / N, so that few draws suffice.

    Attributes:
        signal_to_noise: |E[g]| / sqrt(trace(C)), of one draw; infinite without noise, 0 if only noise was seen.
        cosine: between E[g] and g*, cut off at -1 and 1; 0 if there is no gradient, or only noise was seen.
        bias: |E[g] - g*|; 0 if it is less than the noise.
        relative_bias: |E[g] - g*| / |g*|; infinite or NaN where g* is 0, and so are the other two.
        variance: trace(C).
        relative_variance: trace(C) / |g*|^2.
        mean_squared_error: E |g - g*|^2.
        relative_mean_squared_error: E |g - g*|^2 / |g*|^2.

    Examples:
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0])
        >>> report = lab.online("exact", objective, [[0.0, 1.0, 2.0]], seed=(0, 1))
        >>> float(report.relative_bias), float(report.variance), float(report.cosine)
        (0.0, 0.0, 1.0)
    """

    signal_to_noise: tf.Tensor
    cosine: tf.Tensor
    bias: tf.Tensor
    relative_bias: tf.Tensor
    variance: tf.Tensor
    relative_variance: tf.Tensor
    mean_squared_error: tf.Tensor
    relative_mean_squared_error: tf.Tensor


def online(
    sampler: str | dict[str, Any] | samplers.Sampler,
    objective: Objective,
    logits: TensorLike,
    seed: TensorLike,
    num_draws: int = 16,
    *,
    temperature: TensorLike = 1.0,
    mask: TensorLike | None = None,
) -> OnlineAudit:
    """Signal-to-noise ratio and cosine of a sampler's gradients in training, against the agent's own critic.

        report = lab.online(sampler, lambda one_hot: critic(observation, one_hot), logits, seed)

    To be called in the graph of the update, every so many updates: it costs K (K^F) evaluations of the objective and
    `num_draws` gradient estimates, one after the other, in memory for one. Eager, graph and XLA give the same numbers
    but for rounding. It measures against the critic, not against the task: a wrong critic has an exact gradient too.
    The exact gradient is that under softmax(logits), also for a sampler that draws from another distribution.

    Args:
        sampler: a sampler, or what `samplers.create` takes.
        objective: one_hot of the shape of `logits` -> values `[B]`, as `Sampler.expectation` takes it, one for every
            row; closes over the batch.
        logits: float `[B, K]` or `[B, F, K]` (any batch shape); no gradient reaches them.
        seed: stateless seed, int32 `[2]`.
        num_draws: N, the number of independent estimates, at least 2.
        temperature: as in `Sampler.__call__`.
        mask: boolean, broadcasts to the logits, True = legal.

    Returns:
        An `OnlineAudit` of scalars; NaN under XLA if a row of logits cannot be drawn from.

    Raises:
        ValueError: as `exact_gradient` and the sampler do.

    Examples:
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> report = lab.online("reinmax", objective, [[0.0, 1.0, 2.0]] * 64, seed=(0, 1))
        >>> round(float(report.signal_to_noise), 2), round(float(report.cosine), 2)
        (1.52, 1.0)
    """
    sampler = samplers.create(sampler)
    checks.check_count("num_draws", num_draws, minimum=2)
    seed, logits = checks.check_seed(seed), tf.stop_gradient(tf.convert_to_tensor(logits))
    exact = tf.cast(exact_gradient(objective, logits, mask), tf.float32)

    def add_draw(index: tf.Tensor, total: tf.Tensor, squares: tf.Tensor) -> tuple[tf.Tensor, ...]:
        child = ops.fold_in(seed, index)
        gradient = estimate_gradient(sampler, objective, logits, child, temperature=temperature, mask=mask)
        # Deviations from the exact gradient: their squares do not cancel where the estimator is good.
        deviation = tf.cast(gradient, tf.float32) - exact
        return index + 1, total + deviation, squares + tf.reduce_sum(deviation**2)

    start = tf.constant(0), tf.zeros_like(exact), tf.zeros([])
    _, total, squares = tf.while_loop(
        lambda index, *_: index < num_draws, add_draw, start, maximum_iterations=num_draws
    )
    off, mean_square = total / num_draws, squares / num_draws
    return _online(exact, off, mean_square, num_draws)


def _online(exact: tf.Tensor, off: tf.Tensor, mean_square: tf.Tensor, num_draws: int) -> OnlineAudit:
    """The report from g*, the mean of g - g* and the mean of |g - g*|^2 over the draws."""
    off_square = tf.reduce_sum(off**2)
    variance = _at_least_zero(mean_square - off_square) * (num_draws / (num_draws - 1))
    mean = exact + off
    signal = tf.sqrt(_at_least_zero(tf.reduce_sum(mean**2) - variance / num_draws))
    size = tf.norm(exact)
    cosine = tf.math.divide_no_nan(tf.reduce_sum(mean * exact), signal * size)
    bias = tf.sqrt(_at_least_zero(off_square - variance / num_draws))
    report = OnlineAudit(
        signal_to_noise=tf.where(signal > 0, signal / tf.sqrt(variance), signal),
        cosine=tf.clip_by_value(cosine, -1.0, 1.0),
        bias=bias,
        relative_bias=bias / size,
        variance=variance,
        relative_variance=variance / size / size,
        mean_squared_error=mean_square,
        relative_mean_squared_error=mean_square / size / size,
    )
    return OnlineAudit(*(tf.stop_gradient(value) for value in report))


def _at_least_zero(value: tf.Tensor) -> tf.Tensor:
    # Not tf.maximum: NaN must pass.
    return tf.where(value < 0, tf.zeros_like(value), value)
