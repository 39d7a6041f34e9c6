"""The command `rlsample`: what it hands on, which names it knows, what `doctor` finds, one version everywhere."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import rlsample
from rlsample.runs import ConfigError, load_config, shipped
from scripts import __main__ as command
from scripts import arguments, completion, doctor, requirements
from scripts.catalogue import known_agents
from scripts.compare import __main__ as compare
from scripts.package import __main__ as package
from scripts.package import contents
from scripts.package.commands import Failed, run
from scripts.sweep import __main__ as sweep

ROOT = Path(__file__).parents[1]


def test_every_command_is_a_program(capsys):
    assert command.dispatch(["train", "--help"]) == 0
    for name in command.COMMANDS.keys() - {"train"}:
        with pytest.raises(SystemExit, match="0"):
            command.dispatch([name, "--help"])
    assert set(re.findall(r"usage: python -m scripts\.(\w+) ", capsys.readouterr().out)) == set(command.COMMANDS)


def test_a_command_gets_the_words_behind_it(capsys):
    assert command.dispatch(["train", "cartpole", "--run-dir", "nowhere", "total_steps=0"]) == 2
    assert "total_steps: " in capsys.readouterr().err


def test_without_a_command_it_says_which_there_are(capsys):
    assert command.dispatch([]) == 2
    assert re.findall(r"^  ([a-z]+) ", capsys.readouterr().out.partition("commands:")[2], re.M) == list(
        command.COMMANDS
    )


def test_a_command_that_was_mistyped_is_told(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.dispatch(["trian", "cartpole"])
    assert "Unknown command 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_the_version_is_the_same_everywhere(capsys):
    with pytest.raises(SystemExit, match="0"):
        command.dispatch(["--version"])
    version = rlsample.__version__
    assert capsys.readouterr().out == f"rlsample {version}\n"
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] in ("Unreleased", version)
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_a_command_is_spoken_of_as_it_is_called(monkeypatch):
    assert arguments.spoken("train") == "python -m scripts.train"
    assert arguments.spoken() == "python -m scripts"
    monkeypatch.setattr(arguments, "__package__", "rlsample.scripts")
    assert arguments.spoken("train") == "rlsample train"
    assert arguments.spoken() == "rlsample"
    assert arguments.module_of("train") == "rlsample.scripts.train"


def test_a_configuration_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = ROOT / "agents" / "configs"
    assert shipped.find_config("cartpole") == folder / "cartpole.yaml"
    assert shipped.find_config("cartpole", shipped.SWEEPS) == folder / "sweeps" / "cartpole.yaml"
    assert shipped.find_config("cartpole_agents", shipped.STUDIES, shipped.RUNS).parent == folder / "studies"
    assert load_config("cartpole", ["seed=7"], agents=known_agents()).seed == 7
    (tmp_path / "cartpole").mkdir()
    assert shipped.find_config("cartpole") == folder / "cartpole.yaml", "a folder is no configuration"
    (tmp_path / "ppo_cartpole").write_text("")
    assert shipped.find_config("ppo_cartpole") == Path("ppo_cartpole"), "a file comes first"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("cartpol", "Unknown configuration 'cartpol'. Did you mean 'cartpole'?"),
        ("cartpole.yaml", "Did you mean the name 'cartpole'?"),
        ("mine/cartpole", "Did you mean the name 'cartpole'?"),
        ("mine/other.yaml", "There are cartpole, "),
        ("\0", "Unknown configuration"),
    ],
)
def test_a_configuration_that_is_not_there_is_told(given, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        shipped.find_config(given)


def test_where_two_kinds_share_a_name_the_first_has_it():
    assert shipped.config_files(shipped.RUNS, shipped.SWEEPS)["cartpole"].parent.name == "configs"
    assert shipped.config_files(shipped.SWEEPS, shipped.RUNS)["cartpole"].parent.name == "sweeps"


def test_studies_and_sweeps_are_found_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sweep.main(["cartpole", "--wandb"]) == 0
    assert len(list((tmp_path / "runs" / "sweeps" / "cartpole").glob("wandb-*.yaml"))) == 2
    assert compare.main(["cartpole_agents", "agent.horison=3"]) == 2
    assert "agent.horison: Unknown key" in capsys.readouterr().err


PROGRAM = """
import sys
from rlsample.runs import shipped
agents = shipped.package("agents")
print(agents and agents.__name__, *shipped.known_agents(), *shipped.config_files(shipped.RUNS))
print("gymnasium" in sys.modules and "rlsample/CartPole-v1" in sys.modules["gymnasium"].registry)
"""


def laid_out(clone: Path, site: Path) -> Path:
    """Lays the files out as an installed wheel has them, beside somebody else's packages of the same names."""
    shutil.copytree(ROOT / "rlsample", site / "rlsample", ignore=shutil.ignore_patterns("__pycache__"))
    for path in contents.shipped(clone):
        target = site / "rlsample" / path.relative_to(clone)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in contents.BELOW:
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("raise AssertionError('another package')")
    return site


