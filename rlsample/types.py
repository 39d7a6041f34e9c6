"""The values that travel between the rooms, and the legend of their shapes.

Shapes, everywhere in the library:

    ...  any batch shape          B  batch            T  time
    K    categories               F  factors          N  samples

A seed is a stateless `int32[2]`. `action` is an integer; `one_hot` is a float that carries the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

TensorLike: TypeAlias = tf.Tensor | tf.Variable | np.ndarray | Sequence | float
Objective: TypeAlias = Callable[[tf.Tensor], tf.Tensor]


class Sample(NamedTuple):
    """A draw from a categorical policy.

    Attributes:
        action: int32 `[...]`, the category drawn; -1 marks a row whose logits were not usable (compiled code only:
            eager and graph code raise).
        one_hot: float `[..., K]` in the dtype of the logits: exactly one-hot for hard samplers, a point of the
            simplex for relaxed ones. Differentiable where the sampler is pathwise.
    """

    action: tf.Tensor
    one_hot: tf.Tensor
