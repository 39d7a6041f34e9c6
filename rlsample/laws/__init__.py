"""The law of a policy at given parameters: what is drawn, how probable it is, and the gradient through it. No TFP."""

from rlsample.laws.autoregressive import AutoregressiveLaw
from rlsample.laws.base import Law
from rlsample.laws.categorical import CategoricalLaw
from rlsample.laws.ordinal import OrdinalLaw
from rlsample.laws.sequential import SequentialLaw
from rlsample.laws.subset import SubsetLaw

__all__ = ["AutoregressiveLaw", "CategoricalLaw", "Law", "OrdinalLaw", "SequentialLaw", "SubsetLaw"]
