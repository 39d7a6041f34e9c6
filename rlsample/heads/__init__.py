"""Policy heads: Keras layers from features to the distribution of an action, for every discrete action space."""

from rlsample.heads.autoregressive import AutoregressiveHead
from rlsample.heads.base import PolicyHead
from rlsample.heads.categorical import CategoricalHead, FactoredHead, for_space
from rlsample.heads.embedding import EmbeddingHead
from rlsample.heads.export import export
from rlsample.heads.ordinal import OrdinalHead
from rlsample.heads.top_k import TopKHead
from rlsample.heads.value import ValueHead

__all__ = [
    "AutoregressiveHead",
    "CategoricalHead",
    "EmbeddingHead",
    "FactoredHead",
    "OrdinalHead",
    "PolicyHead",
    "TopKHead",
    "ValueHead",
    "export",
    "for_space",
]
