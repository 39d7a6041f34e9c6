"""scripts.compare: variants, seeds, what it reads from run folders, and what it prints of them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlsample.runs import config_to_yaml, load_config
from scripts import compare
from scripts.catalogue import known_agents

CONFIG = "agents/configs/short_horizon_cartpole.yaml"


def test_variants_are_the_product_of_values_split_outside_of_brackets():
    words = ["sampler=zgr,{name: gumbel_rao, num_samples: 3}", "env.num_envs=2,4", "total_steps=10"]
    assert list(compare.expand([compare.split(word) for word in words])) == [
        (f"sampler={sampler} env.num_envs={count}", [f"sampler={sampler}", f"env.num_envs={count}", "total_steps=10"])
        for sampler in ("zgr", "{name: gumbel_rao, num_samples: 3}")
        for count in (2, 4)
    ]
    assert list(compare.expand([["total_steps=10"]])) == [("as configured", ["total_steps=10"])]


def finish_run(folder, returns, final):
    """A run folder as training leaves it, with an evaluation every 500 steps."""
    folder.mkdir(parents=True)
    rows = [{"global_step": 500 * (i + 1), "evaluation/mean_return": value} for i, value in enumerate(returns)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [{"global_step": 1}, *rows]))
    (folder / "evaluation.json").write_text(json.dumps({"mean_return": final, "seconds": 2.0}))


@pytest.fixture
def commands(monkeypatch):
    """What would have been run; each run is finished at once, with a return of 490."""
    commands = []

    def run(command, **_):
        commands.append([str(word) for word in command])
        folder = Path(command[-1])
        if "--resume" in command:
            (folder / "evaluation.json").write_text('{"mean_return": 490.0, "seconds": 2.0}')
        else:
            finish_run(folder, [480.0], 490.0)
            words = [word for word in command[4:-2] if "=" in word]
            (folder / "config.yaml").write_text(config_to_yaml(load_config(command[3], words, agents=known_agents())))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_first_evaluation_at_the_threshold_counts(tmp_path):
    finish_run(tmp_path / "a", [100, 480, 300, 500], 450.0)
    assert compare.read(tmp_path / "a", "v", 3, 475) == compare.Outcome("v", 3, 450.0, 1000, 2.0)
    finish_run(tmp_path / "b", [100], 90.0)
    assert compare.read(tmp_path / "b", "v", 1, 475).steps is None


def test_every_variant_runs_once_with_every_seed(tmp_path, commands, capsys):
    arguments = [CONFIG, "sampler=zgr,reinmax", "--seeds", "2", "--folder", str(tmp_path)]
    assert compare.main(arguments) == 0
    words = [[word for word in command if word.startswith(("sampler=", "seed="))] for command in commands]
    assert words == [[f"sampler={name}", f"seed={seed}"] for name in ("zgr", "reinmax") for seed in (1, 2)]
    shown = capsys.readouterr().out
    assert "2/2" in shown
    assert "sampler=zgr seed 1: 490.0, 475 at 500 steps" in shown
    assert (tmp_path / "outcomes.csv").read_text().count("490.0") == 4
    # What is there already is not run again.
    assert compare.main(arguments) == 0
    assert len(commands) == 4


def test_words_that_all_variants_share_were_repeated_in_every_row_and_folder(tmp_path, commands, capsys):
    words = ["total_steps=4000", "sampler=zgr,reinmax", "env.num_envs=2"]
    assert compare.main([CONFIG, *words, "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert {path.name for path in (tmp_path / "short_horizon_cartpole").iterdir()} == {"sampler=zgr", "sampler=reinmax"}
    assert all("total_steps=4000" in command for command in commands)
    shown = capsys.readouterr().out
    assert shown.count("total_steps") == 1
    assert "All with total_steps=4000 env.num_envs=2\n" in shown
    assert compare.main([CONFIG, "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert (tmp_path / "short_horizon_cartpole" / "as+configured" / "seed1").is_dir()
    assert "as configured" in capsys.readouterr().out


def test_a_word_in_brackets_is_shown_as_it_is(tmp_path, commands, capsys):
    assert compare.main([CONFIG, "tracking.tags=[a],[b]", "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("tracking.tags=[a]") == 2


def test_a_finished_run_of_another_configuration_counted_as_this_one(tmp_path, commands, capsys):
    arguments = [CONFIG, "sampler=zgr,reinmax", "--seeds", "2", "--folder", str(tmp_path)]
    assert compare.main(arguments) == 0
    assert compare.main([*arguments, "total_steps=4000", "temperature={name: linear, start: 2, end: 1, steps: 9}"]) == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "short_horizon_cartpole" / "sampler=zgr" / "seed1") in message
    assert "  total_steps: 20000 there, 4000 asked for\n" in message
    assert "  temperature.start: None there, 2.0 asked for\n" in message
    assert "seed:" not in message
    assert "Choose another --folder, or remove this one." in message
    assert len(commands) == 4


def test_a_run_without_an_end_was_taken_for_a_finished_one_or_stood_in_the_way(tmp_path, commands):
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 0
    unfinished = tmp_path / "short_horizon_cartpole" / "as+configured" / "seed2"
    (unfinished / "evaluation.json").unlink()
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 0
    assert commands[2][-2:] == ["--resume", str(unfinished)]
    assert len(commands) == 3


@pytest.mark.parametrize(
    ("seeds", "interval", "warned"), [(2, "[-]", True), (3, "[490.0, 490.0]", True), (5, "[490.0, ", False)]
)
def test_an_interval_was_shown_of_two_seeds(tmp_path, commands, capsys, seeds, interval, warned):
    assert compare.main([CONFIG, "--seeds", str(seeds), "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"490.0 {interval}" in shown
    assert ("From fewer than 5 seeds an interval says little" in shown) is warned


def test_ctrl_c_ended_a_comparison_with_a_traceback(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 130


def test_a_run_that_never_reached_the_threshold_was_solved_at_none(tmp_path, monkeypatch, capsys):
    def run(command, **_):
        finish_run(Path(command[-1]), [0.1], 0.15)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    assert compare.main([CONFIG, "sampler=zgr", "--seeds", "1", "--folder", str(tmp_path)]) == 0
    assert "seed 1: 0.15, never reached 475" in capsys.readouterr().out


def test_an_id_with_its_module_was_refused(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: commands.append(command) or SimpleNamespace(returncode=1)
    )
    word = "env.id=envs:rlsample/CartPole-v1,envs.acrobot:rlsample/Acrobot-v1"
    assert compare.main([CONFIG, word, "--seeds", "1", "--folder", str(tmp_path)]) == 1
    assert "env.id=rlsample/CartPole-v1" in commands[0]
    assert " --import envs --import envs.acrobot " in " ".join(commands[0])


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--jobs", "none"]])
def test_a_count_that_is_none_is_told(words, capsys):
    with pytest.raises(SystemExit) as stop:
        compare.main([CONFIG, *words])
    assert stop.value.code == 2
    assert f"Expected a whole number >= 1. Received: {words[1]!r}." in capsys.readouterr().err


def test_a_run_that_fails_ends_the_comparison_and_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    assert compare.main([CONFIG, "--seeds", "2", "--folder", str(tmp_path)]) == 1
    assert re.search(r"Received: exit code 1; its output is in .*seed1\.log", capsys.readouterr().err)


def test_environments_that_are_stepped_in_the_program_can_be_compared():
    """In a process of its own: here other tests have registered them already."""
    code = "import scripts.compare, gymnasium; gymnasium.spec('rlsample/CartPole-v1')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
