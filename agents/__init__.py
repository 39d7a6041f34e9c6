"""Runnable example agents: one agent, one file, read from top to bottom."""
