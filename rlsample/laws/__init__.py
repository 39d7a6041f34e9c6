"""The law of a policy at given logits: what is drawn, how probable it is, and the gradient through it. No TFP here."""

from rlsample.laws.base import Law
from rlsample.laws.categorical import CategoricalLaw

__all__ = ["CategoricalLaw", "Law"]
