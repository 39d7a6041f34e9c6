"""The unordered-set estimator: k different outcomes, drawn without replacement."""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar, final

import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.ops.softmax import ILLEGAL
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.explicit_gradient import ExplicitGradient
from rlsample.samplers.objectives import expand_like, objective_values
from rlsample.types import Objective, TensorLike

# The probability of a set of k is a sum over its 2^k subsets.
LARGEST_SET = 12


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class UnorderedSet(ExplicitGradient):
    """A set S of k different outcomes, the k largest of logits + Gumbel noise, each weighted by its exact probability.

        R(S, s)   = p(S without s | s gone) / p(S): p_s R(S, s) is the chance that s was the first of S
        forward   `expectation` is sum_s p_s R(S, s) f(s); a call draws as `categorical` does
        backward  sum_s p_s R(S, s) (f(s) - b_s) (s - p), with the built-in baseline
                  b_s = p_s f(s) + sum_{t != s} p_t R(S, t | s gone) f(t)

    Unbiased. Costs k evaluations of the objective and asks nothing of it. k at or above the number of legal outcomes
    gives the exact expectation. A joint action of F factors draws its set among the K^F joint outcomes, which are
    listed (not evaluated), up to a bound; it costs k + 1 evaluations. The temperature is not used.

    Attributes:
        num_samples: k, from 2 to 12 (time and memory grow as 2^k). `num_samples` of `expectation` is the number of
            independent sets that are averaged.
        max_outcomes: bound on K^F. Beyond it use `leave_one_out`.

    Source: Kool, van Hoof and Welling (2020), "Estimating gradients for discrete random variables by sampling without
    replacement", arXiv 2002.06043.

    Examples:
        >>> sampler = samplers.create({"name": "unordered_set", "num_samples": 2})
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.878 -2.621  3.498] [1.595 1.668 0.842]
    """

    name: ClassVar[str] = "unordered_set"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    num_samples: int = 2
    max_outcomes: int = 4096

    def __post_init__(self) -> None:
        checks.check_count("num_samples", self.num_samples, minimum=2)
        checks.check_count("max_outcomes", self.max_outcomes)
        if self.num_samples > LARGEST_SET:
            raise checks.invalid(
                f"num_samples <= {LARGEST_SET}", num_samples=self.num_samples, hint="leave_one_out takes any number."
            )

    def values_and_gradient(
        self, objective: Objective, prepared: PreparedLogits, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ExplicitGradient.values_and_gradient`."""
        logits, dtype = prepared.logits, prepared.given.dtype
        if logits.shape[-1] is None:
            raise checks.invalid("a static number of categories", shape=tuple(logits.shape), hint="Set the shape.")
        log_probs = tf.nn.log_softmax(logits)
        outcomes, log_chosen, log_rest = draw_set(log_probs, seed, self.num_samples)
        one_hots = [tf.one_hot(s, logits.shape[-1], dtype=dtype) for s in tf.unstack(outcomes, axis=-1)]
        values = [objective_values(objective, tf.ensure_shape(one_hots[0], logits.shape))]
        if values[0].shape.rank < logits.shape.rank - 1:
            joint = self._joint(log_probs, values[0].shape.rank)
            outcomes, log_chosen, log_rest = draw_set(joint, seed, self.num_samples)
            one_hots = [joint_one_hot(s, log_probs, dtype) for s in tf.unstack(outcomes, axis=-1)]
            values = [objective_values(objective, one_hots[0])]
        values += [objective_values(objective, tf.ensure_shape(one_hot, logits.shape)) for one_hot in one_hots[1:]]

        first, baseline = set_weights(log_chosen, log_rest)
        constants = tf.stop_gradient(tf.cast(tf.stack(values, -1), logits.dtype))
        advantages = tf.unstack(first * (constants - tf.linalg.matvec(baseline, constants)), axis=-1)
        weights = [expand_like(advantage, logits) for advantage in advantages]
        gradient = tf.add_n([w * tf.cast(d, logits.dtype) for w, d in zip(weights, one_hots, strict=True)])
        gradient -= tf.nn.softmax(logits) * tf.add_n(weights)
        return tf.reduce_sum(tf.cast(first, values[0].dtype) * tf.stack(values, -1), -1), gradient

    def _joint(self, log_probs: tf.Tensor, batch_rank: int) -> tf.Tensor:
        """Log-probabilities `[..., K^F]` of the joint outcomes of factors `[..., F, K]`, the last one fastest."""
        factor_shape, categories = tuple(log_probs.shape[batch_rank:-1]), log_probs.shape[-1]
        if None in factor_shape or categories is None:
            raise checks.invalid("static factors and categories", shape=tuple(log_probs.shape), hint="Set the shape.")
        factors = int(np.prod(factor_shape))
        if categories**factors > self.max_outcomes:
            raise checks.invalid(
                f"at most max_outcomes={self.max_outcomes} joint outcomes",
                outcomes=f"{categories}^{factors}",
                hint="Use leave_one_out, whose cost does not grow with the outcomes, or raise max_outcomes.",
            )
        batch = tf.shape(log_probs)[:batch_rank]
        joint = tf.zeros(tf.concat([batch, [1]], 0), log_probs.dtype)
        for factor in tf.unstack(tf.reshape(log_probs, tf.concat([batch, [factors, categories]], 0)), axis=-2):
            joint = joint[..., :, None] + factor[..., None, :]
            # Two illegal factors must not add up to -inf.
            joint = tf.where(joint < ILLEGAL, tf.constant(ILLEGAL, joint.dtype), joint)
            joint = tf.reshape(joint, tf.concat([batch, [-1]], 0))
        return tf.ensure_shape(joint, (*log_probs.shape[:batch_rank], categories**factors))


def joint_one_hot(outcome: tf.Tensor, log_probs: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """One-hots `[..., F, K]` of the factors of joint outcomes `[...]`, numbered with the last factor fastest."""
    factor_shape, categories = tuple(log_probs.shape[outcome.shape.rank : -1]), log_probs.shape[-1]
    places = categories ** np.arange(int(np.prod(factor_shape)))[::-1].reshape(factor_shape)
    expanded = tf.reshape(outcome, tf.concat([tf.shape(outcome), [1] * len(factor_shape)], 0))
    digits = expanded // tf.constant(places, tf.int32) % categories
    return tf.ensure_shape(tf.one_hot(digits, categories, dtype=dtype), log_probs.shape)


def draw_set(log_probs: tf.Tensor, seed: TensorLike, size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws min(`size`, K) different outcomes, without replacement.

    Returns:
        (outcomes int32 `[..., k]`, the first of them legal; their log-probabilities `[..., k]`; the log-probability of
        all others together `[...]`). Where fewer than k are legal, the first stands in for what is missing, with the
        log-probability ILLEGAL.
    """
    categories = log_probs.shape[-1]
    noise = tf.cast(ops.gumbel(tf.shape(log_probs), seed), log_probs.dtype)
    outcomes = tf.math.top_k(log_probs + noise, min(size, categories)).indices
    log_chosen = tf.gather(log_probs, outcomes, batch_dims=outcomes.shape.rank - 1)
    chosen = tf.reduce_any(outcomes[..., None, :] == tf.range(categories)[:, None], -1)
    log_rest = tf.reduce_logsumexp(tf.where(chosen, tf.constant(ILLEGAL, log_probs.dtype), log_probs), -1)
    return tf.where(log_chosen > ILLEGAL, outcomes, outcomes[..., :1]), log_chosen, log_rest


def set_weights(log_probs: tf.Tensor, log_rest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights of the members of a set in the estimate and in each other's baselines.

    With h(A) the probability that the set is completed once its members A have been drawn,

        h(A) = sum over members t outside A of p_t h(A and t) / (1 - p(A)),    h(all) = 1,

    the weights are p_s h(s) / h(nothing) and p_t h(s, t) / h(s). The sums have positive terms only and 1 - p(A) is
    itself summed, so nothing cancels however small the probabilities (inclusion-exclusion would lose all digits).

    Args:
        log_probs: `[..., k]`, of the members.
        log_rest: `[...]`, of all that are no members.

    Returns:
        (`[..., k]`, which sum to 1; `[..., k, k]`, row s for the baseline of s).
    """
    size = log_probs.shape[-1]
    layers = [list(itertools.combinations(range(size), number)) for number in range(size + 1)]
    log_h = [tf.zeros_like(log_probs[..., :1])]
    for number in reversed(range(size)):
        after = {subset: position for position, subset in enumerate(layers[number + 1])}
        members = np.array([[t for t in range(size) if t not in subset] for subset in layers[number]])
        successors = [
            [after[tuple(sorted((*subset, t)))] for t in row]
            for subset, row in zip(layers[number], members, strict=True)
        ]
        log_members = tf.gather(log_probs, members, axis=-1)
        rest = tf.broadcast_to(log_rest[..., None, None], tf.shape(log_members[..., :1]))
        log_left = tf.reduce_logsumexp(tf.concat([log_members, rest], -1), -1)
        completed = tf.reduce_logsumexp(log_members + tf.gather(log_h[0], np.array(successors), axis=-1), -1) - log_left
        # Once every legal outcome is drawn there is nothing left to complete.
        log_h.insert(0, tf.where(log_left > ILLEGAL, completed, tf.zeros_like(completed)))
    first = tf.exp(log_probs + log_h[1] - log_h[0])
    own = tf.linalg.diag(tf.exp(log_probs))
    if size == 1:
        return first, own
    pair = np.zeros([size, size], np.int32)
    for position, (s, t) in enumerate(layers[2]):
        pair[s, t] = pair[t, s] = position
    others = tf.exp(log_probs[..., None, :] + tf.gather(log_h[2], pair, axis=-1) - log_h[1][..., None])
    return first, tf.linalg.set_diag(others, tf.exp(log_probs))
