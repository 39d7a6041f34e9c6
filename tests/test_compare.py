"""scripts.compare: what is compared, mistakes in it, what it reads from run folders, and what it makes of them."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from scripts import processes, variants
from scripts.compare import __main__ as compare
from scripts.compare import outcomes, picture, study
from scripts.compare.picture import draw
from scripts.runs_on_disk import read
from tests.helpers_runs_on_disk import Processes, finish_run

CONFIG = "agents/configs/short_horizon_cartpole.yaml"
STUDY = f"""
config: {{config}}/{CONFIG}
axes:
  sampler: [zgr, reinmax]
environments:
  rlsample/CartPole-v1: {{low: 0, high: 500}}
  rlsample/Acrobot-v1: {{low: -500, high: -100, threshold: -200, words: {{total_steps: 3000}}}}
seeds: [3, 5, 8]
words: {{total_steps: 4000}}
"""


@pytest.fixture
def fits(monkeypatch):
    """Without what takes seconds: policies that show whether a sampler fits, and pictures."""
    monkeypatch.setattr(compare, "make_policy", lambda agent, config: None)
    monkeypatch.setattr(compare, "draw", lambda results, path: None)


@pytest.fixture
def runs(monkeypatch, fits):
    """Each run ends at once, with a return of 490; `commands` are those that would have been run."""

    def outcome(folder, words, resumed):
        finish_run(folder, {500: 480.0, 1000: 490.0}, 490.0)
        return 0

    made = Processes(outcome)
    monkeypatch.setattr(subprocess, "Popen", made)
    return made


@pytest.fixture
def study_file(tmp_path, request):
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY.replace("{config}", str(request.config.rootpath)))
    return path


def read_outcome(folder, threshold=None):
    job = SimpleNamespace(task=study.Task(None, [], study.Environment()), variant=SimpleNamespace(name="v"), seed=3)
    return outcomes.outcome_of(job, read(folder), threshold)


def test_the_first_evaluation_at_the_threshold_counts(tmp_path):
    config = "env: {id: rlsample/CartPole-v1}"
    finish_run(tmp_path / "a", {500: 100, 1000: 480, 1500: 300, 2000: 500}, 450.0, config)
    expected = outcomes.Outcome("rlsample/CartPole-v1", "v", 3, 450.0, 475.0, 1000, 2.0)
    assert read_outcome(tmp_path / "a") == expected, "the environment's own reward_threshold"
    assert read_outcome(tmp_path / "a", 490).steps == 2000
    finish_run(tmp_path / "b", {500: 100}, 90.0, "env: {id: rlsample/Bandit-v0}")
    assert read_outcome(tmp_path / "b")[-3:] == (None, None, 2.0), "it has none"


def test_every_variant_runs_once_with_every_seed(tmp_path, runs, capsys):
    arguments = [CONFIG, "sampler=zgr,reinmax", "--seeds", "2", "--folder", str(tmp_path)]
    assert compare.main(arguments) == 0
    words = [[word for word in command if word.startswith(("sampler=", "seed="))] for command in runs.commands]
    assert words == [[f"sampler={name}", f"seed={seed}"] for name in ("zgr", "reinmax") for seed in (1, 2)]
    shown = capsys.readouterr().out
    assert "2/2 (>= 475)" in shown
    assert "sampler=zgr seed 1: 490.0, 475 at 500 steps" in shown
    assert (tmp_path / "short_horizon_cartpole" / "outcomes.csv").read_text().count("490.0") == 4
    # What is there already is not run again.
    assert compare.main(arguments) == 0
    assert len(runs.commands) == 4


def test_more_variants_than_colours_are_drawn_in_rows():
    names = [f"{form}, {sampler}" for form in ("linear", "chord", "plain") for sampler in "abcd"]
    assert picture._rows(names) == [names[:4], names[4:8], names[8:]]
    assert picture._rows(names[:6]) == [names[:6]]


def test_a_network_that_was_decided_when_the_run_began_is_the_one_asked_for(tmp_path, runs, capsys):
    arguments = [CONFIG, "network.hidden_sizes=[32]", "--seeds", "1", "--folder", str(tmp_path)]
    assert compare.main(arguments) == 0
    config = tmp_path / "short_horizon_cartpole" / "as+configured" / "seed1" / "config.yaml"
    decided = yaml.safe_load(config.read_text())
    decided["network"] = {"name": "mlp", "hidden_sizes": [32], "activation": "relu", "layer_normalization": False}
    config.write_text(yaml.safe_dump(decided))
    assert compare.main(arguments) == 0
    assert len(runs.commands) == 1
    for word, message in (("[64]", r"network.hidden_sizes: [32] there, [64]"), ("[32]", "network.name: 'mlp' there")):
        others = ["network.name=convolutional"] if word == "[32]" else []
        words = [arguments[0], f"network.hidden_sizes={word}", *others, *arguments[2:]]
        assert compare.main(words) == 2
        assert message in capsys.readouterr().err


def test_words_that_all_variants_share_were_repeated_in_every_row_and_folder(tmp_path, runs, capsys):
    words = ["total_steps=4000", "sampler=zgr,reinmax", "env.num_envs=2"]
    assert compare.main([CONFIG, *words, "--seeds", "1", "--folder", str(tmp_path)]) == 0
    folder = tmp_path / "short_horizon_cartpole"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"sampler=zgr", "sampler=reinmax"}
    assert all("total_steps=4000" in command for command in runs.commands)
    shown = capsys.readouterr().out
    assert shown.count("total_steps") == 1
    assert "All with total_steps=4000 env.num_envs=2\n" in shown
    assert compare.main([CONFIG, "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert (tmp_path / "short_horizon_cartpole" / "as+configured" / "seed1").is_dir()
    assert "as configured" in capsys.readouterr().out


def test_a_word_in_brackets_is_shown_as_it_is(tmp_path, runs, capsys):
    assert compare.main([CONFIG, "tracking.tags=[a],[b]", "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("tracking.tags=[a]") == 3


def test_a_study_is_run_in_every_environment_and_summed_up(tmp_path, runs, study_file, monkeypatch, capsys):
    monkeypatch.setattr(compare, "draw", draw)
    assert compare.main([str(study_file), "--folder", str(tmp_path), "--jobs", "3"]) == 0
    assert len(runs.commands) == 12
    folder = tmp_path / "mine"
    assert (folder / "rlsample-Acrobot-v1" / "sampler=zgr" / "seed8" / "evaluation.json").exists()
    acrobot = [command for command in runs.commands if "env.id=rlsample/Acrobot-v1" in command]
    # Of two words for a key the last one holds: the environment's.
    assert all(command.index("total_steps=3000") > command.index("total_steps=4000") for command in acrobot)
    shown = capsys.readouterr().out
    assert "3/3 (>= -200)" in shown
    assert "Over all environments" in shown
    # Of (490 - 0) / 500 and (490 + 500) / 400; seeds are drawn anew within each, where nothing varies.
    assert "1.73 [1.73, 1.73]" in shown
    assert "0.50 [0.50, 0.50]" in shown
    with (folder / "outcomes.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12
    text = (folder / "comparison.md").read_text()
    assert "| rlsample/Acrobot-v1 | sampler=zgr | 3 | 490.0 [490.0, 490.0] | 3/3 (>= -200) | 500 | 2 |" in text
    assert (folder / "comparison.png").read_bytes()[:4] == b"\x89PNG"


def test_scores_have_the_form_that_rliable_takes(tmp_path, runs, study_file):
    assert compare.main([str(study_file), "--folder", str(tmp_path)]) == 0
    data = json.loads((tmp_path / "mine" / "scores.json").read_text())
    assert data["tasks"] == ["rlsample/CartPole-v1", "rlsample/Acrobot-v1"]
    scores = {name: np.array(values) for name, values in data["scores"].items()}
    assert list(scores) == ["sampler=zgr", "sampler=reinmax"]
    np.testing.assert_allclose(scores["sampler=zgr"], [[0.98, 2.475]] * 3)  # [runs, tasks]
    assert data["frames"] == [500, 1000]
    curves = np.array(data["curves"]["sampler=zgr"])  # [runs, tasks, frames]
    np.testing.assert_allclose(curves, np.broadcast_to([[0.96, 0.98], [2.45, 2.475]], [3, 2, 2]))


def test_without_low_and_high_returns_of_several_environments_are_not_mixed(tmp_path, runs, capsys):
    words = ["env.id=rlsample/CartPole-v1,rlsample/Acrobot-v1", "sampler=zgr,reinmax", "--seeds", "3"]
    assert compare.main([CONFIG, *words, "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "Over all environments, " not in shown
    said = "`low` and `high` are missing for rlsample/CartPole-v1, rlsample/Acrobot-v1."
    assert f"No score over all environments: {said}" in shown
    assert "P(X > Y)" in shown, "ranks need no scale"
    assert not json.loads((tmp_path / "short_horizon_cartpole" / "scores.json").read_text())["normalised"]


def test_named_variants_have_configurations_and_words_of_their_own(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "variants: {PPO: {config: ppo.yaml}, Mine: {config: mine.yaml, words: {agent.horizon: 8}}}\n"
        "axes: {sampler: [zgr, {name: gumbel_rao, num_samples: 3}]}\nseeds: 2"
    )
    planned = study.plan(path, ["seeds=3", "total_steps=100"])
    assert planned.seeds == (1, 2, 3)
    assert planned.shared == ["total_steps=100"]
    rao = "sampler={name: gumbel_rao, num_samples: 3}"
    assert planned.variants == [
        (("PPO sampler=zgr", ["sampler=zgr"]), tmp_path / "ppo.yaml"),
        ((f"PPO {rao}", [rao]), tmp_path / "ppo.yaml"),
        (("Mine sampler=zgr", ["agent.horizon=8", "sampler=zgr"]), tmp_path / "mine.yaml"),
        ((f"Mine {rao}", ["agent.horizon=8", rao]), tmp_path / "mine.yaml"),
    ]


MISTAKES = [
    ("seeds: [1, 2, 1]", "seeds: Expected no value twice. Received: values=[1, 2, 1], twice=1."),
    ("seeds: 0", "seeds: Expected seeds to be a whole number >= 1. Received: seeds=0."),
    ("axes: {sampel: [a, b]}", "sampel: Unknown key 'sampel'. Did you mean 'sampler'?"),
    ("axes: {agent.horison: [1, 2]}", "agent.horison: Unknown key 'horison'. Did you mean 'horizon'?"),
    ("axes: {sampler: []}", "axes: sampler: Expected a list with at least one value. Received: values=[]."),
    ("axes: {sampler: [zgr, zgr]}", "Expected no value twice"),
    ("axes: {seed: [1, 2]}", "Expected seeds under `seeds`, and no word for them. Received: word='seed=1'."),
    ("axes: {sampler: [zgr]}\nwords: {sampler: exact}", "each key in one place. Received: word='sampler=exact'."),
    ("axes: {env.id: [rlsample/CartPole-v1, rlsample/Acrobot-v1]}", "Expected environments under `environments`."),
    ("environments: {rlsample/CartPole-v2: {}}", "Did you mean 'rlsample/CartPole-v1'?"),
    ("environments: {rlsample/CartPole-v1: {low: 3}}", "Expected low and high, or neither of them."),
    ("environments: {rlsample/CartPole-v1: {low: 3, high: 1}}", "Expected low < high. Received: low=3.0, high=1.0."),
    ("environments: {rlsample/CartPole-v1: {lo: 3}}", "lo: Unknown key 'lo'. Did you mean 'low'?"),
    ("variants: {a b: {}, a+b: {words: {agent.horizon: 8}}}", "Expected a folder for each run."),
    ("variants: {'..': {}}\nseeds: 1", "Expected a variant's name that can be a folder's. Received: name='..'."),
    ("axis: {sampler: [zgr]}", "axis: Unknown key 'axis'. Did you mean 'axes'?"),
]


def test_a_value_given_twice_counted_its_seeds_twice(tmp_path, runs, capsys):
    assert compare.main([CONFIG, "agent.horizon=8,8", "--seeds", "1", "--folder", str(tmp_path / "runs")]) == 2
    assert "Expected a folder for each run." in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_long_value_has_a_short_folder():
    long = [", ".join(f"{count}" for count in range(end)) for end in (200, 201)]
    folders = {variants.Variant(name, []).folder for name in long}
    assert len(folders) == 2
    assert max(map(len, folders)) < 200


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[text[:40] for text, _ in MISTAKES])
def test_a_mistake_in_a_study_is_named_before_anything_is_trained(tmp_path, runs, capsys, request, text, said):
    path = tmp_path / "study.yaml"
    path.write_text(f"config: {request.config.rootpath}/{CONFIG}\n{text}\n")
    assert compare.main([str(path), "--folder", str(tmp_path / "runs")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_study_without_a_configuration(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text("variants: {mine: {}}")
    assert compare.main([str(tmp_path / "study.yaml")]) == 2
    assert "Expected `config`, or one for each variant." in capsys.readouterr().err


def test_a_sampler_that_the_agent_cannot_use_is_named_before_anything_is_trained(tmp_path, capsys):
    assert compare.main([CONFIG, "sampler=score_function", "--folder", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert "short_horizon_actor_critic in rlsample/CartPole-v1" in said
    assert "score_function" in said
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_of_another_configuration_counted_as_this_one(tmp_path, runs, capsys):
    arguments = [CONFIG, "sampler=zgr,reinmax", "--seeds", "2", "--folder", str(tmp_path)]
    assert compare.main(arguments) == 0
    assert compare.main([*arguments, "total_steps=4000", "temperature={name: linear, start: 2, end: 1, steps: 9}"]) == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "short_horizon_cartpole" / "sampler=zgr" / "seed1") in message
    assert "  total_steps: 20000 there, 4000 asked for\n" in message
    assert "  temperature.start: None there, 2.0 asked for\n" in message
    assert "seed:" not in message
    assert "Choose another --folder, or remove this one." in message
    assert len(runs.commands) == 4


def test_a_run_without_an_end_was_taken_for_a_finished_one_or_stood_in_the_way(tmp_path, runs):
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 0
    unfinished = tmp_path / "short_horizon_cartpole" / "as+configured" / "seed2"
    (unfinished / "evaluation.json").unlink()
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 0
    assert runs.commands[2][-2:] == ["--resume", str(unfinished)]
    assert len(runs.commands) == 3


@pytest.mark.parametrize(
    ("seeds", "interval", "warned"), [(2, "[-]", True), (3, "[490.0, 490.0]", True), (5, "[490.0, ", False)]
)
def test_an_interval_was_shown_of_two_seeds(tmp_path, runs, capsys, seeds, interval, warned):
    assert compare.main([CONFIG, "--seeds", str(seeds), "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"490.0 {interval}" in shown
    assert ("From fewer than 5 seeds an interval says little" in shown) is warned


def test_ctrl_c_is_passed_on_to_each_run_once_and_nothing_more_begins(tmp_path, monkeypatch, fits):
    def outcome(folder, words, resumed):
        signal.raise_signal(signal.SIGINT)

    made = Processes(outcome)
    monkeypatch.setattr(subprocess, "Popen", made)
    assert compare.main([CONFIG, "--seeds", "5", "--jobs", "2", "--folder", str(tmp_path)]) == 130
    assert made.stopped == len(made.commands) == 2


def test_a_run_that_never_reached_the_threshold_was_solved_at_none(tmp_path, monkeypatch, capsys, fits):
    def outcome(folder, words, resumed):
        finish_run(folder, {500: 0.1}, 0.15)
        return 0

    monkeypatch.setattr(subprocess, "Popen", Processes(outcome))
    assert compare.main([CONFIG, "sampler=zgr", "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert "seed 1: 0.15, never reached 475" in capsys.readouterr().out


def test_an_id_with_its_module_was_refused(tmp_path, runs):
    word = "env.id=envs:rlsample/CartPole-v1,envs.acrobot:rlsample/Acrobot-v1"
    assert compare.main([CONFIG, word, "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert "env.id=rlsample/CartPole-v1" in runs.commands[0]
    assert " --import envs --import envs.acrobot " in " ".join(runs.commands[0])


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--jobs", "none"]])
def test_a_count_that_is_none_is_told(words, capsys):
    with pytest.raises(SystemExit) as stop:
        compare.main([CONFIG, *words])
    assert stop.value.code == 2
    assert f"Expected a whole number >= 1. Received: {words[1]!r}." in capsys.readouterr().err


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys, fits):
    def outcome(folder, words, resumed):
        if "seed=1" in words:
            return 1
        finish_run(folder, {500: 3.0}, 3.0)
        return 0

    monkeypatch.setattr(subprocess, "Popen", Processes(outcome))
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "seed 2: 3.0" in shown.out
    assert f"exit code 1; its output is in {tmp_path}" in shown.err
    assert "seed1.log" in shown.err


def test_a_run_whose_process_is_lost_is_run_once_more(tmp_path, monkeypatch, capsys, fits):
    losses = []

    def outcome(folder, words, resumed):
        if "seed=1" in words or (resumed and "seed1" in str(folder) and len(losses) < 1):
            losses.append(folder)
            return -9
        finish_run(folder, {500: 3.0}, 3.0)
        return 0

    made = Processes(outcome)
    monkeypatch.setattr(subprocess, "Popen", made)
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 0
    assert len(losses) == 1
    assert [command for command in made.commands if "--resume" in command] == [made.commands[1]]
    assert "its process was lost (exit code -9); once more" in capsys.readouterr().out
    monkeypatch.setattr(subprocess, "Popen", Processes(lambda *_: -9))
    assert compare.main([CONFIG, "--seeds", "1", "--folder", str(tmp_path / "never")]) == 1
    assert "exit code -9; its output is in" in capsys.readouterr().err


def test_an_address_without_ray_is_refused(capsys, fits):
    assert compare.main([CONFIG, "--address", "auto"]) == 2
    assert "Expected engine: ray where there is an address" in capsys.readouterr().err


def test_what_runs_say_is_kept(tmp_path):
    job = processes.Job(config=tmp_path / "nowhere.yaml", words=[], folder=tmp_path / "run")
    assert processes.carry_out(iter([job]), 1, ended=lambda job, code: None) == 0
    assert "a configuration file that is there" in job.log.read_text()


def test_environments_that_are_stepped_in_the_program_can_be_compared():
    """In a process of its own: here other tests have registered them already."""
    code = "import scripts.compare.__main__, gymnasium; gymnasium.spec('rlsample/CartPole-v1')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to tell a process that its parent is gone")
def test_runs_left_over_by_a_killed_comparison_stood_in_the_way(tmp_path):
    sleeping = "import time, sys; print('here', flush=True); time.sleep(600)"
    starting = (
        "import os, pathlib, signal, sys, time\n"
        "from scripts.engines import launch_here\n"
        f"log = pathlib.Path({str(tmp_path / 'log')!r})\n"
        f"process = launch_here([sys.executable, '-c', {sleeping!r}], log)\n"
        "while not log.read_text(): time.sleep(0.01)\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said = subprocess.run([sys.executable, "-c", starting], capture_output=True, text=True, check=False).stdout
    left = Path(f"/proc/{int(said)}/stat")
    for _ in range(500):
        if not left.exists() or left.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    raise AssertionError("it goes on")


def test_a_damaged_evaluation_is_named(tmp_path, runs, capsys):
    assert compare.main([CONFIG, "--seeds", "1", "--folder", str(tmp_path)]) == 0
    (damaged,) = tmp_path.rglob("evaluation.json")
    damaged.write_text("")
    assert compare.main([CONFIG, "--seeds", "1", "--folder", str(tmp_path)]) == 1
    assert f"path='{damaged}'" in capsys.readouterr().err
