"""scripts.curves: what is drawn of several runs."""

from __future__ import annotations

import numpy as np

from scripts import curves


def test_the_middle_half_of_the_seeds_at_common_steps():
    runs = [{100: value, 200: 5.0, 250 + seed: 7.0} for seed, value in enumerate((0.0, 10.0, 20.0, 100.0))]
    curve = curves.curve_of(runs)
    assert curve.step.tolist() == [100, 200]
    np.testing.assert_allclose(curve.middle, [15.0, 5.0])
    assert curve.low[0] < 15 < curve.high[0]
    assert (curve.low[1], curve.high[1]) == (5.0, 5.0)


def test_over_tasks_all_runs_count_together():
    curve = curves.curve_of([{1: 0.0}, {1: 1.0}], [{1: 2.0}, {1: 5.0, 2: 3.0}])
    assert curve.step.tolist() == [1]
    assert curve.middle.tolist() == [1.5]


def test_without_common_steps_there_is_no_curve():
    assert [len(part) for part in curves.curve_of([{1: 0.0}, {2: 1.0}])] == [0, 0, 0, 0]


def test_a_loss_that_became_nan_is_left_out():
    records = [{"global_step": 1, "loss": 2.0}, {"global_step": 2, "loss": float("nan")}, {"global_step": 3}]
    assert curves.series_of(records, "loss") == {1: 2.0}
