"""scripts.compare: variants, seeds, what it reads from run folders, and what it prints of them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import compare

CONFIG = "agents/configs/short_horizon_cartpole.yaml"


def test_variants_are_the_product_of_values_split_outside_of_brackets():
    words = ["sampler=zgr,{name: gumbel_rao, num_samples: 3}", "env.num_envs=2,4", "total_steps=10"]
    assert list(compare.expand(words)) == [
        [f"sampler={sampler}", f"env.num_envs={count}", "total_steps=10"]
        for sampler in ("zgr", "{name: gumbel_rao, num_samples: 3}")
        for count in (2, 4)
    ]


def finish_run(folder, returns, final):
    """A run folder as training leaves it, with an evaluation every 500 steps."""
    folder.mkdir(parents=True)
    rows = [{"global_step": 500 * (i + 1), "evaluation/mean_return": value} for i, value in enumerate(returns)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [{"global_step": 1}, *rows]))
    (folder / "evaluation.json").write_text(json.dumps({"mean_return": final, "seconds": 2.0}))


def test_the_first_evaluation_at_the_threshold_counts(tmp_path):
    finish_run(tmp_path / "a", [100, 480, 300, 500], 450.0)
    assert compare.read(tmp_path / "a", "v", 3, 475) == compare.Outcome("v", 3, 450.0, 1000, 2.0)
    finish_run(tmp_path / "b", [100], 90.0)
    assert compare.read(tmp_path / "b", "v", 1, 475).steps is None


def test_every_variant_runs_once_with_every_seed(tmp_path, monkeypatch, capsys):
    commands = []

    def run(command, **_):
        commands.append(command)
        finish_run(Path(command[-1]), [480.0], 490.0)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
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
