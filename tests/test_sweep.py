"""scripts.sweep: ranges and mistakes in them; trials that run, end early, are tried again; what is found."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from rlsample.runs.loading import check_config, load_block
from scripts import train
from scripts.catalogue import known_agents
from scripts.compare.study import plan
from scripts.sweep import __main__ as sweep
from scripts.sweep.picture import draw
from scripts.sweep.ranges import Between, Sweep
from tests.helpers_runs_on_disk import Processes, finish_run

CONFIG = "agents/configs/short_horizon_cartpole.yaml"
RANGES = f"""
config: {{root}}/{CONFIG}
words: {{evaluation.every: 500}}
each: {{sampler: [zgr, {{name: gumbel_rao, num_samples: 3}}]}}
ranges:
  agent.actor_learning_rate: {{low: 1.0e-4, high: 1.0e-2, log: true}}
  agent.horizon: {{low: 4, high: 32}}
  temperature: [0.5, {{name: linear, start: 2.0, end: 0.5, steps: 1000}}]
trials: 3
"""


@pytest.fixture
def file(tmp_path, request, monkeypatch):
    """A file of ranges; without what takes seconds: policies that show whether a sampler fits, and pictures."""
    monkeypatch.setattr(sweep, "make_policy", lambda agent, config: None)
    monkeypatch.setattr(sweep, "draw", lambda search, sweep, path: None)
    path = tmp_path / "mine.yaml"
    path.write_text(RANGES.replace("{root}", str(request.config.rootpath)))
    return path


def horizon(words):
    return next((int(word.partition("=")[2]) for word in words if word.startswith("agent.horizon=")), 0)


def outcome(folder, words, resumed):
    """The longer the horizon, the higher the return."""
    finish_run(folder, {500: float(horizon(words))}, float(horizon(words)))
    return 0


@pytest.fixture
def processes(monkeypatch):
    made = Processes(outcome)
    monkeypatch.setattr(subprocess, "Popen", made)
    return made


def run(file, *words):
    return sweep.main([str(file), "--folder", str(file.parent / "sweep"), *words])


def trials(file):
    """Group -> the trials that Optuna holds."""
    address = f"sqlite:///{file.parent / 'sweep' / 'trials.sqlite'}"
    storage = optuna.storages.RDBStorage(address)
    found = {study.study_name: storage.get_all_trials(study._study_id) for study in storage.get_all_studies()}
    storage.remove_session()
    storage.engine.dispose()
    return found


def test_every_sampler_gets_as_many_trials_and_the_best_are_told(file, processes, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "draw", draw)
    assert run(file, "--jobs", "2") == 0
    folder = file.parent / "sweep"
    found = trials(file)
    assert {name: [trial.state.name for trial in each] for name, each in found.items()} == {
        "sampler=zgr": ["COMPLETE"] * 3,
        "sampler={name: gumbel_rao, num_samples: 3}": ["COMPLETE"] * 3,
    }
    one, other = found.values()
    assert [trial.params for trial in one] == [trial.params for trial in other], "they begin with the same values"
    assert (folder / "sampler=zgr" / "trial002" / "evaluation.json").is_file()
    best = max(trial.params["agent.horizon"] for trial in one)
    shown = capsys.readouterr().out
    assert "sampler=zgr: 3 complete" in shown
    again = next(line for line in shown.splitlines() if line.startswith("The best again: "))
    assert f"agent.horizon={best}" in again
    assert (folder / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    # What is found goes on into a comparison, over other seeds than that of the search.
    planned = plan(folder / "study.yaml", [])
    assert [variant.name for variant, _ in planned.variants] == list(found)
    assert planned.seeds == tuple(range(2, 12))
    for variant, config in planned.variants:
        assert config.resolve() == Path(CONFIG).resolve()
        assert f"agent.horizon={best}" in variant.words
        check_config(config, variant.words, agents=known_agents())


def test_a_second_call_goes_on_as_the_first_would_have(file, processes):
    assert run(file, "trials=2") == 0
    assert run(file, "trials=4") == 0
    in_two = [trial.params for trial in trials(file)["sampler=zgr"]]
    count = len(processes.commands)
    assert count == 8
    assert run(file, "trials=4") == 0
    assert len(processes.commands) == count, "nothing is left to do"
    assert sweep.main([str(file), "--folder", str(file.parent / "other"), "trials=4"]) == 0
    other = file.parent / "other"
    other.rename(file.parent / "sweep2")
    (file.parent / "sweep").rename(file.parent / "sweep1")
    (file.parent / "sweep2").rename(file.parent / "sweep")
    assert [trial.params for trial in trials(file)["sampler=zgr"]] == in_two


def test_ctrl_c_leaves_trials_that_the_next_call_goes_on_with(file, monkeypatch, capsys):
    def interrupted(folder, words, resumed):
        signal.raise_signal(signal.SIGINT)

    made = Processes(interrupted)
    monkeypatch.setattr(subprocess, "Popen", made)
    assert run(file, "--jobs", "2") == 130
    assert made.stopped == len(made.commands) == 2
    assert "The same command goes on." in capsys.readouterr().out
    begun = {name: [trial.params for trial in each] for name, each in trials(file).items()}
    made.outcome = outcome
    assert run(file) == 0
    resumed = [command for command in made.commands if "--resume" in command]
    assert [Path(command[-1]).name for command in resumed] == ["trial000", "trial000"]
    ended = trials(file)
    assert all(trial.state.name == "COMPLETE" for each in ended.values() for trial in each)
    assert {name: [trial.params for trial in each][:1] for name, each in ended.items()} == begun
    assert len(made.commands) == 2 + 6


def test_a_trial_that_ended_unseen_is_told_without_being_run_again(file, processes):
    assert run(file, "trials=1") == 0
    path = file.parent / "sweep" / "sampler=zgr" / "trial001"

    def unseen(folder, words, resumed):
        outcome(folder, words, resumed)
        raise RuntimeError("the machine is gone")

    processes.outcome = unseen
    with pytest.raises(RuntimeError):
        run(file, "trials=2")
    assert path.is_dir()
    processes.outcome = outcome
    count = len(processes.commands)
    assert run(file, "trials=2") == 0
    assert len(processes.commands) == count + 1


def test_a_failed_trial_is_told_and_tried_once_more(file, monkeypatch, capsys):
    def outcome_of(folder, words, resumed):
        if folder.name == "trial000" and not resumed:
            return 1  # the first time
        if folder.name == "trial001":
            return -9  # always
        return outcome(folder, words, resumed)

    made = Processes(outcome_of)
    monkeypatch.setattr(subprocess, "Popen", made)
    assert run(file) == 0
    shown = capsys.readouterr().out
    assert "sampler=zgr trial 0: failed (exit code 1), its output is in " in shown
    assert shown.count("; once more") == 4
    states = [trial.state.name for trial in trials(file)["sampler=zgr"]]
    assert states == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "sampler=zgr: 2 complete, 1 failed" in shown
    assert len(made.commands) == 6 + 4


def test_a_trial_whose_run_still_goes_on_elsewhere_is_left_for_later(file, monkeypatch, capsys):
    """A sweep that was killed leaves its runs, which hold their folders."""
    made = Processes(lambda folder, words, resumed: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(subprocess, "Popen", made)
    assert run(file, "trials=1") == 130
    made.outcome = lambda folder, words, resumed: 2 if resumed else outcome(folder, words, resumed)
    assert run(file, "trials=1") == 0
    assert "sampler=zgr trial 0: left for another call" in capsys.readouterr().out
    assert [trial.state.name for trial in trials(file)["sampler=zgr"]] == ["RUNNING"]
    made.outcome = outcome
    assert run(file, "trials=1") == 0
    assert [trial.state.name for trial in trials(file)["sampler=zgr"]] == ["COMPLETE"]


def test_a_configuration_that_is_refused_is_not_tried_again(file, monkeypatch):
    made = Processes(lambda folder, words, resumed: 2)
    monkeypatch.setattr(subprocess, "Popen", made)
    assert run(file, "trials=1") == 0
    assert len(made.commands) == 2
    assert [trial.state.name for trial in trials(file)["sampler=zgr"]] == ["FAIL"]


def test_a_trial_below_the_others_ends_early(file, monkeypatch, capsys):
    def outcome_of(folder, words, resumed):
        if folder.name == "trial005":  # The first five are what it is judged by.
            finish_run(folder, {512: -1.0}, None)
            return None
        if not (folder / "metrics.jsonl").exists():  # At the first look it is under way.
            finish_run(folder, {500: 100.0}, None)
            return None
        finish_run(folder, {500: 100.0}, 100.0)
        return 0

    made = Processes(outcome_of)
    monkeypatch.setattr(subprocess, "Popen", made)
    file.write_text(re.sub("each: .*", "", file.read_text()))
    assert run(file, "trials=6") == 0
    found = trials(file)["as configured"]
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 5 + ["PRUNED"]
    assert found[5].intermediate_values == {1: -1.0}
    shown = capsys.readouterr().out
    assert "trial 5: ended early" in shown
    assert "5 complete, 1 ended early" in shown


def test_an_edited_file_is_refused_by_the_key_that_differs(file, processes, capsys):
    assert run(file, "trials=1") == 0
    file.write_text(file.read_text().replace("1.0e-2", "1.0e-1"))
    assert run(file, "trials=2") == 2
    said = capsys.readouterr().err
    assert "  sweep.ranges.agent.actor_learning_rate.high: 0.01 there, 0.1 asked for\n" in said
    assert "total_steps" not in said
    assert run(file, "trials=2", "total_steps=100") == 2
    assert "  configuration.total_steps: 20000 there, 100 asked for\n" in capsys.readouterr().err
    assert len(processes.commands) == 2


def test_the_best_is_printed_and_trained(file, processes, monkeypatch, capsys):
    assert run(file, "--best") == 2
    assert "Expected a sweep in" in capsys.readouterr().err
    assert run(file) == 0
    asked = []
    monkeypatch.setattr(train, "main", lambda words: asked.append(words) or 0)
    assert run(file, "--best", "total_steps=60000", "--run-dir", "best") == 0
    best = max(trial.params["agent.horizon"] for trial in trials(file)["sampler=zgr"])
    (words,) = asked
    assert {"total_steps=60000", "sampler=zgr", f"agent.horizon={best}"} <= set(words)
    assert words[-2:] == ["--run-dir", "best"]


def test_a_sweep_file_of_wandb_names_the_same_words(file, request, capsys):
    assert run(file, "--wandb") == 0
    (path, _) = sorted((file.parent / "sweep").glob("wandb-*.yaml"), reverse=True)
    assert f"wandb sweep {path}" in capsys.readouterr().out
    data = yaml.safe_load(path.read_text())
    assert data["metric"] == {"name": "evaluation/mean_return", "goal": "maximize"}
    parameters = data["parameters"]
    assert parameters["agent.horizon"] == {"distribution": "int_uniform", "min": 4, "max": 32}
    rate = parameters["agent.actor_learning_rate"]
    assert rate == {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}
    chosen = {
        "agent.horizon": 8,
        "agent.actor_learning_rate": 1e-3,
        "temperature": parameters["temperature"]["values"][1],
    }
    filled = create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    command = [*data["command"][2:-1], *filled["args_no_hyphens"]]
    assert command[:2] == ["-m", "scripts.train"]
    check_config(command[2], command[3:], agents=known_agents())


MISTAKES = [
    ("agent.horison: [1, 2]", "agent.horison: Unknown key 'horison'. Did you mean 'horizon'?"),
    ("agent.horizon: {low: 8, high: 4}", "ranges.agent.horizon: Expected low < high. Received: low=8, high=4."),
    ("agent.horizon: {low: 0, high: 4, log: true}", "Expected low > 0 where log is true. Received: low=0."),
    ("agent.horizon: {low: 1, high: 4, log: true, step: 2}", "Expected log or step, not both."),
    ("agent.horizon: {low: 1, high: 4, step: 5}", "Expected a step > 0 that fits between low and high."),
    ("agent.horizon: {low: 1, high: 4, step: 0.5}", "Expected a whole step between whole numbers."),
    ("agent.horizon: {low: 1}", "Expected a range to have high. Received: range={'low': 1}."),
    ("agent.horizon: {low: 1, hihg: 2}", "ranges.agent.horizon: Unknown key 'hihg'. Did you mean 'high'?"),
    ("agent.horizon: {low: a, high: b}", "ranges.agent.horizon: "),
    ("agent.horizon: []", "ranges.agent.horizon: Expected a list with at least one value. Received: values=[]."),
    ("agent.horizon: [4, 4]", "Expected no value twice. Received: values=[4, 4], twice=4."),
    ("agent.horizon: 4", "Expected {low: ..., high: ...} or a list of choices. Received: range=4."),
    ("seed: [1, 2]", "Expected no search for the best of several seeds. Received: word='seed=1'."),
    ("sampler: [zgr, exact]", "Expected each key in one place."),
    ("total_steps: {low: 0, high: 10}", "total_steps: "),
    ("env.id: [rlsample/CartPole-v3]", "Did you mean 'rlsample/CartPole-v1'?"),
    ("agent.actor_learning_rate: {low: -1.0, high: 1.0}", "agent: Expected actor_learning_rate > 0."),
    ("temperature.strat: [1.0]", "temperature: Expected a schedule's name or a mapping"),
]


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line[:40] for line, _ in MISTAKES])
def test_a_wrong_range_is_named_before_anything_is_trained(file, processes, capsys, line, said):
    text = file.read_text()
    file.write_text(text[: text.index("ranges:")] + f"ranges:\n  {line}\n")
    assert run(file) == 2
    assert said in capsys.readouterr().err
    assert processes.commands == []
    assert not (file.parent / "sweep" / "sweep.yaml").exists(), "a corrected file is another sweep"


def test_values_are_written_in_a_few_digits_and_never_beyond_the_ends(file):
    rate = load_block(Sweep, file).ranges["agent.actor_learning_rate"]
    assert rate.text(0.00123456789) == "0.001235"
    assert type(rate)(low=0.1, high=0.123456).text(0.123456) == "0.123456"
    assert type(rate)(low=0.0, high=1.0, step=0.1).text(0.1 + 0.2) == "0.3"
    assert type(rate)(low=1, high=9).text(3) == "3"


def test_without_optuna_it_says_how_to_install_it(file, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "optuna" else find(name))
    assert run(file) == 2
    assert "pip install 'rlsample[sweep]'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_thing(tmp_path, request, capsys):
    path = tmp_path / "sweep.yaml"
    toy = request.config.rootpath / "tests" / "toy_agents" / "toy.yaml"
    path.write_text(f"config: {toy}\nwords: {{total_steps: 300}}\nranges: {{agent.hidden: [[4], [5]]}}\ntrials: 2")
    words = ["--import", "tests.toy_agents.toy", "--folder", str(tmp_path / "runs"), "--jobs", "2"]
    assert sweep.main([str(path), *words]) == 0
    values = [json.loads(each.read_text())["mean_return"] for each in tmp_path.glob("runs/*/evaluation.json")]
    assert len(values) == 2
    assert "2 complete" in capsys.readouterr().out


@pytest.mark.parametrize(("low", "high"), [(0.9999, 0.99999), (100000.0, 100010.0), (-0.5, 0.5), (1e-5, 1e-2)])
def test_a_narrow_range_has_numbers_between_its_ends(low, high):
    between = Between(low=low, high=high)
    values = [low + share * (high - low) for share in (0.1, 0.25, 0.5, 0.9)]
    written = [float(between.text(value)) for value in values]
    assert low < written[0] < written[1] < written[2] < written[3] < high
    np.testing.assert_allclose(written, values, rtol=0, atol=1e-3 * (high - low))
