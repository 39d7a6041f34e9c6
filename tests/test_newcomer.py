"""A newcomer's path from the site's text alone: an empty folder, a fresh environment, and the wheel in it."""

from __future__ import annotations

import shlex
import sys

import pytest

from scripts.package.__main__ import build
from scripts.package.commands import run
from scripts.package.fresh import Fresh
from tests.helpers_pages import ROOT, blocks, pages

pytestmark = pytest.mark.slow

SHORTER = ["total_steps=600", "evaluation.episodes=1", "tracking.wandb=disabled"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newcomer")
    wheel = build(folder / "dist")
    (folder / "fresh").mkdir()
    return Fresh(folder / "fresh", sys.executable, wheel, ROOT / "constraints.txt")


def carry_out(fresh, name):
    """Runs each `rlsample` command that a page says, training for a shorter time; returns how many there were."""
    lines = [line.partition("  #")[0].strip() for line in pages()[name].read_text().splitlines()]
    said = [shlex.split(line) for line in lines if line.startswith("rlsample ")]
    for words in said:
        more = SHORTER if words[1] == "train" and "--help" not in words else []
        run([str(fresh.binaries / words[0]), *words[1:], *more], fresh.work)
    return len(said)


def run_code(fresh, code, file):
    (fresh.work / file).write_text(code)
    return run([str(fresh.binaries / "python"), file], fresh.work)


def train_as_said(fresh, name, module):
    """Carries out the command of a page that imports a module, for a shorter time."""
    (line,) = (line for line in pages()[name].read_text().splitlines() if line.endswith(f"--import {module}"))
    words = shlex.split(line)[1:]
    run([str(fresh.binaries / "rlsample"), *words, *SHORTER, "--run-dir", f"runs/{module}"], fresh.work)
    assert (fresh.work / "runs" / module / "evaluation.json").is_file()


def test_train_swap_and_a_loop_of_ones_own(fresh):
    assert carry_out(fresh, "start") >= 3
    assert list((fresh.work / "runs").glob("cartpole-reinmax-*/evaluation.json"))
    said = run_code(fresh, "\n".join(code for _, code in blocks("start")), "start.py")
    assert "at the end" in said


def test_an_environment_of_ones_own(fresh):
    parts = [code for _, code in blocks("own_environment") if "class Lamp" in code or "register(" in code]
    assert len(parts) == 2
    (fresh.work / "lamp.py").write_text("\n".join(parts))
    train_as_said(fresh, "own_environment", "lamp")


def test_a_sampler_of_ones_own(fresh):
    (fresh.work / "my_sampler.py").write_text(blocks("own_sampler")[0][1])
    train_as_said(fresh, "own_sampler", "my_sampler")
