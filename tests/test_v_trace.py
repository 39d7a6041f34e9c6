"""V-trace against the sum that defines it, and what it is known to be."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning.returns import generalized_advantage_estimation
from rlsample.learning.v_trace import v_trace
from tests.helpers import MODES
from tests.helpers_returns import B, T, episodes


def slow_v_trace(log_ratio, rewards, values, next_values, terminated, truncated, discount, trace_decay, bounds):
    """The sum over later differences of the paper's equation 1, with the values at the ends of episodes."""
    ratio = np.minimum(bounds[0], np.exp(log_ratio, dtype=np.float64))
    trace = trace_decay * np.minimum(bounds[1], np.exp(log_ratio, dtype=np.float64))
    difference = ratio * (rewards + discount * np.where(terminated, 0, next_values) - values)
    ends = terminated | truncated
    target, advantage = np.zeros_like(ratio), np.zeros_like(ratio)
    length = len(rewards)
    for b in range(rewards.shape[1]):
        for start in range(length):
            weight, target[start, b] = 1.0, values[start, b]
            for t in range(start, length):
                target[start, b] += weight * difference[t, b]
                weight *= discount * trace[t, b]
                if ends[t, b]:
                    break
        for t in range(length):
            beyond = 0.0 if terminated[t, b] else next_values[t, b]
            if not ends[t, b] and t < length - 1:
                beyond += target[t + 1, b] - values[t + 1, b]
            advantage[t, b] = ratio[t, b] * (rewards[t, b] + discount * beyond - values[t, b])
    return target, advantage


@pytest.mark.parametrize(("trace_decay", "bounds"), [(1.0, (1.0, 1.0)), (0.9, (2.0, 1.5)), (1.0, (np.inf, 1.0))])
@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.thinned(2)
def test_v_trace(mode, trace_decay, bounds):
    log_ratio = np.random.default_rng(7).normal(size=(T, B)).astype(np.float32)
    arguments = (log_ratio, *episodes(5))
    result = MODES[mode](lambda *a: v_trace(*a, 0.9, trace_decay, *bounds))(*map(tf.constant, arguments))
    target, advantage = slow_v_trace(*arguments, 0.9, trace_decay, bounds)
    np.testing.assert_allclose(result.target, target, atol=1e-5)
    np.testing.assert_allclose(result.advantage, advantage, atol=1e-5)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_v_trace_in_float64(mode):
    """To 1e-12; in float32, above, to 1e-5 of sums whose terms are as large as 10."""
    draw = np.random.default_rng(8).normal
    arguments = [each.astype(np.float64) if each.dtype == np.float32 else each for each in episodes(5)]
    log_ratio = draw(size=(T, B))
    result = MODES[mode](lambda *a: v_trace(*a, 0.9, 0.95, 1.5, 1.0))(*map(tf.constant, (log_ratio, *arguments)))
    target, advantage = slow_v_trace(log_ratio, *arguments, 0.9, 0.95, (1.5, 1.0))
    assert result.target.dtype == tf.float64
    np.testing.assert_allclose(result.target, target, atol=1e-12)
    np.testing.assert_allclose(result.advantage, advantage, atol=1e-12)


def test_v_trace_of_the_policy_itself_is_the_lambda_return():
    rewards, values, next_values, terminated, truncated = episodes(6)
    next_values[:-1] = np.where((terminated | truncated)[:-1], next_values[:-1], values[1:])
    rest = (rewards, values, next_values, terminated, truncated, 0.9, 0.8)
    result = v_trace(np.zeros_like(rewards), *rest)
    np.testing.assert_allclose(result.target, generalized_advantage_estimation(*rest) + values, atol=1e-5)


def test_v_trace_ends_where_the_value_of_the_policy_is():
    """Two actions of reward 0 and 1, drawn evenly: without a bound its fixed point is the other policy's value."""
    actions = np.random.default_rng(0).integers(0, 2, (1, 100_000))
    probs, rewards = np.array([0.2, 0.8]), actions.astype(np.float32)
    log_ratio = np.log(probs[actions] / 0.5).astype(np.float32)
    ends = np.ones_like(actions, bool)
    value = np.full_like(rewards, 0.8)
    targets = v_trace(log_ratio, rewards, value, 0 * value, ends, ~ends, 0.9, max_ratio=np.inf).target
    # A target is 1.12 or .48, its deviation .32, that of the mean .00101: beyond 5 of them for 6 in 10^7 seeds.
    assert abs(np.mean(targets) - 0.8) < 5 * 0.00101


def test_v_trace_has_no_gradient_and_bears_any_ratio():
    arguments = episodes(2)
    values = tf.constant(arguments[1])
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = v_trace(tf.fill([T, B], 1e30), arguments[0], values, *arguments[2:], 0.9)
    assert tape.gradient(result.target, values) is None
    assert np.isfinite(result.target).all()
    assert np.isfinite(result.advantage).all()


def test_bad_input():
    with pytest.raises(ValueError, match=r"Expected 0 < max_trace <= max_ratio.*max_trace=2"):
        v_trace(np.zeros((2, 1)), *episodes()[:3], [[False]] * 2, [[False]] * 2, 0.9, max_trace=2.0)
