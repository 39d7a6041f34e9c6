from __future__ import annotations

import contextlib
import http.server
import io
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import pytest

from rlsample.rollouts.snapshot import Snapshot
from rlsample.runs import AgentConfig, Run, config_from_dict, read_metrics, wandb_tracker
from scripts import evaluate, train
from tests.test_scripts import AGENTS, CANARY, TOY

RECORDS = [
    {"global_step": 8 * i, "sampler/temperature": 1.0 / (i + 1), "losses/critic": math.nan if i == 1 else float(i)}
    for i in range(5)
]


ROOT = Path(__file__).parents[1]


def settings(mode: str, **tracking):
    tracking = {"wandb": mode, "tags": ["one"], **tracking}
    plain = {"agent": "toy", "env": "CartPole-v1", "total_steps": 100, "tracking": tracking}
    return config_from_dict(plain, agents={"toy": AgentConfig})


def read_back(folder: Path) -> list[dict]:
    (run,) = folder.glob("wandb/offline-run-*")
    return inspect(run)


def inspect(run: Path) -> list[dict]:
    """All that a run recorded offline, as wandb's own reader gives it."""
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
    assert wandb_tracker.open_wandb(settings("disabled"), tmp_path, pytest.fail) is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_logged_offline_can_be_read_back(tmp_path, wandb_alone):
    tracker = wandb_tracker.open_wandb(settings("offline"), tmp_path, pytest.fail)
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
    tracker = wandb_tracker.open_wandb(settings("online"), tmp_path, warnings.append)
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
    tracker = wandb_tracker.open_wandb(settings("online"), tmp_path, warnings.append)
    tracker.close()
    (warning,) = warnings
    assert "wandb login" in warning


def test_a_failing_start_goes_offline(tmp_path, wandb_alone, monkeypatch):
    monkeypatch.setattr(wandb_tracker, "_check_online", lambda wandb: None)
    start = wandb_tracker._start

    def fails_online(wandb, config, folder, **options):
        if options["mode"] == "online":
            raise wandb.errors.CommError("no answer\nwith details")
        return start(wandb, config, folder, **options)

    monkeypatch.setattr(wandb_tracker, "_start", fails_online)
    warnings = []
    wandb_tracker.open_wandb(settings("online"), tmp_path, warnings.append).close()
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
    tracker = wandb_tracker.Wandb(Broken(), warnings.append)
    tracker.log(RECORDS[0])
    tracker.log(RECORDS[1])
    tracker.close()
    assert warnings == ["Weights & Biases broke down (Connection lost); the run goes on without it."]


def test_wandb_that_cannot_start_does_not_stop_the_run(tmp_path, wandb_alone, monkeypatch):
    def fails(*arguments, **options):
        raise wandb_alone.errors.CommError("no service")

    monkeypatch.setattr(wandb_tracker, "_start", fails)
    warnings = []
    assert wandb_tracker.open_wandb(settings("offline"), tmp_path, warnings.append) is None
    assert "(no service)" in warnings[0]


def test_without_wandb_there_is_a_message(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    warnings = []
    assert wandb_tracker.open_wandb(settings("offline"), tmp_path, warnings.append) is None
    assert "pip install wandb" in warnings[0]


@pytest.mark.parametrize("key", ["short", pytest.param("a" * 40, marks=pytest.mark.slow)])
def test_a_server_that_never_answers_holds_up_the_start_for_15_seconds_at_most(tmp_path, wandb_alone, monkeypatch, key):
    class Stuck(http.server.BaseHTTPRequestHandler):
        """Is there, and takes the run without a word."""

        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def do_POST(self):
            time.sleep(60)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("WANDB_API_KEY", key)
    warnings = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stuck) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        begun = time.monotonic()
        tracker = wandb_tracker.open_wandb(settings("online"), tmp_path, warnings.append)
        assert time.monotonic() - begun < 15
        server.shutdown()
    tracker.log(RECORDS[0])
    tracker.close()
    (warning,) = warnings
    assert "recording offline" in warning
    assert key not in warning
    (run,) = tmp_path.glob("wandb/offline-run-*")
    assert sum(record["type"] == "history" for record in inspect(run)) == 1


def test_a_resumed_run_is_another_of_the_group_and_begins_where_the_records_ended(tmp_path, wandb_alone):
    folder, config = tmp_path / "mine", settings("offline", group="seeds")
    policy = type("Policy", (), {"model": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])})
    for steps, resume in (((10, 20), False), ((30, 40), True)):
        with Run(folder, config, progress=False, resume=resume) as run:
            for step in steps:
                run.log(step, {"losses/critic": step / 7})
            run.save(policy, Snapshot({}, {}))

    def description(records):
        return next(record["run"] for record in records if record["type"] == "run")

    runs = [inspect(path) for path in folder.glob("wandb/offline-run-*")]
    runs.sort(key=lambda records: description(records)["start_time"])
    described = list(map(description, runs))
    assert [each["display_name"] for each in described] == ["mine", "mine-from-20"]
    assert [each["run_group"] for each in described] == ["seeds", "seeds"]
    assert described[0]["run_id"] != described[1]["run_id"]
    histories = [[each["history"]["item"] for each in records if each["type"] == "history"] for records in runs]
    assert [[item["global_step"] for item in history] for history in histories] == [[10, 20], [30, 40]]
    kept = read_metrics(folder / "metrics.jsonl")
    for record, item in zip(kept, [item for history in histories for item in history], strict=True):
        assert {name: item[name] for name in record} == record


