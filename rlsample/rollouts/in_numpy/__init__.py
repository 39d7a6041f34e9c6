"""Policies in NumPy: what acts where there is no TensorFlow, or where calling it takes longer than the arithmetic."""
