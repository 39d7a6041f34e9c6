"""The page about runs: what it says is what the runs left, and it needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import pytest

from rlsample.runs import config_to_yaml
from scripts.report import __main__ as report
from tests.helpers_agents import small_config


def run_folder(folder, returns, finished=True, **settings):
    folder.mkdir(parents=True)
    config = small_config("ppo", **settings)
    (folder / "config.yaml").write_text(config_to_yaml(config))
    records = [
        {"global_step": step, "evaluation/mean_return": value, "sampler/temperature": 1.0, "losses/policy": 1 / step}
        for step, value in enumerate(returns, start=1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if finished:
        (folder / "evaluation.json").write_text(json.dumps({"mean_return": returns[-1], "std_return": 0.0}))
    return folder


@pytest.fixture
def text(tmp_path):
    folders = [
        run_folder(tmp_path / sampler / str(seed), [10.0 * seed, 100.0 + seed], sampler=sampler, seed=seed)
        for sampler in ("reinmax", "zgr")
        for seed in (1, 2, 3)
    ]
    folders.append(run_folder(tmp_path / "<b>", [5.0], finished=False, total_steps=32))
    output = tmp_path / "report.html"
    assert report.main([*map(str, folders), "--output", str(output)]) == 0
    return output.read_text()


def test_it_says_what_the_runs_left(text):
    assert "<td>sampler.name=reinmax, total_steps=64</td><td>3 of 3</td><td>102.0 [101.0, 103.0]</td>" in text
    assert "<td>total_steps</td><td>64</td><td>64</td><td>32</td>" in text
    assert "not finished" in text
    assert "seeds)" in text
    assert text.count("<svg") == 2  # the temperature never changes
    assert "PPO&#x27;s clipped surrogate" in text


def test_it_needs_nothing_from_elsewhere(text):
    assert "<script" not in text
    # Names of XML's vocabularies are no addresses that anything is loaded from.
    loaded = re.findall(r'(?:src|href|xlink:href)="([^"]*)"', text)
    assert all(address.startswith(("#", "data:")) for address in loaded)
    assert not re.search(r"url\((?!#)", text)
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser here")
def test_a_browser_shows_it(text, tmp_path):
    (tmp_path / "page.html").write_text(text)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}"]
    command = ["chromium", *options, "--window-size=900,1600", f"file://{tmp_path / 'page.html'}"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    picture = matplotlib.image.imread(tmp_path / "page.png")
    assert picture.shape[:2] == (1600, 900)
    orange = picture[..., 0] - picture[..., 2] > 0.4
    assert orange.sum() > 500  # the curve that lies on top


def test_names_are_no_markup(text):
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_a_folder_without_a_run(tmp_path, capsys):
    assert report.main([str(tmp_path)]) == 2
    assert "Expected the folder of a run" in capsys.readouterr().err
