"""k distinct items out of K, in order."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample import checks, ops
from rlsample.distributions import shapes
from rlsample.distributions.sequential import SequentialDistribution
from rlsample.samplers.gumbel_softmax import centre, perturb
from rlsample.types import Sample, TensorLike


class SubsetDistribution(SequentialDistribution):
    """The first k items of a Plackett-Luce ordering: each drawn by softmax(logits) from those not drawn yet.

        forward   the k largest of logits + G, in order, G standard Gumbel noise
        relaxed   a_1 .. a_k with a_j = softmax(alpha_j / tau), alpha_1 = logits + G,
                  alpha_{j+1} = alpha_j + log(1 - a_j)
        backward  of the relaxed rows, with the same noise

    With one item this is the (straight-through) Gumbel-softmax. tau -> 0: the relaxed rows become the one-hots and
    the bias goes to 0, the variance grows as 1 / tau; at large tau the rows are near-uniform and overlap. The sum of a
    draw over its k rows is the k-hot of the set.

    Args:
        logits: float `[..., K]`; -inf marks an illegal item.
        num_items: k.
        temperature: number or tensor, scalar or of the batch shape.
        relaxed: whether draws are the relaxed rows rather than one-hots with their gradient.
        mask: boolean, broadcasts to the logits, True = legal; at least k per row.
        max_outcomes: bound on the K^k sequences that `entropy`, `kl_divergence` and `probs` sum over.

    Source: Kool, van Hoof and Welling (2019), arXiv 1903.06059, section 2 (Gumbel top-k); Xie and Ermon (2019),
    arXiv 1901.10517, section 3 (the relaxation).

    Examples:
        >>> policy = distributions.SubsetDistribution([[0.0, 1.0, 2.0]], num_items=2)
        >>> print(policy.mode().action.numpy(), policy.log_prob([[2, 1]]).numpy(), policy.log_prob([[2, 2]]).numpy())
        [[2 1]] [-0.721] [-inf]
        >>> print(tf.reduce_sum(policy.sample(seed=(0, 1)).one_hot, 1).numpy())  # the set
        [[1. 1. 0.]]
    """

    pathwise = True

    def __init__(
        self,
        logits: TensorLike,
        num_items: int,
        temperature: TensorLike = 1.0,
        relaxed: bool = False,
        mask: TensorLike | None = None,
        max_outcomes: int = 4096,
    ) -> None:
        logits = shapes.masked_logits(logits, mask)
        num_items = checks.check_count("num_items", num_items)
        self.num_categories = logits.shape[-1]
        if self.num_categories is None or num_items > self.num_categories:
            raise checks.invalid(f"logits of at least {num_items} items", shape=tuple(logits.shape))
        self.sizes = (self.num_categories,) * num_items
        self.given: tf.Tensor
        self.temperature: Any
        self.given, self.temperature = shapes.with_row_temperature(
            shapes.with_enough_legal(logits, num_items), temperature, 1
        )
        self.dtype = self.given.dtype
        self.relaxed = relaxed
        self.max_outcomes = max_outcomes

    def start(self) -> tf.Tensor:
        """See `SequentialDistribution.start`: the logits of what is left."""
        return self.given

    def logits(self, state: tf.Tensor, factor: int) -> tf.Tensor:
        """See `SequentialDistribution.logits`."""
        return state

    def advance(self, state: tf.Tensor, one_hot: tf.Tensor, factor: int) -> tf.Tensor:
        """See `SequentialDistribution.advance`: takes the item out."""
        return tf.where(one_hot > 0, tf.constant(float("-inf"), state.dtype), state)

    def sample(self, seed: TensorLike, sample_shape: TensorLike = ()) -> Sample:
        """See `Distribution.sample`."""
        logits, _ = checks.check_logits(shapes.with_sample_axes(self.given, sample_shape))
        alpha = perturb(ops.legal_logits(logits), checks.check_seed(seed))
        action = tf.math.top_k(alpha, len(self.sizes)).indices
        action = tf.where(tf.math.is_nan(tf.reduce_sum(alpha, -1, keepdims=True)), tf.constant(-1), action)
        temperature = checks.check_temperature(self.temperature, alpha.dtype)
        if shapes.is_per_row(temperature):
            temperature = temperature[..., None]
        rows = []
        for _ in self.sizes:
            rows.append(ops.tempered_softmax(centre(alpha), temperature))
            # Below 1 by one float: log(0) would leave nothing for the gradient.
            alpha += tf.math.log1p(-tf.minimum(rows[-1], 1 - 2.0**-24))
        soft = tf.cast(tf.stack(rows, -2), logits.dtype)
        if self.relaxed:
            return Sample(action, soft)
        return Sample(action, ops.with_gradient_of(shapes.one_hot_like(action, logits), soft))

    def action(self, draw: TensorLike) -> tf.Tensor:
        """See `Distribution.action`: distinct items, for relaxed draws too."""
        return distinct_items(draw)


def distinct_items(draw: TensorLike) -> tf.Tensor:
    """The items that a draw `[..., k, K]` stands for: row by row the largest entry not taken yet, int32 `[..., k]`."""
    draw = tf.convert_to_tensor(draw)
    taken = tf.zeros_like(draw[..., 0, :], tf.bool)
    items = []
    for row in tf.unstack(draw, axis=-2):
        row = tf.where(taken, tf.constant(-1, row.dtype), row)
        items.append(tf.argmax(row, -1, output_type=tf.int32))
        taken |= tf.one_hot(items[-1], draw.shape[-1], on_value=True, off_value=False)
    return tf.stack(items, -1)
