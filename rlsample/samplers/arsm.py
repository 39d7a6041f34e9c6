"""Augment-REINFORCE-swap-merge: one noise vector, seen under every swap of two of its entries."""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar, final

import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.ops.softmax import ILLEGAL
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.explicit_gradient import BoundedEvaluations
from rlsample.samplers.objectives import objective_values
from rlsample.types import Objective


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class ARSM(BoundedEvaluations):
    """Differences of the objective between actions drawn from swapped noise, weighted by that noise.

        noise     w ~ Dirichlet(1, ..., 1) over the K legal categories
        actions   D(m, j) = one_hot(argmin_i (log w_i - logits_i)) after w_m and w_j changed places: each ~ softmax
        forward   `expectation` is the mean of f(D(m, j)) over m and j; a call draws as `categorical` does
        backward  sum_j (f(D(c, j)) - mean_m f(D(m, j))) (1 / K - w_j) to logit c

    Unbiased; at K = 2 it is ARM. It asks nothing of the objective but its values. One categorical per row costs K + 1
    evaluations (`exact` needs K, without noise: ARSM pays off for joint actions). A joint action of F factors makes
    the same swap in all of them, each with noise of its own, and costs K (K - 1) / 2 + 1 evaluations whatever F. The
    temperature is not used.

    Attributes:
        max_evaluations: bound on the number of evaluations of the objective. Beyond it use `leave_one_out`.

    Source: Yin, Yue and Zhou (2019), "ARSM: augment-REINFORCE-swap-merge estimator for gradient backpropagation
    through categorical variables", arXiv 1905.01413.

    Examples:
        >>> sampler = samplers.create("arsm")
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.848 -2.636  3.485] [2.358 2.251 2.851]
    """

    name: ClassVar[str] = "arsm"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    def values_and_gradient(
        self, objective: Objective, prepared: PreparedLogits, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ExplicitGradient.values_and_gradient`."""
        logits = prepared.logits
        if logits.shape[-1] is None:
            raise checks.invalid("a static number of categories", shape=tuple(logits.shape), hint="Set the shape.")
        noise = tf.cast(ops.exponential(tf.shape(logits), seed), logits.dtype)
        swapped = self._values(objective, swapped_actions(tf.math.log(noise), logits), logits, prepared.given.dtype)
        legal = tf.cast(logits > ILLEGAL, logits.dtype)
        count = tf.reduce_sum(legal, -1, keepdims=True)
        share = legal * noise
        weight = legal / count - share / tf.reduce_sum(share, -1, keepdims=True)
        missing = [1] * (logits.shape.rank + 1 - swapped.shape.rank)
        table = tf.reshape(swapped, tf.concat([tf.shape(swapped)[:-2], missing, tf.shape(swapped)[-2:]], 0))
        gradient = legal * tf.linalg.matvec(tf.cast(table, logits.dtype), weight)
        gradient -= legal * tf.reduce_sum(gradient, -1, keepdims=True) / count
        return tf.reduce_mean(swapped, [-2, -1]), gradient

    def _values(self, objective: Objective, actions: tf.Tensor, logits: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The objective at every swap `actions` `[..., (F,) K, K]`: `[..., K, K]`."""
        categories = logits.shape[-1]

        def at(action: tf.Tensor) -> tf.Tensor:
            one_hot = tf.one_hot(action, categories, dtype=dtype)
            return objective_values(objective, tf.ensure_shape(one_hot, logits.shape))

        drawn = actions[..., 0, 0]
        values = at(drawn)
        if values.shape.rank == drawn.shape.rank:
            # The swaps land on K categories at most. An illegal one, which none lands on, is not evaluated.
            self.check_cost(categories + 1)
            every = [at(tf.where(logits[..., k] > ILLEGAL, k, drawn)) for k in range(categories)]
            flat = tf.reshape(actions, tf.concat([tf.shape(drawn), [categories**2]], 0))
            found = tf.gather(tf.stack(every, -1), flat, batch_dims=drawn.shape.rank)
            return tf.reshape(found, tf.shape(actions))
        pairs = list(itertools.combinations(range(categories), 2))
        self.check_cost(len(pairs) + 1)
        position = np.zeros([categories, categories], np.int32)
        for number, (m, j) in enumerate(pairs, start=1):
            position[m, j] = position[j, m] = number
        return tf.gather(tf.stack([values] + [at(actions[..., m, j]) for m, j in pairs], -1), position, axis=-1)


def swapped_actions(log_noise: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Actions argmin_i (log_noise_i - logits_i) after entries m and j of the noise changed places.

    Args:
        log_noise: float `[..., K]`.
        logits: float `[..., K]` from `ops.legal_logits`.

    Returns:
        int32 `[..., K, K]`, indexed by m and j; symmetric, without a swap on the diagonal. Illegal categories are
        never the action.
    """
    categories = logits.shape[-1]
    m, j = tf.range(categories)[:, None], tf.range(categories)[None, :]
    # A swap touches two entries, so the best of the untouched ones is among the best three of all.
    negated, order = tf.math.top_k(logits - log_noise, min(3, categories))
    score = tf.fill(tf.concat([tf.shape(logits), [categories]], 0), tf.constant(float("inf"), logits.dtype))
    action = tf.zeros_like(score, tf.int32)
    for place in reversed(range(min(3, categories))):
        candidate = order[..., place, None, None]
        untouched = (candidate != m) & (candidate != j)
        action = tf.where(untouched, candidate, action)
        score = tf.where(untouched, -negated[..., place, None, None], score)
    moved = log_noise[..., None, :] - logits[..., :, None]
    for touched, candidate in ((moved, m), (tf.linalg.matrix_transpose(moved), j)):
        action = tf.where(touched < score, candidate, action)
        score = tf.where(touched < score, touched, score)
    return action
