from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import pytest

from rlsample.runs import agents as runs_agents
from rlsample.runs import numbers, read_metrics
from rlsample.runs.agents import Agents
from scripts import evaluate, train
from scripts.catalogue import known_agents
from tests import toy_agents

ROOT = Path(__file__).parents[1]
TOY = Path(toy_agents.__path__[0]) / "toy.yaml"
AGENTS = Agents(toy_agents)
CANARY = "canary5ecret" * 4


def trained(folder: Path, *words: str) -> int:
    return train.main([str(TOY), "--run-dir", str(folder), *words], AGENTS)


def in_a_process(folder: Path, *words: str) -> subprocess.Popen:
    """Starts training with the toy agent, in a process group of its own, as a terminal would."""
    program = (
        "import sys; from scripts import train; from rlsample.runs.agents import Agents;"
        "from tests import toy_agents; sys.exit(train.main(sys.argv[1:], Agents(toy_agents)))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(TOY), "--run-dir", str(folder), *words],
        cwd=ROOT,
        env={**os.environ, "WANDB_API_KEY": CANARY, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while process.poll() is None and not (path.is_file() and path.stat().st_size):
        time.sleep(0.05)


def test_a_run_leaves_everything_in_its_folder(tmp_path, capsys):
    assert trained(tmp_path / "run", "seed=3", "sampler=gumbel_softmax", "agent.hidden=[5]") == 0
    shown = capsys.readouterr().out
    names = {"config.yaml", "metrics.jsonl", "checkpoint", "evaluation.json", "learning_curve.png"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation.keys() == {
        "mean_return",
        "std_return",
        "episodes",
        "truncated_episodes",
        "max_length",
        "global_step",
        "seconds",
    }
    assert evaluation["global_step"] == 1000
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert len(records) == 11
    assert all(record["sampler/temperature"] > 0 for record in records)
    assert "seed: 3" in shown
    assert "sampler: {name: gumbel_softmax}" in shown
    figures = f"{numbers.shown(evaluation['mean_return'])} ± {numbers.shown(evaluation['std_return'])}"
    assert figures in shown

    assert evaluate.main([str(tmp_path / "run")], AGENTS) == 0
    again = capsys.readouterr().out
    assert f"after 1,000 steps: return {figures} over 3 episodes" in again
    assert evaluate.main([str(tmp_path / "run"), "--episodes", "7", "--seed", "5"], AGENTS) == 0
    assert "over 7 episodes" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        evaluate.main([str(tmp_path / "run"), "--seed", str(2**31)], AGENTS)
    assert f"Expected a whole number from 0 to {2**31 - 1}. Received: '{2**31}'" in capsys.readouterr().err
    assert evaluate.main([str(tmp_path / "run"), "env=Acrobot-v1"], AGENTS) == 2
    assert "an environment of the same spaces. Received: env=Acrobot-v1." in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="nothing else counts the threads of a process")
@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("3", min(3, os.cpu_count() or 1))])
def test_numpy_multiplies_in_one_thread_unless_asked(asked, threads):
    program = "import os, scripts, numpy; print(len(os.listdir('/proc/self/task')))"
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    environment |= {} if asked is None else {"OPENBLAS_NUM_THREADS": asked}
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.stdout.split() == [str(threads)], found.stderr


def test_the_default_folder_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main([str(TOY), "seed=4"], AGENTS) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("toy-straight_through-seed4-")


