"""What the command line knows by name: what comes with the library, whose environments are registered here."""

from __future__ import annotations

from rlsample.runs.shipped import known_agents, package

__all__ = ["known_agents"]

package("envs")
