"""Returns and advantages against the definitions, written as slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning import returns

T, B = 13, 5
MODES = {"eager": lambda f: f, "graph": tf.function, "xla": lambda f: tf.function(f, jit_compile=True)}


@pytest.fixture(params=sorted(MODES))
def compile_(request):
    return MODES[request.param]


def episodes(seed=0, length=T, dtype=np.float32):
    """Rewards, values, next_values, terminated, truncated of a made-up rollout; ends are frequent."""
    generator = np.random.default_rng(seed)
    rewards, values, next_values = generator.normal(size=(3, length, B)).astype(dtype)
    terminated = generator.random((length, B)) < 0.2
    truncated = (generator.random((length, B)) < 0.2) & ~terminated
    return rewards, values, next_values, terminated, truncated


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
def test_v_trace(compile_, trace_decay, bounds):
    log_ratio = np.random.default_rng(7).normal(size=(T, B)).astype(np.float32)
    arguments = (log_ratio, *episodes(5))
    result = compile_(lambda *a: returns.v_trace(*a, 0.9, trace_decay, *bounds))(*map(tf.constant, arguments))
    target, advantage = slow_v_trace(*arguments, 0.9, trace_decay, bounds)
    np.testing.assert_allclose(result.target, target, atol=1e-5)
    np.testing.assert_allclose(result.advantage, advantage, atol=1e-5)


def test_v_trace_of_the_policy_itself_is_the_lambda_return():
    rewards, values, next_values, terminated, truncated = episodes(6)
    next_values[:-1] = np.where((terminated | truncated)[:-1], next_values[:-1], values[1:])
    rest = (rewards, values, next_values, terminated, truncated, 0.9, 0.8)
    result = returns.v_trace(np.zeros_like(rewards), *rest)
    np.testing.assert_allclose(result.target, returns.generalized_advantage_estimation(*rest) + values, atol=1e-5)


def test_v_trace_ends_where_the_value_of_the_policy_is():
    """Two actions of reward 0 and 1, drawn evenly: without a bound its fixed point is the other policy's value."""
    actions = np.random.default_rng(0).integers(0, 2, (1, 100_000))
    probs, rewards = np.array([0.2, 0.8]), actions.astype(np.float32)
    log_ratio = np.log(probs[actions] / 0.5).astype(np.float32)
    ends = np.ones_like(actions, bool)
    value = np.full_like(rewards, 0.8)
    targets = returns.v_trace(log_ratio, rewards, value, 0 * value, ends, ~ends, 0.9, max_ratio=np.inf).target
    # A target is 1.12 or .48, its deviation .32, that of the mean .00101: beyond 5 of them for 6 in 10^7 seeds.
    assert abs(np.mean(targets) - 0.8) < 5 * 0.00101


def test_v_trace_has_no_gradient_and_bears_any_ratio():
    arguments = episodes(2)
    values = tf.constant(arguments[1])
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = returns.v_trace(tf.fill([T, B], 1e30), arguments[0], values, *arguments[2:], 0.9)
    assert tape.gradient(result.target, values) is None
    assert np.isfinite(result.target).all()
    assert np.isfinite(result.advantage).all()


def test_bad_input():
    with pytest.raises(ValueError, match=r"Expected 0 < max_trace <= max_ratio.*max_trace=2"):
        returns.v_trace(np.zeros((2, 1)), *episodes()[:3], [[False]] * 2, [[False]] * 2, 0.9, max_trace=2.0)
    with pytest.raises(ValueError, match=r"Expected increments and decays of one shape.*\(3,\).*\(4,\)"):
        returns.backward_recurrence(tf.zeros([3]), tf.zeros([4]))
    with pytest.raises(ValueError, match="Expected num_steps to be a whole number >= 1"):
        returns.n_step_returns(*map(tf.constant, (np.zeros((2, 1)),) * 2), [[False]] * 2, [[False]] * 2, 0.9, 0)
