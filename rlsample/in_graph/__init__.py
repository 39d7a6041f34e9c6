"""Environments written in TensorFlow: the base to derive from, their stepping, and their Gymnasium faces."""
