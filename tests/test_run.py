from __future__ import annotations

import io
import json
import os
import signal
import threading

import numpy as np
import pytest
from rich.console import Console

from rlsample.runs import (
    AgentConfig,
    Run,
    RunConfig,
    RunFolderError,
    checkpoint,
    config_from_dict,
    load_config,
    read_metrics,
)
from rlsample.runs.progress import Progress
from tests.toy_agents import toy

AGENTS = {"toy": toy.Config}


def settings(**changes) -> RunConfig:
    plain = {
        "agent": "toy",
        "env": {"id": "CartPole-v1", "num_envs": 2},
        "temperature": {"name": "linear", "start": 2.0, "end": 1.0, "steps": 100},
        "total_steps": 300,
        "tracking": {"wandb": "disabled"},
        "evaluation": {"episodes": 2},
    }
    return config_from_dict(plain | changes, agents=AGENTS)


def test_the_configuration_is_the_first_thing_in_the_folder(tmp_path):
    config = settings(seed=7)
    with Run(tmp_path / "a" / "b", config, progress=False) as run:
        assert load_config(run.folder / "config.yaml", agents=AGENTS) == config


def test_records_are_written_as_they_come(tmp_path):
    with Run(tmp_path / "run", settings(), progress=False) as run:
        run.log(0, {"losses/critic": float("nan"), "losses/actor": np.float32(0.5)})
        run.log(50, {"policy/entropy": float("inf"), "charts/episodic_return": 3}, update=4)
        records = read_metrics(run.folder / "metrics.jsonl")
        run.log(100, {"sampler/temperature": 9.0, "charts/steps_per_second": 8.0}, update=5)
    assert [record["global_step"] for record in records] == [0, 50]
    assert np.isnan(records[0]["losses/critic"])
    assert records[0]["losses/actor"] == 0.5
    assert records[1]["policy/entropy"] == np.inf
    assert records[1]["update"] == 4
    assert records[1]["charts/steps_per_second"] > 0
    assert [record["sampler/temperature"] for record in records] == [2.0, 1.5]
    last = read_metrics(run.folder / "metrics.jsonl")[-1]
    assert (last["sampler/temperature"], last["charts/steps_per_second"]) == (9.0, 8.0)
    assert (run.step, run.update) == (100, 5)


