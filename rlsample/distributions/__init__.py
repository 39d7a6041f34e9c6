"""A policy at given parameters: what is drawn, how probable it is, and the gradient through it.

`to_tfp` gives any of these as a TensorFlow Probability distribution, and only then is that library loaded.
"""

from rlsample.distributions.autoregressive import AutoregressiveDistribution
from rlsample.distributions.base import Distribution
from rlsample.distributions.categorical import CategoricalDistribution
from rlsample.distributions.ordinal import OrdinalDistribution
from rlsample.distributions.sequential import SequentialDistribution
from rlsample.distributions.subset import SubsetDistribution
from rlsample.distributions.unordered_subset import UnorderedSubsetDistribution

__all__ = [
    "AutoregressiveDistribution",
    "CategoricalDistribution",
    "Distribution",
    "OrdinalDistribution",
    "SequentialDistribution",
    "SubsetDistribution",
    "UnorderedSubsetDistribution",
]
