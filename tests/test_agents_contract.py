"""What every agent has to do, whatever it learns by."""

from __future__ import annotations

import fnmatch
import functools
import sys
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest

from rlsample.runs import AgentConfig, ConfigError, agents, checkpoint, metrics
from rlsample.runs.describe import describe_fields
from tests.helpers_agents import AGENTS, ALL_AGENTS, SMALL, small_config
from tests.helpers_runs import Silent


@functools.cache
def trained(name, seed=1, again=0):
    """The policy and the records of a small run; `again` repeats it."""
    run = Silent()
    return AGENTS.module(name).train(small_config(name, seed), run), run.records


def weights(policy):
    return [np.asarray(weight) for weight in policy.model.trainable_variables]


def test_every_agent_is_tried():
    assert set(ALL_AGENTS) == set(SMALL)


@pytest.mark.parametrize("name", ALL_AGENTS)
class TestEveryAgent:
    @pytest.mark.slow
    def test_the_same_seed_is_the_same_run(self, name):
        (policy, records), (same, same_records) = trained(name), trained(name, again=1)
        assert len(records) >= 2 or records[-1]["update"] >= 2
        np.testing.assert_equal(records, same_records)
        for one, two in zip(weights(policy), weights(same), strict=True):
            np.testing.assert_array_equal(one, two)

    @pytest.mark.slow
    def test_another_seed_is_another_run(self, name):
        (policy, _), (other, _) = trained(name), trained(name, seed=2)
        for one, two in zip(weights(policy), weights(other), strict=True):
            assert one.size < 8 or np.any(one != two)

    def test_all_steps_are_taken_and_learning_changes_the_policy(self, name):
        policy, records = trained(name)
        config = small_config(name)
        assert records[-1]["step"] >= config.total_steps
        made = config.env.make(1)
        fresh = AGENTS.module(name).make_policy(config, made.single_observation_space, made.single_action_space)
        assert any(np.any(one != two) for one, two in zip(weights(policy), weights(fresh), strict=True))

    def test_it_stops_when_asked(self, name):
        run = Silent()
        run.stopping = True
        policy = AGENTS.module(name).train(small_config(name, total_steps=10**7), run)
        assert policy.model.built
        assert not run.records
        assert run.planned >= 10**7

    def test_its_policy_acts_and_comes_back_from_a_checkpoint(self, name, tmp_path):
        policy, _ = trained(name)
        config = small_config(name)
        made = config.env.make(4)
        observations, _ = made.reset(seed=0)
        fresh = AGENTS.module(name).make_policy(config, made.single_observation_space, made.single_action_space)
        checkpoint.save(tmp_path, 64, model=policy.model)
        assert checkpoint.load(tmp_path, model=fresh.model) == 64
        np.testing.assert_equal(fresh.act(observations), policy.act(observations))
        drawn = gym.vector.utils.iterate(made.action_space, fresh.act(observations, seed=(1, 2)))
        assert all(made.single_action_space.contains(action) for action in drawn)

    def test_what_it_logs_is_documented_and_what_it_documents_is_logged(self, name):
        _, records = trained(name)
        logged = set().union(*records) - {"step"}
        assert [each for each in sorted(logged) if metrics.meaning_of(each) is None] == []
        assert set(AGENTS.module(name).METRICS) <= logged
        assert {"sampler/temperature", "update"} <= logged

    def test_each_hyper_parameter_has_a_sentence(self, name):
        for key, *_, sentence in describe_fields(AGENTS[name]):
            assert sentence.endswith("."), key


def test_every_metric_of_the_table_is_logged_by_somebody():
    logged = {"global_step", "charts/steps_per_second", "evaluation/mean_return", "evaluation/std_return"}  # by `Run`
    for name in ALL_AGENTS:
        logged |= set().union(*trained(name)[1])
    logged |= {"members/return_*"}  # by populations: tests/test_ppo.py
    logged |= {key for key in metrics.METRICS if fnmatch.filter(logged, key)}
    logged |= {"charts/episodes", "charts/episodic_return", "charts/episodic_length"}  # once one ended, after 32 steps
    logged |= {key for key in metrics.METRICS if key.startswith("scale/")}  # by runners: tests/test_scale.py
    assert set(metrics.METRICS) - logged == set()


def module(name, **content):
    made = ModuleType(name)
    for key, value in content.items():
        setattr(made, key, value)
    return made


class MineConfig(AgentConfig):
    name: str = "mine"


class TestAnAgentOfOnesOwn:
    def test_it_is_found_once_it_is_registered(self, monkeypatch):
        monkeypatch.setattr(agents, "_registered", {})
        mine = module("mine", Config=MineConfig, make_policy=print, train=print)
        monkeypatch.setitem(sys.modules, "mine", mine)
        agents.import_modules(["mine"])
        assert agents.Agents()["mine"] is MineConfig
        assert "mine" in agents.Agents()
        assert agents.Agents().module("mine") is mine

    def test_it_is_found_through_an_entry_point_and_imported_only_when_named(self, monkeypatch):
        class Point:
            name, dist, value = "theirs", None, "broken.package"

            def load(self):
                raise ModuleNotFoundError("No module named 'broken'")

        monkeypatch.setattr(agents, "_installed", lambda: {"theirs": Point()})
        known = agents.Agents()
        assert list(known) == ["theirs"]
        with pytest.raises(ConfigError, match=r"The agent 'theirs' of the package 'broken.package' cannot be imported"):
            known["theirs"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"Config": MineConfig, "train": print}, r"missing=\['make_policy'\]. An agent's module has Config"),
            ({"Config": dict, "train": print, "make_policy": print}, "Config to be a subclass of .*AgentConfig"),
            ({"Config": AgentConfig, "train": print, "make_policy": print}, "Config.name to have a default"),
        ],
    )
    def test_what_it_lacks_is_named(self, content, message):
        with pytest.raises(ConfigError, match=message):
            agents.register_agent(module("mine", **content))