def test_a_metric_that_is_no_scalar_is_refused(tmp_path):
    with Run(tmp_path / "run", settings(), progress=False) as run:
        for value in ("high", [1.0, 2.0], None):
            with pytest.raises(ValueError, match="'losses/x' to be a scalar"):
                run.log(1, {"losses/x": value})


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"global_step": 1}\n{"global_step": 2, "los')
    assert read_metrics(path) == [{"global_step": 1}]


def test_a_folder_with_a_run_is_refused_and_left_alone(tmp_path):
    with Run(tmp_path / "run", settings(seed=1), progress=False) as run:
        run.log(1, {})
        with pytest.raises(RunFolderError, match="Choose another --run-dir"), Run(tmp_path / "run", settings(seed=2)):
            pass
    with pytest.raises(RunFolderError, match="without a run in it"), Run(tmp_path / "run", settings(seed=2)):
        pass
    assert load_config(tmp_path / "run" / "config.yaml", agents=AGENTS).seed == 1
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 1


def test_of_many_runs_that_want_a_folder_one_gets_it(tmp_path):
    outcomes, start = [], threading.Barrier(8)

    def claim(seed):
        start.wait()
        try:
            with Run(tmp_path / "run", settings(seed=seed), progress=False):
                outcomes.append(seed)
        except RunFolderError:
            outcomes.append(None)

    threads = [threading.Thread(target=claim, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (seed for seed in outcomes if seed is not None)
    assert len(outcomes) == 8
    assert load_config(tmp_path / "run" / "config.yaml", agents=AGENTS).seed == winner


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="run_dir="), Run(tmp_path / name, settings()):
        pass


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_asks_for_a_clean_stop(tmp_path, number, code):
    before = signal.getsignal(number)
    with Run(tmp_path / "run", settings(total_steps=100_000), progress=False) as run:
        assert run.exit_code == 0
        run.log(100, {})
        signal.raise_signal(number)
        assert run.stopping
        policy = toy.train(run.config, run)
        run.save(policy)
    assert run.exit_code == code
    assert run.step == 100
    assert signal.getsignal(number) is before
    assert checkpoint.load(run.folder / "checkpoint", model=policy.model) == 100


def test_the_second_ctrl_c_is_immediate(tmp_path):
    # A shell starts what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), Run(tmp_path / "run", settings(), progress=False):  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_in_another_thread_leaves_signals_alone(tmp_path):
    handlers = []

    def work():
        with Run(tmp_path / "run", settings(), progress=False):
            handlers.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]


def test_the_final_evaluation_is_written(tmp_path):
    with Run(tmp_path / "run", settings(), progress=False) as run:
        policy = toy.train(run.config, run)
        outcome = run.evaluate(policy)
    written = json.loads((run.folder / "evaluation.json").read_text())
    assert written["mean_return"] == outcome.mean_return
    assert written["std_return"] == outcome.std_return
    assert written["episodes"] == 2
    assert written["global_step"] == 300
    assert 0 < written["seconds"] <= run.seconds
    last = read_metrics(run.folder / "metrics.jsonl")[-1]
    assert last["evaluation/mean_return"] == outcome.mean_return
    assert last["sampler/temperature"] == 1.0


def test_a_run_from_python_drew_no_learning_curve(tmp_path):
    with Run(tmp_path / "run", settings(), progress=False) as run:
        outcome = run.finish(toy.train(run.config, run))
    assert outcome.episodes == 2
    assert {path.name for path in run.folder.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "checkpoint",
        "evaluation.json",
        "learning_curve.png",
    }


def test_a_run_that_was_stopped_is_finished_without_an_evaluation(tmp_path):
    with Run(tmp_path / "run", settings(), progress=False) as run:
        signal.raise_signal(signal.SIGINT)
        assert run.finish(toy.train(run.config, run)) is None
    assert (run.folder / "learning_curve.png").is_file()
    assert not (run.folder / "evaluation.json").exists()


def test_a_run_under_way_looked_finished_once_it_was_evaluated(tmp_path):
    with Run(tmp_path / "run", settings(evaluation={"episodes": 1, "every": 100}), progress=False) as run:
        run.evaluate_when_due(toy.make_policy(run.config, *spaces()), 100)
    assert "evaluation/mean_return" in read_metrics(run.folder / "metrics.jsonl")[-1]
    assert not (run.folder / "evaluation.json").exists()


def test_evaluation_while_training_comes_at_its_steps_and_keeps_the_best(tmp_path):
    with Run(tmp_path / "run", settings(evaluation={"episodes": 1, "every": 250}), progress=False) as run:
        policy = toy.make_policy(run.config, *spaces())
        for step in (100, 200, 300, 400, 1000, 1100):
            run.evaluate_when_due(policy, step)
    evaluated = [record["global_step"] for record in read_metrics(run.folder / "metrics.jsonl")]
    assert evaluated == [300, 1000]
    assert checkpoint.load(run.folder / "checkpoint" / "best", model=policy.model) in evaluated


def test_an_error_while_training_leaves_what_was_logged(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="broken"), Run(tmp_path / "run", settings(), progress=False) as run:  # noqa: PT012
        run.log(1, {})
        raise RuntimeError("broken")
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_progress_prints_plain_lines_when_nobody_watches(tmp_path, capsys):
    with Run(tmp_path / "run", settings()) as run:
        for step in range(100, 301, 50):
            run.log(step, {"charts/episodic_return": step / 2, "policy/entropy": 0.25 if step < 300 else -1e-9})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("100/300 steps  ")
    for word in ("steps/s", "return 50", "temperature 1", "entropy 0.25"):
        assert word in lines[0]
    assert lines[1].startswith("300/300 steps  ")
    assert lines[1].endswith("entropy 0")


def test_progress_ended_before_or_beyond_its_end(tmp_path, capsys):
    with Run(tmp_path / "run", settings()) as run:
        run.plan(384)
        run.log(384, {})
    said, progress = capsys.readouterr().out.splitlines()
    assert said == "Training for 384 environment steps: 300, rounded up to whole rounds of all environments."
    assert progress.startswith("384/384 steps  ")
    with Run(tmp_path / "same", settings()) as run:
        run.plan(300)
        run.log(300, {})
    (progress,) = capsys.readouterr().out.splitlines()
    assert progress.startswith("300/300 steps  ")


def test_the_bar_of_a_terminal_ends_where_the_run_does():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    progress = Progress(300, console)
    progress.plan(384)
    progress.log({"global_step": 384})
    progress.close()
    assert "384/384" in console.file.getvalue()


def test_ctrl_c_leaves_the_processes_of_environments_alone():
    before = signal.getsignal(signal.SIGINT)
    envs = settings(env={"id": "CartPole-v1", "num_envs": 2, "vectorization_mode": "async"}).env.make()
    envs.reset(seed=1)
    for process in envs.processes:
        os.kill(process.pid, signal.SIGINT)
    observations, *_ = envs.step(np.array([0, 1]))
    envs.close()
    assert observations.shape == (2, 4)
    assert signal.getsignal(signal.SIGINT) is before


def test_agents_without_options_of_their_own_are_fine():
    config = config_from_dict({"agent": "plain", "env": "CartPole-v1", "total_steps": 1}, agents={"plain": AgentConfig})
    assert config.agent.name == "plain"


def spaces():
    envs = settings().env.make()
    envs.close()
    return envs.single_observation_space, envs.single_action_space
