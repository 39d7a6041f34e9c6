"""Mathematics with hand-written gradients: tensors in, tensors out, no state, no reinforcement learning."""

from rlsample.ops.categorical import entropy, kl_divergence, log_prob, mode
from rlsample.ops.catnat import catnat, catnat_given_legal
from rlsample.ops.convolution import convolution
from rlsample.ops.cross_entropy import softmax_cross_entropy, sparse_softmax_cross_entropy
from rlsample.ops.gated_recurrence import gated_recurrence
from rlsample.ops.long_short_term_memory import long_short_term_memory
from rlsample.ops.noise import exponential, fold_in, gumbel, split, uniform
from rlsample.ops.products import narrow_matmul
from rlsample.ops.rounders import ROUNDERS, SHARPNESS
from rlsample.ops.rounding import round_fourier, round_ramp, round_sigmoid, round_sine, round_straight_through
from rlsample.ops.soft_rounding import soft_round, soft_round_conditional_mean, soft_round_inverse
from rlsample.ops.softmax import (
    legal_logits,
    normalise,
    softmax,
    softmax_jacobian,
    softmax_vjp,
    temper,
    tempered_softmax,
    with_softmax_gradient,
)
from rlsample.ops.surrogate import surrogate_gradient, with_gradient_of

__all__ = [
    "ROUNDERS",
    "SHARPNESS",
    "catnat",
    "catnat_given_legal",
    "convolution",
    "entropy",
    "exponential",
    "fold_in",
    "gated_recurrence",
    "gumbel",
    "kl_divergence",
    "legal_logits",
    "log_prob",
    "long_short_term_memory",
    "mode",
    "narrow_matmul",
    "normalise",
    "round_fourier",
    "round_ramp",
    "round_sigmoid",
    "round_sine",
    "round_straight_through",
    "soft_round",
    "soft_round_conditional_mean",
    "soft_round_inverse",
    "softmax",
    "softmax_cross_entropy",
    "softmax_jacobian",
    "softmax_vjp",
    "sparse_softmax_cross_entropy",
    "split",
    "surrogate_gradient",
    "temper",
    "tempered_softmax",
    "uniform",
    "with_gradient_of",
    "with_softmax_gradient",
]
