"""What the command line knows by name: the agents in the folder `agents`, and the environments of `envs`."""

from __future__ import annotations

import agents
import envs  # noqa: F401 (registers its environments)
from rlsample.runs.agents import Agents


def known_agents() -> Agents:
    """The agents of this clone, and those that are registered or installed."""
    return Agents(agents)
