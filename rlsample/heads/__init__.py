"""Policy heads: Keras layers from features to the law of an action, for every discrete action space."""

from rlsample.heads.base import PolicyHead
from rlsample.heads.categorical import CategoricalHead, FactoredHead, for_space
from rlsample.heads.value import ValueHead

__all__ = ["CategoricalHead", "FactoredHead", "PolicyHead", "ValueHead", "for_space"]
