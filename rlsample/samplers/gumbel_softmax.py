"""The Gumbel-softmax (Concrete) relaxation."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import tensorflow as tf

from rlsample import ops
from rlsample.ops.noise import shape_of
from rlsample.samplers.base import Sampler
from rlsample.samplers.shapes import num_categories


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class GumbelSoftmax(Sampler):
    """A relaxed draw: a random point of the simplex near a vertex.

        forward   s = softmax((logits + G) / tau), G standard Gumbel noise; action = argmax(s) ~ softmax(logits)
        backward  (1 / tau) s * (g - <s, g>)

    The gradient is exact for the relaxed objective E[f(s)], biased for the discrete E[f(D)]. tau -> 0: s becomes
    one-hot, the bias goes to 0 and the variance grows as 1 / tau; tau -> infinity: s becomes uniform and the gradient
    0. The relaxed objective can look far better than the discrete one: evaluate with hard actions.

    Source: Jang, Gu and Poole (2017), arXiv 1611.01144, section 2.1; Maddison, Mnih and Teh (2017), arXiv 1611.00712.

    Examples:
        >>> sampler = samplers.create("gumbel_softmax")
        >>> print(sampler([0.0, 1.0, 2.0], seed=(0, 1)).one_hot.numpy())
        [0.48  0.502 0.018]
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.745 -2.088  2.833] [0.816 1.299 1.446]
    """

    name: ClassVar[str] = "gumbel_softmax"
    family: ClassVar[str] = "Gumbel-softmax"
    relaxed: ClassVar[bool] = True

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        action, tempered, relaxed = relaxed_draw(logits, seed, temperature)
        return action, ops.with_softmax_gradient(relaxed, tempered, relaxed)


def relaxed_draw(
    logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws s = softmax((logits + G) / temperature) for noise G.

    Returns:
        (argmax s, -1 if the row holds NaN; logits to send the gradient of s to, with `ops.with_softmax_gradient`;
        s `[..., K]`).
    """
    if temperature is None:
        # exp(logits + G) as exp(logits) / E, which takes a logarithm less.
        weights = tf.exp(logits) / tf.cast(ops.exponential(shape_of(logits), seed), logits.dtype)
        relaxed = weights * tf.math.reciprocal(tf.reduce_sum(weights, -1, keepdims=True))
        return first_maximum(weights), logits, relaxed
    perturbed = perturb(logits, seed)
    tempered = ops.temper(centre(perturbed), temperature)
    return first_maximum(perturbed), tempered, ops.normalise(tempered)


def perturb(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Logits + G for prepared logits: argmax of it is an exact draw; illegal categories stay at the floor."""
    return logits + tf.cast(ops.gumbel(shape_of(logits), seed), logits.dtype)


def centre(perturbed: tf.Tensor) -> tf.Tensor:
    """Shifts rows so that their maximum is 0, which no softmax notices."""
    return perturbed - tf.stop_gradient(tf.reduce_max(perturbed, -1, keepdims=True))


def first_maximum(values: tf.Tensor) -> tf.Tensor:
    """Index of the first maximum of each row, int32 `[...]`; -1 if it holds NaN (which eager code raises for)."""
    if tf.executing_eagerly():
        return tf.argmax(values, -1, output_type=tf.int32)
    largest, size = tf.reduce_max(values, -1, keepdims=True), num_categories(values)
    # Compiled for a CPU, argmax does not vectorise, and what it reads is computed twice.
    rank = tf.where(values >= largest, tf.range(size), tf.where(values < largest, size, -1))
    return tf.reduce_min(rank, -1)
