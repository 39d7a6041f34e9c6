"""The tour of the samplers, with few of them."""

from __future__ import annotations

import numpy as np
import pytest

from agents import bandit
from rlsample import samplers


def test_the_table_and_the_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(samplers, "names", lambda: ["exact", "score_function", "straight_through"])
    path = tmp_path / "bandit.png"
    assert bandit.main(["--draws", "4000", "--temperature", "0.5", "--picture", str(path)]) == 0
    assert path.stat().st_size > 10_000
    out = capsys.readouterr().out
    assert out.index("exact") < out.index("score_function")
    assert str(path) in out.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--temperature", "0"], "Expected temperature to be a finite number > 0. Received: temperature=0.0."),
        (["--draws", "1"], "Expected draws to be a whole number >= 2. Received: draws=1."),
        (["--picture", "no/such/folder.png"], "Expected a picture in a folder that is there."),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_measured(words, said, capsys):
    with pytest.raises(SystemExit):
        bandit.main(words)
    assert said in capsys.readouterr().err


def test_what_it_measures():
    reports = bandit.measure(1.0, 4000, ["exact", "score_function", "straight_through"])
    assert reports["exact"].relative_bias < 1e-5
    unbiased, biased = reports["score_function"], reports["straight_through"]
    assert unbiased.relative_bias < 5 * unbiased.relative_bias_standard_error  # fails by chance below 1e-6
    assert biased.relative_bias > 5 * biased.relative_bias_standard_error
    assert unbiased.relative_variance > biased.relative_variance
    probs = np.exp(bandit.LOGITS) / np.exp(bandit.LOGITS).sum()
    values = np.sin(bandit.PLACES)
    np.testing.assert_allclose(reports["exact"].exact, probs * (values - probs @ values), rtol=1e-4)
