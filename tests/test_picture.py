from __future__ import annotations

import json

import matplotlib.figure
import numpy as np
import pytest

from rlsample.runs.picture import draw_learning_curve, running_mean


def drawn(folder, monkeypatch, records, **options):
    """The panels of the picture of some records, each (steps, return, episodes, temperature)."""
    figures = []
    save = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure, "savefig", lambda self, path: figures.append(self) or save(self, path)
    )
    names = ("global_step", "charts/episodic_return", "charts/episodes", "sampler/temperature")
    rows = [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in records]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    draw_learning_curve(folder / "metrics.jsonl", folder / "curve.png", **options)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    return figures[0].axes


def test_running_mean():
    ones = np.ones(4)
    np.testing.assert_allclose(running_mean(np.array([1.0, 2.0, 3.0, 8.0]), ones, 2), [1.0, 1.5, 2.5, 5.5])
    np.testing.assert_allclose(running_mean(np.array([1.0, 2.0, 6.0]), ones[:3], 9), [1.0, 1.5, 3.0])
    assert running_mean(np.zeros(0), np.zeros(0), 3).shape == (0,)


def test_the_running_mean_was_over_records_however_many_episodes_they_held():
    values, counts = np.array([0.0, 10.0, 4.0]), np.array([1.0, 9.0, 2.0])
    # Of the last 4 episodes at the end: two of the latest record, two of the nine before.
    np.testing.assert_allclose(running_mean(values, counts, 4), [0.0, 10.0, 7.0])
    np.testing.assert_allclose(running_mean(values, counts, 100), [0.0, 9.0, 98 / 12])


@pytest.mark.parametrize("episodes", [0, 1, 50])
def test_a_picture_is_drawn_of_any_number_of_episodes(tmp_path, monkeypatch, episodes):
    rows = [(10 * i, float("nan") if i % 3 else i, None, 1.0 / (i + 1)) for i in range(episodes)]
    drawn(tmp_path, monkeypatch, rows, title="a $ title_with_underscores")


def test_the_picture_began_with_the_episodes_that_ended_early(tmp_path, monkeypatch):
    """Two of eight environments are lucky and finish early; the first mean is over the first episode of each."""
    rows = [(80, -50.0, 2, 1.0), (1600, -800.0, 6, 1.0), (3200, -700.0, 8, 1.0)]
    (axes,) = drawn(tmp_path, monkeypatch, rows, num_envs=8)
    (points,), (line,) = axes.collections, axes.lines
    np.testing.assert_array_equal(points.get_offsets(), [[1600, -800], [3200, -700]])
    np.testing.assert_allclose(line.get_ydata(), [(2 * -50 + 6 * -800) / 8, (8 * -700 + 2 * -800) / 10])
    assert "mean of the last 10 episodes" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_constant_temperature_took_a_panel(tmp_path, monkeypatch):
    (axes,) = drawn(tmp_path, monkeypatch, [(step, 1.0, 1, 0.5) for step in range(9)], title="mine")
    assert axes.get_title(loc="left") == "mine, temperature 0.5"
    assert axes.get_xlabel() == "environment steps"
    _, below = drawn(tmp_path, monkeypatch, [(step, 1.0, 1, 1 - step / 9) for step in range(9)])
    assert below.get_ylabel() == "temperature"
    assert below.get_xlabel() == "environment steps"
