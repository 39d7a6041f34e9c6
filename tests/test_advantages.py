"""What a step of an earlier policy counts for, and what it is compared with."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample.rollouts.advantages import advantages
from rlsample.rollouts.transition import DistantTransition
from rlsample.types import Rollout
from tests.helpers import MODES
from tests.helpers_returns import B, T, episodes


def judged(log_prob, acted):
    """Advantages of one rollout, whose actions have these log-probabilities under the policy and under who acted."""
    columns = dict(zip(("reward", "value", "next_value", "terminated", "truncated"), episodes(5), strict=True))
    parts = tf.nest.map_structure(tf.constant, columns)
    rollout = Rollout(**(dict.fromkeys(Rollout._fields) | parts | {"log_prob": tf.convert_to_tensor(log_prob)}))
    lag = () if acted is None else tf.convert_to_tensor(acted)
    steps = dict.fromkeys(DistantTransition._fields) | {"log_prob": lag}
    return columns, advantages(rollout, DistantTransition(**steps), 0.9, 0.8)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_weight_times_advantage_is_what_v_trace_adds_to_the_value(mode):
    draw = np.random.default_rng(3).normal
    log_prob, acted = (draw(size=(T, B)).astype(np.float32) for _ in range(2))
    result = MODES[mode](lambda *given: judged(*given)[1])(tf.constant(log_prob), tf.constant(acted))
    columns, _ = judged(log_prob, acted)
    np.testing.assert_allclose(result.weight, np.minimum(1, np.exp(log_prob - acted)), rtol=1e-6)
    np.testing.assert_allclose(result.weight * result.advantage, result.target - columns["value"], atol=1e-5)


def test_the_advantage_itself_does_not_shrink_with_the_weight():
    """One step that ends: its advantage is what it earned beyond the value, however rarely the policy would take it."""
    log_prob = np.zeros((T, B), np.float32)
    columns, often = judged(log_prob, log_prob)
    _, rarely = judged(log_prob - 3, log_prob)
    ends = columns["terminated"]
    assert ends.any()
    earned = (columns["reward"] - columns["value"])[ends]
    np.testing.assert_allclose(often.advantage.numpy()[ends], earned, atol=1e-5)
    np.testing.assert_allclose(rarely.advantage.numpy()[ends], earned, atol=1e-5)
    np.testing.assert_allclose(rarely.weight, np.exp(-3.0), rtol=1e-6)


def test_nothing_is_weighed_where_the_policy_itself_acted():
    log_prob = np.zeros((T, B), np.float32)
    _, own = judged(log_prob, None)
    _, newest = judged(log_prob, log_prob)
    assert own.weight is None
    np.testing.assert_allclose(newest.advantage, own.advantage, atol=1e-5)
    np.testing.assert_allclose(newest.target, own.target, atol=1e-5)
