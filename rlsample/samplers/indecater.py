"""IndeCateR: every factor of a joint action summed out in turn, the others drawn."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.ops.softmax import ILLEGAL
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.explicit_gradient import BoundedEvaluations
from rlsample.samplers.inverse_cdf import draw_category
from rlsample.samplers.objectives import objective_values
from rlsample.types import Objective


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class IndeCateR(BoundedEvaluations):
    """One draw of a joint action, and the all-action sum of each factor with the other factors as drawn.

        forward   `expectation` is the mean over factors d of sum_k p_dk f(D with D_d = k); a call draws as
                  `categorical` does
        backward  p_d * (f_d - <p_d, f_d>) to the logits of factor d, f_dk = f(D with D_d = k)

    Unbiased; the noise of a factor's own draw is gone, that of the others' remains. Without noise for objectives that
    are a sum over factors, and for a single categorical, of which it is `exact`. It asks nothing of the objective but
    its values: F K + 1 of them, where `exact` needs K^F, and no legal outcome more is ever asked for. The temperature
    is not used.

    Attributes:
        max_evaluations: bound on the number of evaluations of the objective. Beyond it use `leave_one_out`.

    Source: De Smet, Sansone and Zuidberg Dos Martires (2023), "Differentiable sampling of categorical distributions
    using the CatLog-derivative trick", arXiv 2311.12569, section 4.

    Examples:
        >>> sampler = samplers.create("indecater")
        >>> objective = lambda one_hot: tf.reduce_sum(one_hot[..., 1], -1) ** 2
        >>> logits = tf.Variable([[[0.0, 1.0], [2.0, 0.0]]] * 10_000)  # joint actions of two factors
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))
        [[-0.243  0.243]
         [-0.259  0.259]] [[0.126 0.126]
         [0.093 0.093]]
        >>> print(lab.exact_gradient(objective, logits[:1]).numpy())
        [[[-0.243  0.243]
          [-0.259  0.259]]]
    """

    name: ClassVar[str] = "indecater"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    def values_and_gradient(
        self, objective: Objective, prepared: PreparedLogits, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ExplicitGradient.values_and_gradient`."""
        logits, categories = prepared.logits, prepared.logits.shape[-1]
        if categories is None:
            raise checks.invalid("a static number of categories", shape=tuple(logits.shape), hint="Set the shape.")
        probs = ops.normalise(logits)
        drawn = tf.maximum(draw_category(probs, seed), 0)

        def at(action: tf.Tensor) -> tf.Tensor:
            one_hot = tf.one_hot(action, categories, dtype=prepared.given.dtype)
            return objective_values(objective, tf.ensure_shape(one_hot, logits.shape))

        # How many axes the values have says what is a factor. In a graph nothing else needs this one.
        rank = at(drawn).shape.rank
        factor_shape = tuple(logits.shape[rank:-1])
        if None in factor_shape:
            raise checks.invalid("static factor axes", shape=tuple(logits.shape), hint="Set the static shape.")
        factors = int(np.prod(factor_shape))
        self.check_cost(factors * categories + 1)
        rows = []
        for chosen in np.eye(factors, dtype=bool):
            chosen = chosen.reshape(factor_shape)
            # In place of an illegal category the one drawn: the objective may have no value there.
            actions = [tf.where(chosen & (logits[..., k] > ILLEGAL), k, drawn) for k in range(categories)]
            rows.append(tf.stack([at(action) for action in actions], -1))
        values = tf.stack(rows, -2) if factor_shape else rows[0]
        values = tf.reshape(values, tf.concat([tf.shape(probs)[:rank], [*factor_shape, categories]], 0))
        # A weight that underflows to 0 beside an infinite value must not give NaN.
        values = tf.where(probs > 0, values, tf.zeros_like(values))
        means = tf.reduce_sum(tf.cast(probs, values.dtype) * values, -1)
        table = tf.stop_gradient(tf.cast(values, logits.dtype))
        return tf.reduce_mean(means, list(range(rank, rank + len(factor_shape)))), ops.softmax_vjp(probs, table)