def test_the_same_seed_gives_the_same_policy(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert trained(tmp_path / name, f"seed={seed}") == 0
    weights = [next((tmp_path / name / "checkpoint").glob("*.data-*")).read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampler=straight_thru"], "Did you mean 'straight_through'?"),
        (["sampel=reinmax"], "Did you mean 'sampler'?"),
        (["agent=toi"], "Did you mean 'toy'?"),
        (["agent=../toy"], "Unknown agent"),
        (["env=CartPole-v9"], "Did you mean 'CartPole-v1'?"),
        (["temperature=0"], "temperature:"),
        (["temperature.start=.nan"], "temperature:"),
        (["env=Pendulum-v1"], "Box(-2.0, 2.0, (1,), float32)"),
        (["env.kwargs.colour=red"], "colour"),
        (["env=Acrobot-v1", "env.vectorization_mode=vector_entry_point"], "vector entry point"),
        (["reinmax"], "key=value"),
        (["--import", "no_such_module"], "no_such_module"),
    ],
)
def test_what_cannot_be_used_is_told_without_a_traceback_or_a_folder(tmp_path, capfd, words, said):
    assert trained(tmp_path / "run", *words) == 2
    captured = capfd.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_used_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert trained(tmp_path / "file") == 2
    assert "--run-dir" in capsys.readouterr().err
    assert trained(tmp_path / "run") == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert trained(tmp_path / "run") == 2
    assert "without a run in it" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_words_and_options_come_in_any_order(tmp_path):
    assert train.main(["seed=5", "--run-dir", str(tmp_path / "run")], AGENTS) == 2
    assert train.main([str(TOY), "seed=5", "--run-dir", str(tmp_path / "run"), "total_steps=200"], AGENTS) == 0
    assert "total_steps: 200" in (tmp_path / "run" / "config.yaml").read_text()


def test_what_cannot_be_evaluated_is_told(tmp_path, capsys):
    assert evaluate.main([str(tmp_path)], AGENTS) == 2
    assert "config.yaml" in capsys.readouterr().err
    assert trained(tmp_path / "run") == 0
    data = next((tmp_path / "run" / "checkpoint").glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    assert evaluate.main([str(tmp_path / "run")], AGENTS) == 2
    assert data.name in capsys.readouterr().err
    config = tmp_path / "run" / "config.yaml"
    config.write_text("base: /etc/hostname\n" + config.read_text())
    assert evaluate.main([str(tmp_path / "run")], AGENTS) == 2
    assert "base: Unknown key" in capsys.readouterr().err
    for words in (["--episodes", "0"], ["--seed", "-4"], ["--seed", "one"]):
        with pytest.raises(SystemExit, match="2"):
            evaluate.main([str(tmp_path / "run"), *words], AGENTS)
        assert f"Received: {words[1]!r}" in capsys.readouterr().err


def test_a_run_is_evaluated_in_another_environment(tmp_path, capsys):
    assert trained(tmp_path / "run") == 0
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "run"), "env=rlsample/CartPole-v1", "--episodes", "2"], AGENTS) == 0
    assert capsys.readouterr().out.startswith("rlsample/CartPole-v1 after 1,000 steps: return ")
    for word, told in (("env=Acrobot-v1", "to fit 'model'"), ("env.idd=CartPole-v1", "env.idd"), ("seed", "'seed'")):
        assert evaluate.main([str(tmp_path / "run"), word], AGENTS) == 2
        assert told in capsys.readouterr().err


def test_a_video_that_cannot_be_made_is_told(tmp_path, capsys, monkeypatch):
    def missing(*arguments, **options):
        raise gymnasium.error.DependencyNotInstalled("No pygame.")

    assert trained(tmp_path / "run") == 0
    capsys.readouterr()
    monkeypatch.setattr(gymnasium.wrappers, "RecordVideo", missing)
    for present, said in ((None, "needs moviepy"), (ModuleSpec("moviepy", None), "No pygame.")):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, present=present: present)
        assert evaluate.main([str(tmp_path / "run"), "--video"], AGENTS) == 2
        printed, message = capsys.readouterr()
        assert said in message
        assert "rlsample[video]" in message
        assert printed == "", "told after all episodes were played"


