"""Rules that belong to one environment: GridWorld, Bandit, MultiDiscrete, RaggedDict and TMaze."""

import numpy as np
import pytest
import tensorflow as tf

from envs.grid_world import FOUR_ROOMS
from tests.helpers_envs import functional_env, seed_of

UP, RIGHT, DOWN, LEFT = range(4)


def test_gridworld_moves_walls_and_masks():
    env = functional_env("rlsample/GridWorld-v0", layout=("S#.", "..G"))
    state = env.initial(seed_of(0), 1)
    assert env.action_mask(state).numpy().tolist() == [[False, False, True, False]]
    # (move, cell after it, reward, terminated): into border and wall, then around to the goal.
    script = [
        (UP, 0, -0.01, False),
        (RIGHT, 0, -0.01, False),
        (LEFT, 0, -0.01, False),
        (DOWN, 3, -0.01, False),
        (LEFT, 3, -0.01, False),
        (RIGHT, 4, -0.01, False),
        (UP, 4, -0.01, False),
        (RIGHT, 5, 0.99, True),
    ]
    for move, cell, reward, terminated in script:
        step = env.step(state, tf.constant([move]), seed_of(1))
        state = step.state
        assert state.numpy()[0].tolist() == [float(i == cell) for i in range(6)]
        assert step.reward.numpy()[0] == pytest.approx(reward)
        assert step.terminated.numpy()[0] == terminated


def test_gridworld_mask_is_where_a_move_leads_anywhere():
    env = functional_env("rlsample/GridWorld-v0")
    cells = np.flatnonzero(~env.walls)
    states = tf.one_hot(cells, env.walls.size)
    leads = [(env.transition(states, tf.fill([len(cells)], k)).numpy() != states.numpy()).any(1) for k in range(4)]
    mask = env.action_mask(states).numpy()
    np.testing.assert_array_equal(mask, np.stack(leads, 1))
    assert mask.any(1).all()


def test_gridworld_mask_of_a_spread_state_counts_the_cells_of_a_move_together():
    env = functional_env("rlsample/GridWorld-v0", layout=("S....", "#####", "....G"), dtype="float64")
    state = np.zeros((3, 15))
    state[0, :5] = 0.2  # no cell has more, yet left and right lead out of four of them
    state[1, [0, 1]] = 0.85, 0.15  # left leads out of the second cell alone
    state[2, [4, 0]] = 0.79, 0.21
    expected = [[False, True, False, True], [False, True, False, False], [False, True, False, True]]
    np.testing.assert_array_equal(env.action_mask(tf.constant(state)), expected)


def test_gridworld_always_has_a_legal_move():
    env = functional_env("rlsample/GridWorld-v0", layout=("#.#", ".S.", "#G#"))
    spread = env.transition(env.initial(seed_of(0), 1), tf.fill([1, 4], 0.25))  # a quarter in each of four dead ends
    assert env.action_mask(spread).numpy().all()
    generator = np.random.default_rng(0)
    env = functional_env("rlsample/GridWorld-v0")
    open_cells = np.flatnonzero(~env.walls)
    states = np.zeros((500, env.walls.size), np.float32)
    states[:, open_cells] = generator.dirichlet(np.full(len(open_cells), 0.05), 500)
    assert env.action_mask(tf.constant(states)).numpy().any(1).all()


def test_gridworld_keeps_probability_and_never_enters_walls():
    env = functional_env("rlsample/GridWorld-v0", dtype="float64")
    state = env.initial(seed_of(0), 2)
    generator = np.random.default_rng(0)
    for _ in range(30):
        state = env.transition(state, tf.constant(generator.dirichlet(np.ones(4), size=2)))
    np.testing.assert_allclose(tf.reduce_sum(state, axis=1), 1.0, rtol=1e-12)
    assert (state.numpy()[:, env.walls.ravel()] == 0).all()
    assert state.numpy()[:, env.goal].min() > 0


def test_gridworld_draws_its_starts_uniformly():
    env = functional_env("rlsample/GridWorld-v0", layout=[row.replace("S", ".") for row in FOUR_ROOMS])
    counts = tf.reduce_sum(env.initial(seed_of(4), 51_000), axis=0).numpy()
    floor = np.array([character == "." for character in "".join(FOUR_ROOMS).replace("S", ".")])
    assert (counts[~floor] == 0).all()
    expected = 51_000 / floor.sum()
    # A binomial count strays six standard deviations with probability 2e-9; some fifty cells, 1e-7 in all.
    assert (abs(counts[floor] - expected) < 6 * np.sqrt(expected)).all()


