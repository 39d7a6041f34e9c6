"""The laws of policies as TensorFlow Probability distributions over one-hots.

    policy = head.distribution(logits)
    draw = policy.sample(seed=seed)        one-hot, differentiable where the sampler is
    policy.log_prob(draw)                  the mass of the action drawn, never a relaxed density

Importing this module imports TensorFlow Probability; nothing else in the library does.
"""

from rlsample.distributions.autoregressive import AutoregressiveCategorical
from rlsample.distributions.base import PolicyDistribution
from rlsample.distributions.categorical import FactoredCategorical
from rlsample.distributions.ordinal import DiscretizedLogistic
from rlsample.distributions.subset import OrderedSubset

__all__ = [
    "AutoregressiveCategorical",
    "DiscretizedLogistic",
    "FactoredCategorical",
    "OrderedSubset",
    "PolicyDistribution",
]
