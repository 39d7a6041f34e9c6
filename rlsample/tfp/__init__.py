"""The laws of policies as TensorFlow Probability distributions over one-hots.

    policy = head.distribution(logits)
    draw = policy.sample(seed=seed)        one-hot, differentiable where the sampler is
    policy.log_prob(draw)                  the mass of the action drawn, never a relaxed density

Importing this module imports TensorFlow Probability; nothing else in the library does.
"""

from rlsample.tfp.autoregressive import AutoregressiveCategorical
from rlsample.tfp.base import PolicyDistribution
from rlsample.tfp.categorical import FactoredCategorical
from rlsample.tfp.ordinal import DiscretizedLogistic
from rlsample.tfp.subset import OrderedSubset

__all__ = [
    "AutoregressiveCategorical",
    "DiscretizedLogistic",
    "FactoredCategorical",
    "OrderedSubset",
    "PolicyDistribution",
]