def test_checkpoints_are_kept_as_artifacts_if_that_is_asked_for(tmp_path, wandb_alone):
    policy = type("Policy", (), {"model": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])})
    for name, artifacts in (("with it", True), ("without", False)):
        config = settings("offline", artifacts=artifacts)
        with Run(tmp_path / name, config, progress=False) as run:
            for step in (10, 20):
                run.log(step, {})
                run.save(policy, Snapshot({}, {}))
        kept = [record["artifact"] for record in read_back(tmp_path / name) if record["type"] == "artifact"]
        assert len(kept) == (2 if artifacts else 0)
        for step, artifact in zip((10, 20), kept, strict=False):
            assert (artifact["name"], artifact["type"]) == ("with-it-checkpoint", "checkpoint")
            assert json.loads(artifact["metadata"]) == {"global_step": step}
            files = {file["path"]: Path(file["local_path"]) for file in artifact["manifest"]["contents"]}
            assert json.loads(files.pop("manifest.json").read_text())["content"]["step"] == step
            assert len(files) == 3  # Two of the weights, one of what training needs.
            # Copies that stay when the checkpoint goes, and in the run folder.
            for path in files.values():
                assert path.is_relative_to(tmp_path / name / "wandb")
                assert path.stat().st_size


def test_a_video_is_kept_as_an_artifact_if_that_is_asked_for(tmp_path, wandb_alone, monkeypatch):
    """Of the policy of a run, recorded later: by a wandb run of the same group."""
    film = tmp_path / "film.mp4"
    film.write_bytes(b"moving pictures")
    monkeypatch.setattr(evaluate, "_record", lambda *arguments: film)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    for name in ("true", "false"):
        words = ["tracking.wandb=offline", f"tracking.artifacts={name}"]
        assert train.main([str(TOY), "--run-dir", str(tmp_path / name), *words], AGENTS) == 0
        before = set(tmp_path.glob(f"{name}/wandb/offline-run-*"))
        assert evaluate.main([str(tmp_path / name), "--video"], AGENTS) == 0
        added = set(tmp_path.glob(f"{name}/wandb/offline-run-*")) - before
        assert len(added) == (name == "true")
        for run in added:
            records = {record["type"]: record for record in inspect(run)}
            assert records["run"]["run"]["job_type"] == "evaluation"
            assert records["run"]["run"]["run_group"] == "CartPole-v1-toy"
            artifact = records["artifact"]["artifact"]
            assert (artifact["name"], artifact["type"]) == ("true-video", "video")
            (file,) = artifact["manifest"]["contents"]
            assert Path(file["local_path"]).read_bytes() == b"moving pictures"


def test_artifacts_without_a_place_to_keep_them_are_refused():
    with pytest.raises(ValueError, match="wandb to be offline or online where artifacts are kept"):
        settings("disabled", artifacts=True)


def network_namespace() -> list[str]:
    """What runs a command where there is no network but a loopback."""
    command = ["unshare", "--map-root-user", "--net"]
    with contextlib.suppress(OSError):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("network namespaces cannot be made here")


def test_a_run_needs_no_network_no_home_and_never_writes_the_key(tmp_path):
    program = (
        "import sys; from scripts import train; from rlsample.runs.agents import Agents;"
        "from tests import toy_agents; sys.exit(train.main(sys.argv[1:], Agents(toy_agents)))"
    )
    words = [str(TOY), "--run-dir", "run", "tracking.wandb=offline", "tracking.tensorboard=true"]
    command = [*network_namespace(), sys.executable, "-c", program, *words, "tracking.artifacts=true"]
    without = ("WANDB_", "HOME", "XDG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    environment |= {"WANDB_API_KEY": CANARY, "PYTHONPATH": str(ROOT)}
    options = {"capture_output": True, "text": True, "timeout": 120, "check": False}
    done = subprocess.run(command, env=environment, cwd=tmp_path, **options)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stdout
    # wandb-core's own log, which it writes to the screen where it finds no folder for it.
    assert "server:" not in done.stderr
    assert "ERROR" not in done.stderr
    records = read_back(tmp_path / "run")
    assert sum(record["type"] == "history" for record in records) == len(read_metrics(tmp_path / "run/metrics.jsonl"))
    written = [done.stdout.encode(), done.stderr.encode()]
    written += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(written) > 10
    assert not any(CANARY.encode() in content for content in written)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_nothing_is_sent_by_default(tmp_path):
    program = (
        f"from pathlib import Path; from tests.test_wandb_tracker import *; folder = Path({str(tmp_path)!r});"
        "t = wandb_tracker.open_wandb(settings('offline'), folder, print); t.log(RECORDS[0]); t.close()"
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
