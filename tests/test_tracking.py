from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlsample.runs import AgentConfig, config_from_dict, tracking

RECORDS = [
    {"global_step": 8 * i, "sampler/temperature": 1.0 / (i + 1), "losses/critic": math.nan if i == 1 else float(i)}
    for i in range(5)
]


def settings(mode: str):
    plain = {"agent": "toy", "env": "CartPole-v1", "total_steps": 100, "tracking": {"wandb": mode, "tags": ["one"]}}
    return config_from_dict(plain, agents={"toy": AgentConfig})


def read_back(folder: Path) -> list[dict]:
    (run,) = folder.glob("wandb/offline-run-*")
    command = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", run]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def wandb_alone(monkeypatch):
    """A wandb that has no account, no server to reach, and no memory of other tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    import wandb

    wandb.teardown()
    yield wandb
    wandb.teardown()


def test_disabled_leaves_nothing(tmp_path):
    assert tracking.open_wandb(settings("disabled"), tmp_path, pytest.fail) is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_logged_offline_can_be_read_back(tmp_path, wandb_alone):
    tracker = tracking.open_wandb(settings("offline"), tmp_path, pytest.fail)
    for record in RECORDS:
        tracker.log(record)
    tracker.close()
    records = read_back(tmp_path)
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert [[float(item[name]) for name in RECORDS[0]] for item in history] == [
        pytest.approx(list(record.values()), rel=0, abs=0, nan_ok=True) for record in RECORDS
    ]
    axes = [record["metric"] for record in records if record["type"] == "metric"]
    assert {axis.get("glob_name"): axis.get("step_metric") for axis in axes}["*"] == "global_step"
    (run,) = (record["run"] for record in records if record["type"] == "run")
    assert run["config"]["update"]["sampler"] == {"name": "straight_through_gumbel_softmax"}
    assert run["run_group"] == "CartPole-v1-toy"
    assert run["display_name"] == tmp_path.name
    assert run["tags"] == ["one"]
    assert "host" not in run
    assert not list(tmp_path.rglob("requirements.txt"))
    assert not list(tmp_path.rglob("wandb-metadata.json"))


def test_without_a_server_the_run_goes_on_offline_with_one_warning(tmp_path, wandb_alone):
    warnings = []
    tracker = tracking.open_wandb(settings("online"), tmp_path, warnings.append)
    tracker.log(RECORDS[0])
    tracker.close()
    (warning,) = warnings
    assert "http://127.0.0.1:9 cannot be reached" in warning
    assert "offline" in warning
    assert sum(record["type"] == "history" for record in read_back(tmp_path)) == 1


def test_without_a_key_the_run_goes_on_offline_with_one_warning(tmp_path, wandb_alone, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *arguments, **options: io.BytesIO())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    warnings = []
    tracker = tracking.open_wandb(settings("online"), tmp_path, warnings.append)
    tracker.close()
    (warning,) = warnings
    assert "wandb login" in warning


def test_a_failing_start_goes_offline(tmp_path, wandb_alone, monkeypatch):
    monkeypatch.setattr(tracking, "_check_online", lambda wandb: None)
    start = tracking._start

    def fails_online(wandb, config, folder, mode):
        if mode == "online":
            raise wandb.errors.CommError("no answer\nwith details")
        return start(wandb, config, folder, mode)

    monkeypatch.setattr(tracking, "_start", fails_online)
    warnings = []
    tracking.open_wandb(settings("online"), tmp_path, warnings.append).close()
    assert len(warnings) == 1
    assert "(no answer)" in warnings[0]


@pytest.mark.parametrize("breaks", ["log", "finish"])
def test_a_breakdown_does_not_stop_the_run(breaks):
    class Broken:
        """What a run becomes when wandb's own process dies."""

        def __getattr__(self, name):
            def call(*arguments, **options):
                if name == breaks:
                    raise ConnectionResetError("Connection lost")

            return call

    warnings = []
    tracker = tracking.Wandb(Broken(), warnings.append)
    tracker.log(RECORDS[0])
    tracker.log(RECORDS[1])
    tracker.close()
    assert warnings == ["Weights & Biases broke down (Connection lost); the run goes on without it."]


def test_wandb_that_cannot_start_does_not_stop_the_run(tmp_path, wandb_alone, monkeypatch):
    def fails(*arguments):
        raise wandb_alone.errors.CommError("no service")

    monkeypatch.setattr(tracking, "_start", fails)
    warnings = []
    assert tracking.open_wandb(settings("offline"), tmp_path, warnings.append) is None
    assert "(no service)" in warnings[0]


def test_without_wandb_there_is_a_message(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    warnings = []
    assert tracking.open_wandb(settings("offline"), tmp_path, warnings.append) is None
    assert "pip install wandb" in warnings[0]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_nothing_is_sent_by_default(tmp_path):
    program = (
        "from pathlib import Path; from tests.test_tracking import *;"
        f"t = tracking.open_wandb(settings('offline'), Path({str(tmp_path)!r}), print); t.log(RECORDS[0]); t.close()"
    )
    trace = tmp_path / "strace.txt"
    command = ["strace", "-f", "-e", "trace=connect,sendto,sendmsg", "-o", trace, sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    subprocess.run(
        command, check=True, capture_output=True, timeout=120, env=environment, cwd=Path(__file__).parents[1]
    )
    calls = trace.read_text()
    assert "AF_UNIX" in calls
    assert "AF_INET" not in calls
