from __future__ import annotations

import json

import numpy as np
import pytest

from rlsample.runs.picture import draw_learning_curve, running_mean


def test_running_mean():
    np.testing.assert_allclose(running_mean([1.0, 2.0, 3.0, 8.0], 2), [1.0, 1.5, 2.5, 5.5])
    np.testing.assert_allclose(running_mean([1.0, 2.0, 6.0], 9), [1.0, 1.5, 3.0])
    assert running_mean([], 3).shape == (0,)


@pytest.mark.parametrize("episodes", [0, 1, 50])
def test_a_picture_is_drawn_of_any_number_of_episodes(tmp_path, episodes):
    records = [
        {
            "global_step": 10 * i,
            "sampler/temperature": 1.0 / (i + 1),
            "charts/episodic_return": float("nan") if i % 3 else i,
        }
        for i in range(episodes)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    draw_learning_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png", title="a $ title_with_underscores")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
