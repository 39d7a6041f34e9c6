"""scripts.learning_curves: what it reads from runs, and the picture."""

import json

import numpy as np

from scripts import learning_curves


def write_run(folder, evaluations):
    folder.mkdir(parents=True)
    records = [{"global_step": 1, "losses/policy": 0.0}]
    records += [{"global_step": step, "evaluation/mean_return": value} for step, value in evaluations.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_middle_half_of_the_seeds_at_common_steps(tmp_path):
    for seed, value in enumerate((0.0, 10.0, 20.0, 100.0)):
        write_run(tmp_path / f"seed{seed}", {100: value, 200: 5.0, 250 + seed: 7.0})
    curve = learning_curves.read(tmp_path)
    assert curve.step.tolist() == [100, 200]
    np.testing.assert_allclose(curve.middle, [15.0, 5.0])
    assert curve.low[0] < 15 < curve.high[0]
    assert (curve.low[1], curve.high[1], curve.seeds) == (5.0, 5.0, 4)


def test_draws_a_picture_or_says_what_is_missing(tmp_path, capsys):
    write_run(tmp_path / "runs" / "seed1", {100: 1.0, 200: 2.0})
    picture = tmp_path / "curves.png"
    assert learning_curves.main([f"agent={tmp_path / 'runs'}", "--output", str(picture)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert learning_curves.main([f"agent={tmp_path / 'nothing'}", "--output", str(picture)]) == 2
    assert "Expected a folder of runs evaluated at the same steps. Received: folder=" in capsys.readouterr().err