def test_a_wheel_knows_its_own_agents_beside_another_package_of_that_name(tmp_path):
    site = laid_out(ROOT, tmp_path / "site")
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{PROGRAM}"
    installed = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    names, registered = installed.stdout.splitlines()
    assert names.split()[0] == "rlsample.agents"
    assert {"ppo", "ppo_cartpole_fast"} <= set(names.split())
    assert registered == "True"
    dispatch = f"import sys; sys.path.insert(0, {str(site)!r})\nfrom rlsample.scripts.__main__ import main\nmain()"
    words = ["train", "cartpole", "agent=ppo", "total_steps=0"]
    wrong = subprocess.run([sys.executable, "-I", "-c", dispatch, *words], capture_output=True, text=True, check=False)
    assert "total_steps: " in wrong.stderr
    shutil.rmtree(site / "rlsample" / "agents")
    shutil.rmtree(site / "rlsample" / "envs")
    shutil.rmtree(site / "agents")
    shutil.rmtree(site / "envs")
    alone = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert alone.stdout == "None\nFalse\n"


def test_the_installed_command_imports_modules_of_the_working_folder(tmp_path):
    """An installed program, unlike `python -m`, does not have the folder it is called in on its path."""
    site, work = laid_out(ROOT, tmp_path / "site"), tmp_path / "work"
    work.mkdir()
    (work / "mine.py").write_text("print('mine was imported')")
    (work / "yaml.py").write_text("raise AssertionError('a file that has the name of a package')")
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\nfrom rlsample.scripts.__main__ import main\nsys.exit(main())"
    )
    words = ["train", "cartpole", "--import", "mine", "--help"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *words], cwd=work, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("mine was imported\nusage: rlsample train ")


@pytest.mark.parametrize(
    ("command", "words", "beginning", "offered"),
    [
        ("train", [], "ppo_cartpole_", ["ppo_cartpole_fast", "ppo_cartpole_no_velocities"]),
        ("compare", [], "cartpole", ["cartpole", "cartpole_agents", "cartpole_critics", "cartpole_samplers"]),
        ("sweep", [], "", ["cartpole"]),
        ("train", ["ppo_cartpole"], "agent.num_m", ["agent.num_minibatches="]),
        ("train", ["cartpole"], "agent.num_m", []),
        ("train", ["cartpole", "agent=ppo"], "agent.num_m", ["agent.num_minibatches="]),
        ("train", ["cartpole"], "tracking.w", ["tracking.wandb="]),
        ("train", ["cartpole"], "agent=pp", ["agent=ppo"]),
        ("train", ["cartpole"], "env=rlsample/CartPole-", ["env=rlsample/CartPole-v1"]),
        ("train", ["cartpole"], "seed=", []),
    ],
)
def test_a_shell_is_offered_what_may_stand_there(command, words, beginning, offered):
    assert set(completion.offers(command, words, beginning)) == set(offered)


@pytest.mark.skipif(importlib.util.find_spec("argcomplete") is None, reason="needs the extra `completion`")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rlsample compare cartpole --th", ["--threshold "]),
        ("rlsample train cartpole sampler=reinmax agent.warm", ["agent.warmup_steps="]),
    ],
)
def test_a_shell_that_asks_is_answered(tmp_path, line, offered):
    asking = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    asking |= {"COMP_TYPE": "9", "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer")}
    subprocess.run([sys.executable, "-m", "scripts"], cwd=ROOT, env=os.environ | asking, check=True)
    assert (tmp_path / "answer").read_text().split("\n") == offered


