"""Gradients of an expectation: the exact one, and many independent estimates of it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.samplers.objectives import objective_values
from rlsample.types import Objective, TensorLike

CALLS = 8
"""`sample_gradients` divides its draws over so many calls, and takes the median of their times."""

LARGEST_CALL = 2**22
"""Most numbers in the gradients of one call; beyond, there are more calls."""


def exact_gradient(
    objective: Objective, logits: TensorLike, mask: TensorLike | None = None, *, max_outcomes: int = 4096
) -> tf.Tensor:
    """The gradient of E[objective(one_hot)] to the logits, by enumeration.

    One categorical per row: p * (f - <p, f>), f the objective's values at the K categories. A joint action of F
    factors: the same over its K^F outcomes, if the objective gives one value per joint action.

    Args:
        objective: one_hot of the shape of `logits` -> values `[...]`, as `Sampler.expectation` takes it, one for every
            row; it needs no derivative.
        logits: float `[..., K]`, or `[..., F, K]` for joint actions, a single one `[1, F, K]`.
        mask: boolean, broadcasts to the logits, True = legal.
        max_outcomes: bound on K (on K^F).

    Returns:
        Of the shape and dtype of the logits, 0 where illegal; it carries no gradient itself.

    Raises:
        ValueError: bad logits or mask, too many outcomes, or values that have not the shape of leading logits axes.

    Examples:
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> print(lab.exact_gradient(objective, [[0.0, 1.0, 2.0]]).numpy())
        [[-0.876 -2.627  3.503]]
    """
    sampler = samplers.create({"name": "exact", "max_outcomes": max_outcomes})
    return estimate_gradient(sampler, objective, tf.convert_to_tensor(logits), (0, 0), mask=mask)


def sample_gradients(
    sampler: str | dict[str, Any] | samplers.Sampler,
    objective: Objective,
    logits: TensorLike,
    num_draws: int,
    seed: TensorLike,
    *,
    temperature: TensorLike = 1.0,
    mask: TensorLike | None = None,
    num_samples: int = 1,
    jit_compile: bool = True,
) -> tuple[np.ndarray, float]:
    """Independent gradient estimates of one policy: the draws are rows of a compiled call.

    Args:
        sampler: a sampler, or what `samplers.create` takes.
        objective: one_hot `[rows, *logits.shape]` -> values `[rows]` (or with more leading axes of the logits), for
            any number of rows: each draw is a row, and a value that lacks the rows is refused. Where it has no
            derivative, pathwise samplers have gradient 0.
        logits: float `[..., K]`.
        num_draws: N, at least 2.
        seed: stateless seed, int32 `[2]`.
        temperature: as in `Sampler.__call__`: a scalar, or of the shape of the logits without the last axis.
        mask: boolean, broadcasts to the logits, True = legal.
        num_samples: draws averaged in one estimate.
        jit_compile: whether to compile with XLA.

    Returns:
        (gradients `[N, *logits.shape]` in the dtype of the logits, seconds per estimate: the median over calls).

    Raises:
        ValueError: as `exact_gradient` and the sampler do.

    Examples:
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> estimates, seconds = lab.sample_gradients("reinmax", objective, [0.0, 1.0, 2.0], 1000, seed=(0, 1))
        >>> print(estimates.shape, estimates.mean(0))
        (1000, 3) [-0.874 -2.637  3.511]
    """
    sampler, seed = samplers.create(sampler), checks.check_seed(seed)
    checks.check_count("num_draws", num_draws, minimum=2)
    logits, mask = checks.check_logits(logits, mask)
    rows = max(1, min(-(-num_draws // CALLS), LARGEST_CALL // max(1, logits.shape.num_elements())))
    temperature = checks.check_temperature(temperature)
    if temperature.shape.rank:
        temperature = tf.broadcast_to(temperature, (rows, *temperature.shape))

    @tf.function(jit_compile=jit_compile, autograph=False)
    def call(seed: tf.Tensor) -> tf.Tensor:
        copies = tf.broadcast_to(logits, (rows, *logits.shape))
        return estimate_gradient(
            sampler, objective, copies, seed, temperature=temperature, mask=mask, num_samples=num_samples
        )

    call(seed)
    gradients, seconds = [], []
    for index in range(-(-num_draws // rows)):
        child = ops.fold_in(seed, index)
        start = time.perf_counter()
        gradients.append(call(child).numpy())
        seconds.append(time.perf_counter() - start)
    return np.concatenate(gradients)[:num_draws], float(np.median(seconds)) / rows


def estimate_gradient(
    sampler: samplers.Sampler, objective: Objective, logits: tf.Tensor, seed: TensorLike, **options: Any
) -> tf.Tensor:
    """One estimate of the gradient to the logits, a constant; 0 where the objective has no derivative for it.

    Raises:
        ValueError: values that lack the batch, which a pathwise sampler alone would take.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(logits)
        values = sampler.expectation(lambda one_hot: objective_values(objective, one_hot), logits, seed, **options)
    gradient = tape.gradient(values, logits, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.stop_gradient(gradient)
