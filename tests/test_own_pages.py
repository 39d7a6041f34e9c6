"""The pages on agents and environments of one's own run as they stand, and do what they say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest

from rlsample.runs.agents import check_agent

DOCS = Path(__file__).parents[1] / "docs"


def run_page(name):
    """What is defined once every block of a page has run, in order and in one namespace."""
    module = ModuleType(f"page_{name}")
    sys.modules[module.__name__] = module
    for code in re.findall(r"^```python\n(.*?)^```$", (DOCS / f"{name}.md").read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(code, f"{name}.md", "exec"), vars(module))
    return module


def test_an_environment_of_ones_own():
    page = run_page("own_environment")
    assert "mine/Lamp-v0" in gym.registry
    assert page.observations.shape == (64, 2)
    assert page.reward <= 0
    brighter = page.state[:, 1] > page.state[:, 0]
    np.testing.assert_array_equal(page.gradient[:, 2] > 0, brighter)
    np.testing.assert_allclose(page.gradient[:, 0], -page.gradient[:, 2], rtol=1e-5)
    gym.registry["mine/Lamp-v0"].kwargs["functional"] = f"{page.__name__}:Lamp"
    made = gym.make_vec("mine/Lamp-v0", num_envs=3)
    assert made.reset(seed=1)[0].shape == (3, 2)
    del gym.registry["mine/Lamp-v0"]


def test_an_agent_of_ones_own():
    page = run_page("own_agent")
    assert check_agent(page) is page
    assert page.run.step >= page.config.total_steps
    assert page.outcome.mean_return > 9  # at random some 20; falling at once 8 to 10
    assert (page.run.folder / "evaluation.json").is_file()
    assert (page.run.folder / "learning_curve.png").is_file()


@pytest.mark.parametrize("name", ["own_agent", "own_environment"])
def test_modules_that_a_page_names_exist(name):
    import importlib

    for module in set(re.findall(r"`(rlsample\.[a-z_.]+)`", (DOCS / f"{name}.md").read_text())):
        parts = module.split(".")
        imported = importlib.import_module(".".join(parts[:3] if len(parts) > 2 else parts))
        assert imported is not None