@pytest.mark.skipif(find_spec("moviepy") is None, reason="needs the extra `video`")
def test_a_video_is_recorded(tmp_path, capsys):
    assert trained(tmp_path / "run") == 0
    assert evaluate.main([str(tmp_path / "run"), "--video"], AGENTS) == 0
    (video,) = (tmp_path / "run" / "video").glob("*.mp4")
    assert str(video) in capsys.readouterr().out
    assert video.stat().st_size > 1000


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_stopped_run_leaves_what_it_learned(tmp_path, capsys, number, code):
    folder = tmp_path / "run"
    process = in_a_process(folder, "total_steps=1000000", "agent.pause=0.02", "tracking.wandb=offline")
    wait_for(folder / "metrics.jsonl", process)
    # As Ctrl-C in a terminal does, to every process of the group: wandb's too.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "stopped early" in output
    assert "Traceback" not in errors
    assert evaluate.main([str(folder)], AGENTS) == 0
    assert (folder / "learning_curve.png").is_file()
    assert not (folder / "evaluation.json").exists()
    (tracked,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert tracked.stat().st_size > 1000
    assert not [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_second_ctrl_c_is_immediate(tmp_path):
    process = in_a_process(tmp_path / "run", "total_steps=1000000", "agent.pause=0.02", "agent.stubborn=true")
    wait_for(tmp_path / "run" / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_killed_run_leaves_a_checkpoint_that_loads(tmp_path):
    for trial in range(5):
        folder = tmp_path / str(trial)
        process = in_a_process(folder, "total_steps=1000000", "agent.hidden=[512,512]", "checkpoint.every=100")
        wait_for(folder / "checkpoint" / "manifest.json", process)
        time.sleep(0.1 * trial)
        process.kill()
        process.communicate(timeout=60)
        assert evaluate.main([str(folder), "--episodes", "1"], AGENTS) == 0
        assert read_metrics(folder / "metrics.jsonl")


def test_the_real_thing_learns_for_two_rounds_and_plays(tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["total_steps=128", "agent.warmup_steps=64", "agent.batch_size=8", "network.hidden_sizes=[8]"]
    command = [sys.executable, "-m", "scripts.train", "agents/configs/cartpole.yaml", *words, "--run-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "oneDNN" not in done.stderr, "what TensorFlow says of the machine buries what the command says"
    records = read_metrics(folder / "metrics.jsonl")
    assert [record["global_step"] for record in records if "update" in record] == [64, 128]
    assert all("sampler/temperature" in record for record in records)
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert evaluate.main([str(folder), "--episodes", "3"]) == 0
    assert "over 3 episodes" in capsys.readouterr().out


def test_minibatches_that_do_not_fit_are_told_before_there_is_a_folder(tmp_path, capsys):
    config = str(ROOT / "agents" / "configs" / "ppo_cartpole_fast.yaml")
    assert train.main([config, "agent.num_minibatches=7", "--run-dir", str(tmp_path / "run")]) == 2
    assert "a multiple of agent.num_minibatches. Received: num_steps=32" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_real_thing_says_which_action_spaces_it_takes(tmp_path, capsys):
    config = str(ROOT / "agents" / "configs" / "cartpole.yaml")
    assert train.main([config, "env=Pendulum-v1", "--run-dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "Box(-2.0, 2.0, (1,), float32)" in said
    assert "Discrete" in said
    assert not (tmp_path / "run").exists()


def test_an_agent_that_is_imported_trains_and_the_next_command_names_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs_agents, "_registered", {})
    words = ["--import", "tests.toy_agents.toy", "tracking.wandb=disabled", "--run-dir", str(tmp_path / "run")]
    assert train.main([str(TOY), *words]) == 0
    again = f"python -m scripts.evaluate {tmp_path / 'run'} --import tests.toy_agents.toy"
    assert again in capsys.readouterr().out
    assert evaluate.main(again.split()[3:]) == 0


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """The name of a module that registers `Brought-v0`, a CartPole, when it is imported."""
    line = (
        "gymnasium.register('Brought-v0', 'gymnasium.envs.classic_control.cartpole:CartPoleEnv', max_episode_steps=9)"
    )
    (tmp_path / "bringing").mkdir()
    (tmp_path / "bringing" / "envs.py").write_text(f"import gymnasium\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "bringing.envs"
    sys.modules.pop("bringing.envs", None)
    gymnasium.registry.pop("Brought-v0", None)


@pytest.mark.parametrize("key", ["env", "env.id"])
def test_gymnasiums_way_to_name_the_module_of_an_id_was_refused(tmp_path, capsys, brought, key):
    assert trained(tmp_path / "run", f"{key}={brought}:Brought-v0") == 0
    again = f"python -m scripts.evaluate {tmp_path / 'run'} --import {brought}"
    assert again in capsys.readouterr().out
    assert "id: Brought-v0" in (tmp_path / "run" / "config.yaml").read_text()
    assert evaluate.main(again.split()[3:], AGENTS) == 0


def test_a_configuration_file_names_no_module_to_import(tmp_path, capsys, brought):
    (tmp_path / "mine.yaml").write_text(TOY.read_text().replace("CartPole-v1", f"'{brought}:Brought-v0'"))
    assert train.main([str(tmp_path / "mine.yaml"), "--run-dir", str(tmp_path / "run")], AGENTS) == 2
    assert f"give --import {brought} and env.id=Brought-v0" in capsys.readouterr().err
    assert brought not in sys.modules


WRONG = [
    ("train", "--help", "agent.num_minibatches (4)"),
    ("train", "nowhere.yaml", "a configuration file that is there"),
    ("train", "--no-such-option", "unrecognized arguments"),
    ("train", f"{TOY} reinmax", "key=value"),
    ("train", f"{TOY} foo=1", "foo: Unknown key"),
    ("train", f"{TOY} agent=ppo env.foo=1", "env.foo: Unknown key"),
    ("train", f"{TOY} agent=ppo agent.num_step=1", "agent.num_step: Unknown key 'num_step'. Did you mean 'num_steps'?"),
    ("train", f"{TOY} agent=pppo", "Did you mean 'ppo'?"),
    ("train", f"{TOY} agent=ppo env=rlsample/CartPole-v2", "Did you mean 'rlsample/CartPole-v1'?"),
    ("train", f"{TOY} agent=ppo total_steps=0", "total_steps: "),
    ("train", f"{TOY} agent=ppo --run-dir RUN", "a run folder without a run in it"),
    ("train", "--resume nowhere", "a configuration file that is there"),
    ("evaluate", "nowhere", "a configuration file that is there"),
    ("compare.__main__", f"{TOY} agent=ppo agent.num_step=1,2", "agent.num_step: Unknown key"),
    ("compare.__main__", "RUN/study.yaml seeds=[1,1]", "seeds: Expected no value twice"),
    ("compare.__main__", "RUN/study.yaml", "agent.horison: Unknown key 'horison'. Did you mean 'horizon'?"),
    ("sweep.__main__", "RUN/sweep.yaml", "agent.horison: Unknown key 'horison'. Did you mean 'horizon'?"),
    ("sweep.__main__", "RUN/sweep.yaml trials=0", "trials: "),
]


def test_what_takes_no_tensorflow_to_know_was_told_after_it_was_loaded(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    base = f"config: {ROOT}/agents/configs/short_horizon_cartpole.yaml"
    (tmp_path / "study.yaml").write_text(f"{base}\naxes: {{agent.horison: [1, 2]}}")
    (tmp_path / "sweep.yaml").write_text(f"{base}\nranges: {{agent.horison: {{low: 1, high: 2}}}}")
    cases = [(command, words.replace("RUN", str(tmp_path)).split()) for command, words, _ in WRONG]
    program = f"""
import importlib, sys
for command, words in {cases}:
    print("\\0", flush=True)
    try:
        importlib.import_module("scripts." + command).main(words)
    except SystemExit:
        pass
    sys.stdout.flush()
    assert "tensorflow" not in sys.modules, (command, words)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for (*_, said), output in zip(WRONG, done.stdout.split("\0")[1:], strict=True):
        assert said in output


def test_help_has_a_sentence_for_every_field(capsys):
    assert train.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "env.num_envs (8): whole number >= 1\n      Environments stepped together while training." in shown
    assert "tracking.wandb (offline): offline, online, disabled\n" in shown
    assert "agent.horizon (16)" in shown
    assert "agent.num_minibatches (4)" in shown


@pytest.mark.parametrize("words", [["ppo_cartpole"], ["cartpole", "agent=ppo"], ["agent=ppo"]])
def test_help_is_of_the_agent_that_is_asked_about(words, capsys):
    assert train.main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "fields of the agent ppo:\n" in shown
    assert "agent.num_minibatches (4): whole number >= 1\n" in shown
    assert "fields of the agent relaxed_actor_critic" not in shown


@pytest.mark.parametrize("words", [["nowhere"], ["cartpole", "agent=nobody"], ["--resume", "nowhere"]])
def test_help_is_of_all_agents_where_none_is_named(words, capsys):
    assert train.main([*words, "--help"]) == 0
    assert set(re.findall(r"fields of the agent (\w+)", capsys.readouterr().out)) == set(known_agents())
