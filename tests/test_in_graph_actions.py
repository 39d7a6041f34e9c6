"""Masks of in-graph environments in the form that Gymnasium's spaces sample under."""

from __future__ import annotations

import numpy as np
import pytest

from rlsample import spaces
from rlsample.in_graph import actions
from tests.helpers import ALL_SPACES, space_name


@pytest.mark.parametrize("legal_share", [0.5, 1.0])
@pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)
def test_every_space_samples_under_a_mask_and_reads_it_back(space, legal_share):
    factors, rng = spaces.factorise(space), np.random.default_rng(0)
    for _ in range(5):
        mask = rng.random(factors.root.valid.shape) < legal_share
        np.put_along_axis(mask, rng.integers(0, factors.sizes)[:, None], True, -1)
        mask &= factors.root.valid
        nested = actions.mask_to_space(space, mask)
        np.testing.assert_array_equal(np.reshape(factors.mask(nested), mask.shape), mask)
        space.seed(0)
        drawn = [np.reshape(factors.from_env(space.sample(mask=nested)), -1) for _ in range(20)]
        assert np.take_along_axis(mask[None], np.array(drawn)[..., None], -1).all()
