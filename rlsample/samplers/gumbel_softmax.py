"""The Gumbel-softmax (Concrete) relaxation."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from rlsample import ops
from rlsample.samplers import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class GumbelSoftmax(base.Sampler):
    """A relaxed draw: a random point of the simplex near a vertex.

        forward   s = softmax((logits + G) / tau), G standard Gumbel noise; action = argmax(s) ~ softmax(logits)
        backward  (1 / tau) s * (g - <s, g>)

    The gradient is exact for the relaxed objective E[f(s)], biased for the discrete E[f(D)]. tau -> 0: s becomes
    one-hot, the bias goes to 0 and the variance grows as 1 / tau; tau -> infinity: s becomes uniform and the gradient
    0. The relaxed objective can look far better than the discrete one: evaluate with hard actions.

    Source: Jang, Gu and Poole (2017), arXiv 1611.01144, section 2.1; Maddison, Mnih and Teh (2017), arXiv 1611.00712.
    """

    name: ClassVar[str] = "gumbel_softmax"
    relaxed: ClassVar[bool] = True

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        action, centred = winner(perturb(logits, seed))
        return action, ops.tempered_softmax(centred, temperature)


def perturb(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Logits + G for prepared logits: argmax of it is an exact draw; illegal categories stay at the floor."""
    return logits + tf.cast(ops.gumbel(tf.shape(logits), seed), logits.dtype)


def centre(perturbed: tf.Tensor) -> tf.Tensor:
    """Shifts rows so that their maximum is 0, which no softmax notices."""
    return perturbed - tf.stop_gradient(tf.reduce_max(perturbed, -1, keepdims=True))


def winner(perturbed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The first maximum of each row, int32 `[...]`, and the rows shifted as `centre` does."""
    centred, size = centre(perturbed), tf.shape(perturbed)[-1]
    # argmax would say the same, but compiled for a CPU it does not vectorise, and what it reads is computed twice.
    return tf.reduce_min(tf.where(centred >= 0, tf.range(size), size), -1), centred
