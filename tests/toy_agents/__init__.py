"""Agents that learn nothing, for the tests of everything around an agent."""