def test_bandit_pays_its_means_and_noise():
    env = functional_env("rlsample/Bandit-v0", means=(1.0, -2.0, 3.0), noise=0.5)
    num_envs = 30_000
    state = env.initial(seed_of(0), num_envs)
    step = env.step(state, tf.range(num_envs) % 3, seed_of(1))
    assert step.terminated.numpy().all()
    rewards = step.reward.numpy().reshape(-1, 3)
    # Means of 10,000 draws stray 5 standard errors, 0.025, with probability 6e-7; deviations likewise 0.018.
    np.testing.assert_allclose(rewards.mean(0), [1.0, -2.0, 3.0], atol=0.025)
    np.testing.assert_allclose(rewards.std(0), 0.5, atol=0.018)


def test_multi_discrete_rewards_each_dial_alike():
    env = functional_env("rlsample/MultiDiscrete-v0", nvec=(2, 5, 3))
    state = env.initial(seed_of(3), 8)
    target = tf.argmax(state, axis=-1, output_type=tf.int32).numpy()
    assert (target < [2, 5, 3]).all()
    observation = env.observation(state).numpy()
    np.testing.assert_array_equal(observation[np.arange(8), 2 + target[:, 1]], 1.0)
    for wrong in range(4):
        action = target.copy()
        action[:, :wrong] = (action[:, :wrong] + 1) % np.array([2, 5, 3])[:wrong]
        np.testing.assert_allclose(env.step(state, tf.constant(action), seed_of(4)).reward, 1 - wrong / 3, rtol=1e-6)


def test_ragged_dict_pays_for_right_and_illegal_choices():
    env = functional_env("rlsample/RaggedDict-v0")
    assert env.factors.sizes == (3, 2, 2, 5, 2)
    state = env.initial(seed_of(3), 200)
    assert not (state.legal.numpy() & ~env.factors.padding_mask).any()
    assert tf.reduce_all(state.legal | (state.target == 0)).numpy()
    best = tf.argmax(state.target, axis=-1, output_type=tf.int32)
    np.testing.assert_allclose(env.step(state, best, seed_of(4)).reward, 1.0, rtol=1e-6)
    illegal = np.argwhere(~state.legal.numpy() & env.factors.padding_mask)
    row, factor, category = illegal[0]
    action = best.numpy()
    action[row, factor] = category
    assert env.step(state, tf.constant(action), seed_of(4)).reward.numpy()[row] == pytest.approx(1 - 2 / 5)


AHEAD, TURN_LEFT, TURN_RIGHT = range(3)


def test_t_maze_shows_its_sign_at_the_entrance_alone():
    env = functional_env("rlsample/TMaze-v0", length=3)
    state = env.initial(seed_of(3), 2)
    sign = state.sign.numpy()
    np.testing.assert_array_equal(env.observation(state), np.concatenate([sign, [[1, 0]] * 2], 1))
    # (action, what is seen after it, reward): nothing moves by a turn in the corridor, nor ahead at the junction.
    script = [
        (TURN_LEFT, [*sign[0], 1, 0], -1 / 3),
        (AHEAD, [0, 0, 1, 0], 0),
        (TURN_RIGHT, [0, 0, 1, 0], -1 / 3),
        (AHEAD, [0, 0, 1, 0], 0),
        (AHEAD, [0, 0, 0, 1], 0),
        (AHEAD, [0, 0, 0, 1], -1 / 3),
    ]
    for action, seen, reward in script:
        step = env.step(state, tf.fill([2], action), seed_of(1))
        state = step.state
        np.testing.assert_array_equal(step.observation[0], np.float32(seen))
        np.testing.assert_allclose(step.reward[0], reward, rtol=1e-6)
        assert not step.terminated.numpy().any()
    for turn, side in ((TURN_LEFT, 0), (TURN_RIGHT, 1)):
        step = env.step(state, tf.fill([2], turn), seed_of(1))
        np.testing.assert_array_equal(step.reward, sign[:, side])
        assert step.terminated.numpy().all()


def test_t_maze_draws_both_signs():
    signs = functional_env("rlsample/TMaze-v0").initial(seed_of(5), 10_000).sign.numpy()[:, 0]
    assert abs(signs.mean() - 0.5) < 4.9 * 0.005  # 5 deviations of the mean: fails by chance once in a million seeds


@pytest.mark.parametrize("length", [1, 50])
def test_t_maze_without_memory_is_worth_a_half(length):
    """Whatever is drawn at the junction, it cannot depend on the sign; the best that is left is one sign of two."""
    env = functional_env("rlsample/TMaze-v0", length=length)
    state = env.initial(seed_of(0), 64)
    total = np.zeros(64)
    for _ in range(length):
        step = env.step(state, tf.fill([64], AHEAD), seed_of(1))
        state, total = step.state, total + step.reward.numpy()
    assert (env.observation(state).numpy() == [0, 0, 0, 1]).all()  # all the same, so one decision for all
    earned = np.stack([total + env.step(state, tf.fill([64], turn), seed_of(1)).reward for turn in (1, 2)])
    np.testing.assert_array_equal(earned.sum(0), 1)
    remembered = np.where(state.sign.numpy()[:, 0] == 1, earned[0], earned[1])
    np.testing.assert_array_equal(remembered, 1)
