"""Gymnasium's discrete action spaces as sets of categorical factors."""

from rlsample.spaces.factors import Factors, factorise

__all__ = ["Factors", "factorise"]
