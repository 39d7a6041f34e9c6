"""Runs that are stopped and go on: the same as if they had never been stopped."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest

from rlsample import runs
from rlsample.learning.replay import Replay
from rlsample.rollouts.off_policy import from_replay
from rlsample.rollouts.snapshot import Snapshot, arrays_of, tree_from
from rlsample.runs import ConfigError, Run, RunFolderError, checkpoint, config_from_dict, config_to_dict, read_metrics
from rlsample.runs.run_folder import reopen
from rlsample.runs.training import carry_out
from scripts import train
from tests.helpers_agents import AGENTS, ALL_AGENTS, SMALL, small_config


class Stopped(Run):
    """Is asked to stop by the first record after some steps."""

    after = 0

    def log(self, step, metrics, update=None):
        super().log(step, metrics, update)
        self.stopping = self.stopping or step >= self.after


def begin(folder, config, after=None):
    run = Run(folder, config, progress=False) if after is None else Stopped(folder, config, progress=False)
    run.after = after
    carry_out(run, AGENTS)
    return run


def resume(folder, config):
    run = Run(folder, config, progress=False, resume=True)
    carry_out(run, AGENTS)
    return run


def saved(folder):
    step, snapshot = checkpoint.load_snapshot(folder / "checkpoint")
    numbers = {key: value for key, value in snapshot.numbers.items() if key != "run"}
    return step, snapshot.arrays, numbers


def untimed(folder):
    records = read_metrics(folder / "metrics.jsonl")
    return [{key: value for key, value in record.items() if key != "charts/steps_per_second"} for record in records]


SETTINGS = {
    "dqn": {},
    "dqn, in the program": {"evaluation": {"every": 32, "episodes": 2}, "agent": {"prioritized": False}},
    "dqn, with a memory": {
        "evaluation": {"every": 32, "episodes": 2},
        "env": {"id": "rlsample/TMaze-v0", "num_envs": 4},
        "network": {"name": "recurrent", "cell": "lstm", "units": 3},
        "agent": {"prioritized": False, "sequence_length": 6, "burn_in": 2},
    },
    "relaxed_actor_critic, with a memory": {
        "evaluation": {"every": 32, "episodes": 2},
        "env": {"id": "rlsample/GridWorld-v0", "num_envs": 4},
        "network": {"name": "recurrent", "units": 3},
        "agent": {"audit_draws": 0, "sequence_length": 6, "burn_in": 2},
    },
    "multi_agent_actor_critic": {
        "agent": {
            "critic": "interpolated",
            "standardize_rewards": True,
            "temperatures": {"speaker_0": {"name": "exponential", "start": 1.0, "end": 0.1, "steps": 300}},
        },
    },
    "multi_agent_actor_critic, with a memory": {
        "network": {"name": "recurrent", "units": 3},
        "agent": {"critic": "interpolated", "standardize_rewards": True, "sequence_length": 6, "burn_in": 2},
    },
    "multi_agent_ppo": {"evaluation": {"every": 32, "episodes": 2}, "temperature": {"name": "adaptive", "target": 0.4}},
    "multi_agent_ppo, with a memory": {
        "evaluation": {"every": 32, "episodes": 2},
        "network": {"name": "recurrent", "units": 3},
    },
    "ppo, with a memory": {
        "evaluation": {"every": 32, "episodes": 2},
        "env": {"id": "rlsample/TMaze-v0", "num_envs": 4},
        "network": {"name": "recurrent", "units": 3},
    },
    "ppo": {"evaluation": {"every": 32, "episodes": 2}, "temperature": {"name": "adaptive", "target": 0.4}},
    "reinforce": {"evaluation": {"every": 32, "episodes": 2}, "agent": {"population": 2}},
    "reinforce, with a memory": {
        "evaluation": {"every": 32, "episodes": 2},
        "env": {"id": "rlsample/TMaze-v0", "num_envs": 4},
        "network": {"name": "recurrent", "units": 3},
    },
    "relaxed_actor_critic": {
        "evaluation": {"every": 32, "episodes": 2},
        "temperature": {"name": "adaptive", "holds": "signal_to_noise", "target": 3.0},
    },
    "short_horizon_actor_critic, with a memory": {
        "evaluation": {"every": 16, "episodes": 2},
        "env": {"id": "rlsample/TMaze-v0", "num_envs": 4},
        "network": {"name": "recurrent", "units": 3},
    },
    "short_horizon_actor_critic": {
        "evaluation": {"every": 16, "episodes": 2},
        "agent": {"population": 2, "audit_draws": 2},
        "temperature": {"name": "adaptive", "target": 0.4},
    },
    "world_model_actor_critic": {"agent": {"disagreement_price": 0.1}},
    "world_model_actor_critic, with a memory": {
        "evaluation": {"every": 32, "episodes": 2},
        "env": {"id": "rlsample/TMaze-v0", "num_envs": 4},
        "network": {"name": "recurrent", "units": 3},
        "agent": {"sequence_length": 6, "burn_in": 2},
    },
}


# Those that take longest to compile.
SLOW = {
    "dqn",
    "dqn, in the program",
    "dqn, with a memory",
    "dqn, with a memory, by Python",
    "multi_agent_actor_critic",
    "multi_agent_actor_critic, with a memory",
    "multi_agent_ppo",
    "multi_agent_ppo, with a memory",
    "ppo, with a memory",
    "reinforce",
    "reinforce, with a memory",
    "relaxed_actor_critic",
    "relaxed_actor_critic, with a memory",
    "short_horizon_actor_critic",
    "short_horizon_actor_critic, with a memory",
    "world_model_actor_critic",
    "world_model_actor_critic, with a memory",
    "world_model_actor_critic, with a memory, by Python",
}
BY_PYTHON = [f"{name}, with a memory, by Python" for name in ("dqn", "world_model_actor_critic")]
CASES = [*ALL_AGENTS, *(case for case in SETTINGS if case not in ALL_AGENTS), *BY_PYTHON]


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES])
def test_a_resumed_run_is_the_run_that_was_not_stopped_to_the_bit(case, tmp_path, monkeypatch):
    if case.endswith(", by Python"):
        monkeypatch.setattr(from_replay, "in_graph_env", lambda envs: None)
        case = case.removesuffix(", by Python")
    name, settings = case.split(",")[0], {"evaluation": {"episodes": 2}} | SETTINGS[case]
    config = small_config(name, total_steps=2 * SMALL[name]["total_steps"], **settings)
    begin(tmp_path / "whole", config)
    halted = begin(tmp_path / "halted", config, after=config.total_steps // 3)
    assert halted.step < config.total_steps
    assert not (tmp_path / "halted" / "evaluation.json").exists()
    resume(tmp_path / "halted", config)
    (step, arrays, numbers), (same_step, same, same_numbers) = map(saved, (tmp_path / "whole", tmp_path / "halted"))
    assert (step, numbers) == (same_step, same_numbers)
    assert arrays.keys() == same.keys()
    for key in arrays:
        np.testing.assert_array_equal(arrays[key], same[key], err_msg=key)
    records = untimed(tmp_path / "whole")
    np.testing.assert_equal(records, untimed(tmp_path / "halted"))
    adapted = records[-1]["sampler/temperature"] != records[0]["sampler/temperature"]
    assert adapted == (config.temperature.name == "adaptive")
    assert (tmp_path / "halted" / "evaluation.json").exists()


def small(**settings):
    """A run without XLA, which has nothing to do with what is kept of it."""
    agent = {"jit_compile": False} | settings.pop("agent", {})
    return small_config("ppo", agent=agent, **({"evaluation": {"episodes": 2}} | settings))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of `small()` that came to its end; a test that changes it makes a copy."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    begin(folder, small())
    return folder


@pytest.mark.slow
def test_a_population_and_python_s_environments_go_on(tmp_path):
    config = small(env={"id": "FrozenLake-v1", "num_envs": 4}, total_steps=96)
    begin(tmp_path / "run", config, after=32)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for name in ("run", "copy"):
        assert resume(tmp_path / name, config).step == 96
    # Its episodes begin anew, from a seed that the step decides.
    for one, two in zip(*(saved(tmp_path / name)[1].values() for name in ("run", "copy")), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_came_after_the_last_checkpoint_is_forgotten(tmp_path):
    config = small(total_steps=96, checkpoint={"every": 32})
    begin(tmp_path / "run", config, after=32)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"global_step": 64, "losses/policy": 1.0}) + "\n" + '{"global_step": 9')
    resume(tmp_path / "run", config)
    steps = [record["global_step"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert steps == sorted(steps)
    assert 1.0 not in [record.get("losses/policy") for record in read_metrics(tmp_path / "run" / "metrics.jsonl")]


def test_without_a_checkpoint_it_begins_anew(tmp_path):
    config = small()
    with Run(tmp_path / "run", config, progress=False):
        pass
    assert resume(tmp_path / "run", config).step == config.total_steps


def test_more_steps_can_be_asked_for_and_nothing_else(finished, tmp_path, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    words = ["--resume", str(folder)]
    assert train.main(words) == 2
    assert "Expected a run that is not finished" in capsys.readouterr().err
    for word, message in {
        "seed=2": "all but total_steps. Received: seed=2 (it was 1)",
        "agent.num_epochs=7": "Received: agent.num_epochs=7 (it was",
        "total_steps=32": "total_steps not to be lowered below 64 when a run is resumed. Received: total_steps=32",
    }.items():
        assert train.main([*words, word]) == 2
        assert message in capsys.readouterr().err
    assert train.main([*words, "--run-dir", "other"]) == 2
    assert "not both" in capsys.readouterr().err
    assert (folder / "evaluation.json").exists()
    assert train.main([*words, "total_steps=128"]) == 0
    assert json.loads((folder / "evaluation.json").read_text())["global_step"] == 128
    assert runs.load(folder).config.total_steps == 128


def test_a_folder_that_cannot_be_resumed(tmp_path):
    with pytest.raises(RunFolderError, match="Expected the folder of a run to resume"):
        resume(tmp_path, small())
    with Run(tmp_path / "run", small(), progress=False), pytest.raises(RunFolderError, match="not going on elsewhere"):
        resume(tmp_path / "run", small())
    with pytest.raises(ConfigError, match="folder of a run"):
        runs.load(tmp_path)


@pytest.mark.parametrize("line", ["nothing\n", "[1, 2]\n", '{"a": 1}\n'])
def test_metrics_that_cannot_be_read_are_named_before_the_run_is_changed(finished, tmp_path, line):
    folder = shutil.copytree(finished, tmp_path / "run")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(line)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(RunFolderError, match=r"record with its global_step.*metrics.jsonl', line=\d+"):
        resume(folder, small(total_steps=10_000))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    with pytest.raises(ConfigError, match="record with its global_step"):
        runs.load(folder, agents=AGENTS)


def test_an_evaluation_that_a_stop_interrupts_is_made_when_the_run_goes_on(tmp_path, monkeypatch):
    config = small(evaluation={"episodes": 2, "every": 32})

    def interrupted(self, policy):
        self.stopping = True

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_judge", interrupted)
        begin(tmp_path / "run", config)
    resume(tmp_path / "run", config)
    begin(tmp_path / "straight", config)

    def evaluated_at(name):
        records = read_metrics(tmp_path / name / "metrics.jsonl")
        return [record["global_step"] for record in records if "evaluation/mean_return" in record]

    assert evaluated_at("run") == evaluated_at("straight")
    assert len(evaluated_at("run")) >= 2


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
@pytest.mark.parametrize("kind", ["training", "weights", "manifest"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(tmp_path, damage, kind):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    for step in (32, 64, 96):
        snapshot = Snapshot({"x": np.full(100, step)}, {"turns": step})
        checkpoint.save(tmp_path, step, snapshot=snapshot, keep=2, model=model)
    assert len(list(tmp_path.glob("training-*.npz"))) == 2
    newest = {"training": "training-000003.npz", "manifest": "manifest.json"}
    path = tmp_path / newest.get(kind, "weights-000003.data-00000-of-00001")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:-7])
    if kind == "manifest":
        # The manifest of the newest is there twice: its own, and the one that will stand for it later.
        (tmp_path / "manifest-000003.json").unlink()
    with pytest.warns(RuntimeWarning, match=r"The checkpoint before it, of step 64, is used"):
        step, restored = checkpoint.load_snapshot(tmp_path)
    assert (step, restored.numbers, restored.arrays["x"][0]) == (64, {"turns": 64}, 64)
    with pytest.warns(RuntimeWarning, match=r"The checkpoint before it, of step 64, is used"):
        assert checkpoint.load(tmp_path, model=model) == 64


def test_a_manifest_that_was_removed_is_no_reason_to_begin_anew(tmp_path):
    begin(tmp_path / "run", small(checkpoint={"every": 32}))
    (tmp_path / "run" / "checkpoint" / "manifest.json").unlink()
    with pytest.warns(RuntimeWarning, match="no manifest.json there. The checkpoint before it, of step 64, is used"):
        _, step, snapshot = reopen(tmp_path / "run", small(total_steps=128))
    assert step == 64
    assert snapshot is not None


def test_where_no_checkpoint_is_whole_nothing_is_begun_or_removed(tmp_path):
    begin(tmp_path / "run", small(checkpoint={"every": 32}))
    for path in (tmp_path / "run" / "checkpoint").glob("training-*"):
        path.write_bytes(b"")
    records = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(
        RunFolderError, match=r"missing or damaged\. No other one in the folder is whole: begin another"
    ):
        resume(tmp_path / "run", small(total_steps=128))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == records


def test_the_best_policy_is_kept(tmp_path):
    config = small(evaluation={"every": 32, "episodes": 2}, total_steps=96)
    begin(tmp_path / "run", config)
    returns = {
        record["global_step"]: record["evaluation/mean_return"]
        for record in read_metrics(tmp_path / "run" / "metrics.jsonl")
        if "evaluation/mean_return" in record
    }
    best = runs.load(tmp_path / "run", best=True)
    assert returns[best.step] == max(returns.values())


def test_a_run_in_three_lines(tmp_path):
    made = runs.train(small(), tmp_path / "run", progress=False)
    assert made.step == 64
    assert made.evaluation["global_step"] == 64
    again = runs.load(tmp_path / "run")
    observations = np.zeros((3, *again.policy.observation_space.shape), np.float32)
    np.testing.assert_array_equal(again.policy.act(observations), made.policy.act(observations))
    assert again.metrics["global_step"][-1] == 64
    assert np.isfinite(again.metrics["losses/policy"]).any()
    decided = {"network": again.policy.network.to_config()}
    assert config_to_dict(again.config) == config_to_dict(small()) | decided
    assert runs.resume(tmp_path / "run", total_steps=96, progress=False).step == 96
    with pytest.raises(ConfigError, match="overrides for a file alone"):
        runs.train(small(), tmp_path / "other", "seed=2")


def test_snapshots_refuse_what_does_not_fit():
    arrays = arrays_of("state", {"a": np.zeros(3), "b": None, "c": np.ones((), bool)})
    assert sorted(arrays) == ["state/0", "state/2"]
    assert tree_from(arrays, "state", {"a": np.ones(3), "b": None, "c": np.zeros((), bool)})["c"]
    with pytest.raises(
        ValueError, match=r"Expected state/0 of the saved training to fit. Received: saved=\('float64', 3"
    ):
        tree_from(arrays, "state", {"a": np.ones(4), "b": None, "c": np.zeros((), bool)})


@pytest.mark.parametrize("rows", [0, 3, 5, 8])
def test_a_replay_comes_back_in_its_places(rows):
    replay, copy = Replay(5), Replay(5)
    for row in range(rows):
        replay.add({"value": np.array([row])})
    copy.restore(*replay.snapshot())
    for each in (replay, copy):
        each.add({"value": np.array([90, 91])})
    draw = [each.sample(np.random.default_rng(0), (50,))["value"] for each in (replay, copy)]
    np.testing.assert_array_equal(*draw)


def test_saving_changes_nothing(finished, tmp_path):
    often = tmp_path / "often"
    begin(often, small(checkpoint={"every": 1}))
    for one, two in zip(*(saved(folder)[1].values() for folder in (often, finished)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_checkpoint_without_a_snapshot_cannot_be_gone_on_from(finished, tmp_path):
    policy = runs.load(finished).policy
    checkpoint.save(tmp_path / "weights", 3, model=policy.model)
    with pytest.raises(checkpoint.CheckpointError, match="Received: one with weights alone"):
        checkpoint.load_snapshot(tmp_path / "weights")
    checkpoint.save(tmp_path / "weights", 4, model=policy.model, snapshot=Snapshot({"x": np.arange(3)}, {"y": 2**80}))
    step, snapshot = checkpoint.load_snapshot(tmp_path / "weights")
    assert (step, snapshot.numbers) == (4, {"y": 2**80})
    np.testing.assert_array_equal(snapshot.arrays["x"], [0, 1, 2])
    with pytest.raises(ConfigError, match=r"checkpoint\.keep"):
        config_from_dict({**config_to_dict(small()), "checkpoint": {"keep": 0}}, agents=AGENTS)


def test_an_evaluation_made_up_for_before_another_stop_counts_once(tmp_path, monkeypatch):
    config, folder = small(evaluation={"episodes": 2, "every": 32}), tmp_path / "run"

    def interrupted(self, policy):
        self.stopping = True

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_judge", interrupted)
        begin(folder, config)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "save", lambda *arguments, **options: None)
        resume(folder, config)
    resume(folder, config)
    steps = [each["global_step"] for each in read_metrics(folder / "metrics.jsonl") if "evaluation/mean_return" in each]
    every = [step for step in steps if step < max(steps)]
    assert len(every) == len(set(every))
