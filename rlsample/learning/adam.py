"""Adam as a pure function of its state: for programs that carry weights along, and for populations.

Keras's optimizers keep their state in variables and refuse to be called without them on TensorFlow, so a compiled loop
could not carry several of them side by side. The step is the one of `keras.optimizers.Adam`, to the last bit of its
formula.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike


class AdamState(NamedTuple):
    """What Adam remembers.

    Attributes:
        count: int32 scalar, steps taken.
        mean: running mean of the gradients, a structure like the weights.
        square: running mean of their squares, likewise.

    Examples:
        >>> from rlsample.learning.adam import Adam
        >>> state = Adam().start({"kernel": tf.ones([2])})
        >>> state.count.numpy(), state.mean["kernel"].numpy()
        (np.int32(0), array([0., 0.], dtype=float32))
    """

    count: tf.Tensor
    mean: Any
    square: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """Adaptive moment estimation, for any structure of float tensors.

        m <- m + (1 - b1) (g - m);  v <- v + (1 - b2) (g^2 - v)
        w <- w - rate (1 - (t - 1) / T) sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)

    Attributes:
        beta_1: b1, decay of the mean.
        beta_2: b2, decay of the mean square.
        epsilon: added to the root, against division by 0.
        decay_steps: T, steps over which the learning rate falls linearly to 0, where it stays; None keeps it.
        max_gradient_norm: gradients whose joint norm is longer are scaled down to it; None leaves them alone.

    Source: Kingma and Ba (2015), Adam: a method for stochastic optimization, arXiv 1412.6980, end of section 2.

    Examples:
        >>> from rlsample.learning.adam import Adam
        >>> optimizer, weights = Adam(), [tf.constant([1.0, -2.0])]
        >>> state = optimizer.start(weights)
        >>> for _ in range(10):
        ...     weights, state = optimizer.step(weights, state, weights, learning_rate=0.1)  # of the loss |w|^2 / 2
        >>> print(weights[0].numpy(), state.count.numpy())
        [ 0.076 -1.025] 10
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    decay_steps: int | None = None
    max_gradient_norm: float | None = None

    def __post_init__(self) -> None:
        if self.decay_steps is not None:
            checks.check_count("decay_steps", self.decay_steps)
        checks.check_positive("epsilon", self.epsilon)
        if self.max_gradient_norm is not None:
            checks.check_positive("max_gradient_norm", self.max_gradient_norm)

    def start(self, weights: Any) -> AdamState:
        """The state before the first step."""
        zeros = tf.nest.map_structure(tf.zeros_like, weights)
        return AdamState(tf.constant(0), zeros, zeros)

    def step(self, gradients: Any, state: AdamState, weights: Any, learning_rate: TensorLike) -> tuple[Any, AdamState]:
        """Moves the weights against their gradients.

        Args:
            gradients: of a loss, a structure like the weights.
            state: from `start`, or from the last step.
            weights: structure of float tensors.
            learning_rate: of the first step, above 0; number or scalar tensor.

        Returns:
            (weights, state).
        """
        if self.max_gradient_norm is not None:
            gradients = shortened(gradients, self.max_gradient_norm)
        if self.decay_steps is not None:
            learning_rate *= tf.maximum(1 - tf.cast(state.count, tf.float32) / self.decay_steps, 0.0)
        count = state.count + 1
        time = tf.cast(count, tf.float32)
        rate = learning_rate * tf.sqrt(1 - self.beta_2**time) / (1 - self.beta_1**time)
        mean = tf.nest.map_structure(lambda m, g: m + (g - m) * (1 - self.beta_1), state.mean, gradients)
        square = tf.nest.map_structure(lambda v, g: v + (tf.square(g) - v) * (1 - self.beta_2), state.square, gradients)
        weights = tf.nest.map_structure(
            lambda w, m, v: w - m * rate / (tf.sqrt(v) + self.epsilon), weights, mean, square
        )
        return weights, AdamState(count, mean, square)


def global_norm(gradients: Any) -> tf.Tensor:
    """The Euclidean norm of all tensors of a structure taken together: a scalar.

    Examples:
        >>> from rlsample.learning.adam import global_norm
        >>> float(global_norm({"kernel": tf.constant([[3.0]]), "bias": tf.constant([4.0])}))
        5.0
    """
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in tf.nest.flatten(gradients)]))


def shortened(gradients: Any, max_norm: float) -> Any:
    """Gradients scaled, all by the same factor, so that their joint norm is at most `max_norm`.

    Examples:
        >>> from rlsample.learning.adam import shortened
        >>> print(shortened([tf.constant([3.0, 4.0])], max_norm=1.0)[0].numpy())
        [0.6 0.8]
    """
    norm = global_norm(gradients)
    return tf.nest.map_structure(lambda gradient: gradient * (max_norm / tf.maximum(norm, max_norm)), gradients)