def test_doctor_says_what_is_there(capsys, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "canary5ecret" * 4)
    devices = subprocess.CompletedProcess([], 0, stdout="CPU:0\nGPU:0 Abacus\n", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: devices)
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert f"rlsample {rlsample.__version__}" in shown
    assert re.search(rf"tensorflow +{re.escape(importlib.metadata.version('tensorflow'))}\n", shown)
    assert "GPU:0 Abacus" in shown
    assert "key: set" in shown
    assert "canary" not in shown
    assert f"agents: {', '.join(known_agents())}\n" in shown
    assert "sweeps: cartpole" in shown


def test_doctor_tells_why_tensorflow_cannot_be_loaded(capsys, monkeypatch):
    broken = subprocess.CompletedProcess([], -4, stdout="", stderr="no such instruction\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: broken)
    assert doctor.main([]) == 1
    shown = capsys.readouterr().out
    assert "was ended by signal 4:\n  no such instruction" in shown
    assert "configurations: cartpole" in shown, "it goes on"


def test_doctor_finds_a_key_that_wandb_login_left(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "keys"))
    monkeypatch.setattr("wandb.setup", lambda: type("", (), {"settings": type("", (), {"base_url": "https://a.b"})}))
    assert not doctor.has_key()
    (tmp_path / "keys").write_text("machine c.d login user password x\n")
    (tmp_path / ".netrc").write_text("this is none")
    assert not doctor.has_key()
    (tmp_path / "keys").write_text("machine a.b login user password x\n")
    assert doctor.has_key()


@pytest.fixture
def installed(monkeypatch):
    """A package that needs one thing that is too old, two that are absent, and a third with an extra of its own."""
    needed = {
        "mine": [
            "numpy<1",
            "absent>=2; python_version >= '3'",
            "never; python_version < '3'",
            "rich; extra == 'pictures'",
            "frames[fast]>=1; extra == 'pictures'",
        ],
        "frames": ["quick; extra == 'fast'", "slow; extra == 'other'"],
    }
    versions = {"numpy": "2.4.6", "rich": "15.0.0", "frames": "1.2"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "requires", needed.get)
    monkeypatch.setattr(importlib.metadata, "version", version)


def test_what_is_needed_is_held_against_what_is_installed(installed):
    assert list(requirements.needs("mine")) == [
        requirements.Need("numpy", "<1", "2.4.6", "expected <1"),
        requirements.Need("absent", ">=2", None, "not installed"),
    ]
    assert [(need.name, need.problem) for need in requirements.needs("mine", "pictures")] == [
        ("rich", ""),
        ("frames", ""),
        ("quick", "not installed"),
    ]


def test_a_wheel_that_lacks_something_is_told(tmp_path):
    wanted = contents.expected(ROOT)
    assert {"rlsample/py.typed", "rlsample/agents/configs/cartpole.yaml", "rlsample/scripts/train.py"} <= wanted
    assert not [name for name in wanted if name.startswith("rlsample/scripts/benchmark")]
    with zipfile.ZipFile(tmp_path / "mine.whl", "w") as wheel:
        for name in [*(wanted - {"rlsample/py.typed"}), "agents/ppo.py", "mine.dist-info/METADATA"]:
            wheel.writestr(name, "")
    assert contents.problems(tmp_path / "mine.whl", ROOT) == [
        "rlsample/py.typed is missing",
        "agents/ppo.py is there without need",
    ]


def test_only_a_python_that_starts_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert package.find_python("3.12") is None
    for version, line in {"3.11": "exit 127", "3.12": "echo Python 3.12.1", "3.13": "echo Python 3.1"}.items():
        (tmp_path / f"python{version}").write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / f"python{version}").chmod(0o755)
    assert package.find_python("3.11") is None
    assert package.find_python("3.12") == str(tmp_path / "python3.12")
    assert package.find_python("3.13") is None


def test_a_command_of_the_release_that_fails_says_what_it_printed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "clone")
    words = [sys.executable, "-c", "import os; print(os.getcwd(), os.environ.get('PYTHONPATH'))"]
    assert run(words, tmp_path).split() == [str(tmp_path.resolve()), "None"]
    with pytest.raises(Failed, match="ended with 3:\nwhat happened"):
        run([sys.executable, "-c", "print('what happened'); raise SystemExit(3)"], tmp_path)
