"""The pictures of the documentation: what they show is what is there."""

from __future__ import annotations

import numpy as np

from rlsample import ops
from scripts import pictures


def test_argmax_jumps_where_the_logits_meet(tmp_path):
    just = np.float32(1e-6)
    assert ops.mode(np.array([[just, 0.0], [0.0, just]], np.float32)).numpy().tolist() == [0, 1]
    np.testing.assert_allclose(pictures.first_weight(np.array([0.0]), 0.1), 0.5)
    np.testing.assert_allclose(pictures.first_weight(np.array([0.2]), 0.1), 1 / (1 + np.exp(-2)), rtol=1e-6)
    assert pictures.main(["--folder", str(tmp_path)]) == 0
    assert (tmp_path / "argmax.png").read_bytes()[:4] == b"\x89PNG"
