"""The configurations in agents/configs, the studies and the sweeps: each loads, and its agent takes its environment."""

from pathlib import Path

import pytest

from rlsample import runs
from rlsample.runs.agents import make_policy
from scripts.catalogue import known_agents
from scripts.compare.__main__ import jobs_of
from scripts.compare.study import plan
from scripts.sweep import __main__ as sweep

FOLDER = Path("agents/configs")
CONFIGS = sorted(FOLDER.glob("*.yaml"))
STUDIES = sorted(FOLDER.glob("studies/*.yaml"))
SWEEPS = sorted(FOLDER.glob("sweeps/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_fits_together(path):
    agents = known_agents()
    config = runs.load_config(path, agents=agents)
    policy = make_policy(agents.module(config.agent.name), config)
    assert policy.head.sampler == config.sampler


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_is_of_runs_that_fit_together(path):
    agents = known_agents()
    for job in jobs_of(plan(path, []), Path("runs")):
        runs.load_config(job.config, job.words, agents=agents)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_is_of_trials_that_fit_together(path, tmp_path):
    assert sweep.main([str(path), "--wandb", "--folder", str(tmp_path)]) == 0
    assert list(tmp_path.glob("wandb-*.yaml"))
