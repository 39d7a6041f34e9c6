"""The documentation: every Python block runs, every link leads somewhere, and pages do what they say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from rlsample.runs.agents import check_agent
from tests.helpers_pages import ROOT, blocks, pages, run_page

LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")


# A thousand studies, to see how often an interval holds the truth; policies that are trained or exported; notebooks.
LONG = {
    "coming_from",
    "comparing",
    "custom_agents",
    "memory",
    "own_network",
    "runs",
    "several_agents",
    "serving",
    "start",
} | {name for name in pages() if name.startswith("notebooks/")}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in pages() if blocks(name)],
)
def test_every_block_runs(name):
    assert run_page(name)


@pytest.mark.parametrize("name", pages())
def test_python_is_marked_as_python(name):
    fences = re.findall(r"^```(.*)$", pages()[name].read_text(), re.MULTILINE)
    assert all(mark and not re.fullmatch("py|pycon|python3", mark) for mark in fences[::2])
    assert not any(fences[1::2])


def anchors_of(path):
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere_and_pictures_have_a_text(name):
    page = pages()[name]
    for match in LINK.finditer(page.read_text()):
        text, target = match.groups()
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if "generated" not in path and not target.startswith("http"):
            assert place.exists(), target
            assert not anchor or anchor in anchors_of(place), target
        assert text or not match[0].startswith("!"), target


def test_every_page_is_in_a_table_of_contents():
    listed = {"index"}
    for name, path in pages().items():
        for table in re.findall(r"^```{toctree}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL):
            entries = (line for line in table.splitlines() if line and not line.startswith(":"))
            listed |= {(Path(name).parent / entry).as_posix() for entry in entries}
    assert not set(pages()) - {"README"} - listed


@pytest.mark.parametrize("name", pages())
def test_modules_that_a_page_names_exist(name):
    for named in set(re.findall(r"`(rlsample(?:\.[a-z_]+)+(?:\.[A-Z]\w*)?)`", pages()[name].read_text())):
        parts, found = named.split("."), None
        for size in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:size]))
            except ModuleNotFoundError:
                continue
            for part in parts[size:]:
                found = getattr(found, part)
            break
        assert found is not None, named


# ---- the errors


def test_the_errors_explained_are_those_of_the_code():
    source = "\n".join(path.read_text() for path in (ROOT / "rlsample").rglob("*.py"))
    headings = re.findall(r"^### `(.*)`$", pages()["errors"].read_text(), re.MULTILINE)
    assert len(headings) > 15
    for heading in headings:
        kind = re.match(r"Unknown (\w+)", heading)
        pieces = [f'"{kind[1]}"', "Did you mean"] if kind else heading.removeprefix("Expected ").split("...")
        assert all(piece.strip() in source for piece in pieces), heading


# ---- pages that promise something


@pytest.mark.slow
def test_custom_agents():
    page = run_page("custom_agents")
    assert gym.spaces.Discrete(4, start=1).contains(page.actions[0])
    assert np.mean(page.actions == page.expert_actions) > 0.5
    assert np.mean(page.chosen == page.values.argmax(-1)) > 0.3
    assert page.info["action_mask"].shape == (3, 6)
    np.testing.assert_array_equal(page.action, page.same)
    np.testing.assert_array_equal(page.would_be_next, page.next_seed)
    assert page.step == 1000
    assert page.probabilities.shape == (2,)
    assert page.log_prob.shape == (8,)
    assert page.logits.shape == (5, 4)
    assert page.drawn.shape == (5,)
    assert all(np.any(part != 0) for part in page.gradient)
    assert len(page.returns) == 1


@pytest.mark.slow
def test_several_agents():
    page = run_page("several_agents")
    assert gym.spec("mine/Tag-v0").max_episode_steps == 25
    assert page.rewards == {"speaker_0": 0.0, "listener_0": 0.0}
    assert (np.sum(page.gradient * page.state.target, -1) > 0).all()  # naming the target more often pays


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


def test_a_network_of_ones_own():
    page = run_page("own_network")
    assert page.config.network.architecture["class_name"] == "Sequential"
    assert page.run.policy.network == page.config.network
    assert page.run.step == 1024


@pytest.mark.slow
def test_runs():
    page = run_page("runs")
    assert page.run.step == 2400


@pytest.mark.slow
def test_serving():
    page = run_page("serving")
    np.testing.assert_array_equal(page.outcome["probabilities"][:, 1], 0)
    np.testing.assert_array_equal(page.outcome["action"], 0)
    assert page.actions.shape == (4,)


@pytest.mark.slow
def test_notebooks():
    run = run_page("notebooks/first_agent").run
    assert run.evaluation["mean_return"] > 100  # some 20 before
    angles = run_page("notebooks/through_cartpole").angles
    assert np.mean(angles[-10:]) < 0.7 * np.mean(angles[:5])
    reports = run_page("notebooks/estimators").reports
    # Ten thousand draws: what is unbiased is within five standard errors, what is not lies farther off.
    off = {name: report.bias / report.bias_standard_error for name, report in reports.items()}
    assert max(off[name] for name in ("score_function", "leave_one_out", "disarm", "unordered_set")) < 5
    assert min(off[name] for name in ("straight_through", "straight_through_gumbel_softmax", "reinmax")) > 10
    learned = run_page("notebooks/messages").learned
    assert all(np.mean(rewards[-10:]) > 0.7 for rewards, _ in learned.values())


def test_start():
    page = run_page("start")
    assert np.mean(page.earned[-10:]) > 2 * np.mean(page.earned[:10])
    assert page.actions["lights"].shape == (256, 2)


def test_concepts():
    gradients, exact = (getattr(run_page("concepts/differentiable_actions"), name) for name in ("gradients", "exact"))
    np.testing.assert_allclose(gradients["exact"][:1], exact, rtol=1e-5)
    # 10,000 estimates; standard deviations of at most 3.5, so that one in a million is further off than 4.9 of these.
    np.testing.assert_allclose(np.mean(gradients["leave_one_out"], 0), exact[0], atol=4.9 * 0.035)
    assert np.abs(np.mean(gradients["straight_through"], 0) - exact[0]).max() > 0.5
    assert run_page("concepts/bias_and_variance").claims["reinmax"] == "quadratic at temperature 1"
