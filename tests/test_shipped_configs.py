"""The configurations in agents/configs: each loads, and its agent takes its environment."""

from pathlib import Path

import pytest

from rlsample import runs
from rlsample.runs.agents import make_policy
from scripts.catalogue import known_agents

CONFIGS = sorted(Path("agents/configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_fits_together(path):
    agents = known_agents()
    config = runs.load_config(path, agents=agents)
    policy = make_policy(agents.module(config.agent.name), config)
    assert policy.head.sampler == config.sampler
