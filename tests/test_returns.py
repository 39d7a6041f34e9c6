"""Returns and advantages against the definitions, written as slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning import returns
from tests.helpers import MODES
from tests.helpers_returns import B, T, episodes


@pytest.fixture(params=sorted(MODES))
def compile_(request):
    return MODES[request.param]


def slow_lambda_returns(rewards, next_values, terminated, truncated, discount, trace_decay):
    out = np.zeros_like(rewards, np.float64)
    for t in reversed(range(len(rewards))):
        for b in range(rewards.shape[1]):
            if terminated[t, b]:
                out[t, b] = rewards[t, b]
            elif truncated[t, b] or t == len(rewards) - 1:
                out[t, b] = rewards[t, b] + discount * next_values[t, b]
            else:
                later = (1 - trace_decay) * next_values[t, b] + trace_decay * out[t + 1, b]
                out[t, b] = rewards[t, b] + discount * later
    return out


def slow_n_step_returns(rewards, next_values, terminated, truncated, discount, num_steps):
    out = np.zeros_like(rewards, np.float64)
    for start in range(len(rewards)):
        for b in range(rewards.shape[1]):
            for n, t in enumerate(range(start, min(start + num_steps, len(rewards)))):
                out[start, b] += discount**n * rewards[t, b]
                if terminated[t, b]:
                    break
                if truncated[t, b] or n == num_steps - 1 or t == len(rewards) - 1:
                    out[start, b] += discount ** (n + 1) * next_values[t, b]
                    break
    return out


@pytest.mark.parametrize("length", [1, 2, 8, T])
@pytest.mark.parametrize("trace_decay", [0.0, 0.7, 1.0])
@pytest.mark.thinned(2)
def test_lambda_returns(compile_, length, trace_decay):
    rewards, _, next_values, terminated, truncated = episodes(length, length)
    arguments = (rewards, next_values, terminated, truncated)
    result = compile_(returns.lambda_returns)(*map(tf.constant, arguments), 0.9, trace_decay)
    np.testing.assert_allclose(result, slow_lambda_returns(*arguments, 0.9, trace_decay), atol=1e-5)


def test_discounted_returns_have_the_whole_sum(compile_):
    rewards, _, next_values, terminated, truncated = episodes()
    arguments = (rewards, next_values, terminated, truncated)
    result = compile_(returns.discounted_returns)(*map(tf.constant, arguments), 0.9)
    np.testing.assert_allclose(result, slow_lambda_returns(*arguments, 0.9, 1.0), atol=1e-5)


@pytest.mark.parametrize("num_steps", [1, 2, 5, T + 3])
def test_n_step_returns(compile_, num_steps):
    rewards, _, next_values, terminated, truncated = episodes(3)
    arguments = (rewards, next_values, terminated, truncated)
    result = compile_(lambda *a: returns.n_step_returns(*a, 0.9, num_steps))(*map(tf.constant, arguments))
    np.testing.assert_allclose(result, slow_n_step_returns(*arguments, 0.9, num_steps), atol=1e-5)


def test_advantages_are_lambda_returns_less_values_where_the_values_agree(compile_):
    rewards, values, next_values, terminated, truncated = episodes(1)
    goes_on = ~(terminated | truncated)[:-1]
    next_values[:-1] = np.where(goes_on, values[1:], next_values[:-1])
    result = compile_(returns.generalized_advantage_estimation)(
        *map(tf.constant, (rewards, values, next_values, terminated, truncated)), 0.9, 0.8
    )
    expected = slow_lambda_returns(rewards, next_values, terminated, truncated, 0.9, 0.8) - values
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_nothing_flows_back_over_an_end():
    rewards, values, next_values, terminated, truncated = map(tf.constant, episodes(2))
    with tf.GradientTape() as tape:
        tape.watch(rewards)
        advantages = returns.generalized_advantage_estimation(
            rewards, values, next_values, terminated, truncated, 0.9, 0.8
        )
        first = tf.reduce_sum(advantages[0])
    reached = tape.gradient(first, rewards).numpy() != 0
    ended = (terminated | truncated).numpy()
    for b in range(B):
        end = int(np.argmax(ended[:, b])) if ended[:, b].any() else T - 1
        np.testing.assert_array_equal(reached[:, b], np.arange(T) <= end)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_long_rollouts(dtype):
    rewards, values, next_values, terminated, truncated = episodes(4, 300, dtype)
    result = returns.generalized_advantage_estimation(
        *map(tf.constant, (rewards, values, next_values, terminated & False, truncated & False)), 0.99, 0.95
    )
    expected = np.zeros((301, B))
    for t in reversed(range(300)):
        expected[t] = rewards[t] + 0.99 * next_values[t] - values[t] + 0.99 * 0.95 * expected[t + 1]
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected[:-1], atol=1e-4 if dtype == np.float32 else 1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match=r"Expected increments and decays of one shape.*\(3,\).*\(4,\)"):
        returns.backward_recurrence(tf.zeros([3]), tf.zeros([4]))
    with pytest.raises(ValueError, match="Expected num_steps to be a whole number >= 1"):
        returns.n_step_returns(*map(tf.constant, (np.zeros((2, 1)),) * 2), [[False]] * 2, [[False]] * 2, 0.9, 0)


def test_imagined_returns_are_the_recurrence_and_those_of_certain_ends():
    generator = np.random.default_rng(0)
    rewards, next_values = generator.normal(size=(2, 5, 3)).astype(np.float32)
    goes_on = generator.uniform(size=(5, 3)).astype(np.float32)
    expected, following = np.zeros([5, 3]), next_values[-1]
    for step in reversed(range(5)):
        mixed = next_values[-1] if step == 4 else 0.3 * next_values[step] + 0.7 * following
        following = expected[step] = rewards[step] + 0.9 * goes_on[step] * mixed
    np.testing.assert_allclose(returns.imagined_returns(rewards, next_values, goes_on, 0.9, 0.7), expected, rtol=1e-5)
    ends, never = goes_on < 0.5, np.zeros([5, 3], bool)
    certain = returns.imagined_returns(rewards, next_values, (~ends).astype(np.float32), 0.9, 0.7)
    np.testing.assert_allclose(certain, returns.lambda_returns(rewards, next_values, ends, never, 0.9, 0.7), rtol=1e-5)
