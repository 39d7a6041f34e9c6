"""The suites of `python -m scripts.benchmark`, and what they share: contestants, turns, tables."""
