"""PyTorch's `gumbel_softmax`, with the same name and the same meaning."""

from __future__ import annotations

import keras
import tensorflow as tf

from rlsample import checks, samplers
from rlsample.types import TensorLike

_DEFAULT_TEMPERATURE = 1.0


def gumbel_softmax(
    logits: TensorLike,
    temperature: TensorLike = _DEFAULT_TEMPERATURE,
    hard: bool = False,
    axis: int = -1,
    seed: TensorLike | None = None,
    mask: TensorLike | None = None,
    *,
    tau: TensorLike | None = None,
    dim: int | None = None,
    eps: float | None = None,
) -> tf.Tensor:
    """Draws from the Gumbel-softmax along any axis; `torch.nn.functional.gumbel_softmax` is the model.

        forward   s = softmax((logits + G) / tau), or with `hard` the one-hot of its maximum
        backward  (1 / tau) s * (g - <s, g>), for both

    The samplers `gumbel_softmax` and `straight_through_gumbel_softmax` say more about bias and limits; they suit
    policies better, since they return the integer action too. Where torch's function returns NaN (a
    temperature of 0, a row with nothing legal), this one raises.

    Args:
        logits: float, any shape, unnormalised log-probabilities.
        temperature: finite and above 0: a number, or a tensor, scalar or of the shape of `logits` without `axis`.
        hard: whether to return exact one-hots.
        axis: where the categories are.
        seed: stateless seed, int32 `[2]`. None draws a fresh one at every call, in compiled code too, from Keras'
            global generator: `keras.utils.set_random_seed` makes eager code, and functions traced after it, repeat.
        mask: boolean, broadcasts to the logits, True = legal.
        tau: torch's word for `temperature`.
        dim: torch's word for `axis`.
        eps: taken because torch takes it; neither uses it.

    Returns:
        A float tensor of the shape and dtype of `logits`, which sums to 1 along `axis`.

    Raises:
        ValueError: an axis out of range, both words for one thing, or as for every sampler.

    Examples:
        >>> from rlsample import gumbel_softmax
        >>> print(gumbel_softmax([[0.0, 1.0, 2.0]], temperature=0.5, seed=(0, 1)).numpy())
        [[0.477 0.522 0.001]]
        >>> print(gumbel_softmax([[0.0, 1.0, 2.0]], temperature=0.5, hard=True, seed=(0, 1)).numpy())
        [[0. 1. 0.]]
    """
    if tau is not None:
        if temperature is not _DEFAULT_TEMPERATURE:
            raise checks.invalid("temperature or tau, not both", temperature=temperature, tau=tau)
        temperature = tau
    if dim is not None:
        if axis != -1:
            raise checks.invalid("axis or dim, not both", axis=axis, dim=dim)
        axis = dim
    logits = tf.convert_to_tensor(logits)
    rank = logits.shape.rank
    if rank is None or not isinstance(axis, int) or isinstance(axis, bool) or not -rank <= axis < rank:
        raise checks.invalid("axis to be one of those of the logits", axis=axis, shape=logits.shape)
    mask = checks.check_mask(mask, logits.shape)
    sampler = samplers.create("straight_through_gumbel_softmax" if hard else "gumbel_softmax")
    seed = _fresh_seed() if seed is None else seed
    if axis in (-1, rank - 1):
        return sampler(logits, seed, temperature=temperature, mask=mask).one_hot
    order = [other for other in range(rank) if other != axis % rank] + [axis % rank]
    if mask is not None:
        mask = tf.transpose(tf.broadcast_to(mask, tf.shape(logits)), order)
    drawn = sampler(tf.transpose(logits, order), seed, temperature=temperature, mask=mask).one_hot
    back = [order.index(each) for each in range(rank)]
    return tf.transpose(drawn, back)


def _fresh_seed() -> tf.Tensor:
    return keras.random.randint((2,), -(2**31), 2**31 - 1, dtype="int32")
