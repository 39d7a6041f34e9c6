"""Compares variants of a run over seeds and environments: tables, curves, and the scores for other programs."""
