from __future__ import annotations

import importlib.util
import math

import pytest

from rlsample.runs import AgentConfig, ConfigError, Run, config_from_dict
from rlsample.runs.tensorboard_tracker import TensorBoard
from scripts import train
from scripts.compare import __main__ as compare
from tests.test_scripts import TOY

reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs `tensorboard`")


def scalars(folder, name):
    accumulator = reading.EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(name)]


def settings(**changes):
    plain = {"agent": "toy", "env": "CartPole-v1", "total_steps": 100, **changes}
    plain["tracking"] = {"wandb": "disabled", "tensorboard": True}
    return config_from_dict(plain, agents={"toy": AgentConfig})


def test_what_was_written_is_read_back(tmp_path):
    values = [0.1, math.nan, math.inf, -1e-30]
    with Run(tmp_path / "run", settings(), progress=False) as run:
        for step, value in enumerate(values):
            run.log(8 * step, {"losses/critic": value}, update=step)
    read = scalars(tmp_path / "run" / "tensorboard", "losses/critic")
    assert [step for step, _ in read] == [0, 8, 16, 24]
    assert [value for _, value in read] == pytest.approx(values, rel=1e-7, abs=0, nan_ok=True)
    assert scalars(tmp_path / "run" / "tensorboard", "sampler/temperature") == [(8 * step, 1.0) for step in range(4)]
    assert scalars(tmp_path / "run" / "tensorboard", "update") == [(8 * step, step) for step in range(4)]


def test_a_resumed_run_takes_the_place_of_what_came_after_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", iter(range(1_000_000, 2_000_000)).__next__)  # Files are named after the second.
    for begun, steps in ((0, (10, 20, 30)), (20, (28, 38))):
        tracker = TensorBoard(tmp_path, begun)
        for step in steps:
            tracker.log({"global_step": step, "losses/critic": step + begun})
        tracker.close()
    assert scalars(tmp_path, "losses/critic") == [(10, 10), (20, 20), (28, 48), (38, 58)]


def test_without_the_package_it_is_told_before_there_is_a_folder(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tensorboard" else find(name))
    hint = "pip install 'rlsample[tensorboard]'"
    with pytest.raises(ConfigError) as caught, Run(tmp_path / "run", settings(), progress=False):
        pass
    assert hint in str(caught.value)
    words = ["agent=ppo", "tracking.tensorboard=true"]
    assert train.main([str(TOY), *words, "--run-dir", str(tmp_path / "run")]) == 2
    assert hint in capsys.readouterr().err
    assert compare.main([str(TOY), *words, "--folder", str(tmp_path / "run")]) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
