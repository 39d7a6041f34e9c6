"""Games in the rules of MinAtar: Breakout against rules written again, the others against MinAtar's own programs."""

import importlib

import numpy as np
import pytest
import tensorflow as tf

from envs.breakout import BreakoutState
from rlsample import ops
from tests.helpers_envs import MINIATURE_GAMES, functional_env, seed_of


class Game:
    """The published rules for one game, in scalars; the oracle for the batched form."""

    def __init__(self, from_right):
        self.paddle, self.row, self.column = 4, 3, 9 if from_right else 0
        self.down, self.right = 1, -1 if from_right else 1
        self.trail, self.passing = (self.row, self.column), False
        self.wall = {(row, column) for row in (1, 2, 3) for column in range(10)}

    def step(self, move):
        """Moves paddle and ball; returns (reward, lost)."""
        self.paddle = min(max(self.paddle + move, 0), 9)
        start = self.trail = (self.row, self.column)
        row, column, reward, lost = start[0] + self.down, start[1] + self.right, 0, False
        if column in (-1, 10):
            column, self.right = min(max(column, 0), 9), -self.right
        among_bricks = (row, column) in self.wall
        if row < 0:
            row, self.down = 0, -self.down
        elif among_bricks and not self.passing:
            self.wall.remove((row, column))
            row, self.down, reward = start[0], -self.down, 1
        elif row == 9:
            self.wall = self.wall or {(row, column) for row in (1, 2, 3) for column in range(10)}
            if self.paddle in (start[1], column):
                if self.paddle != start[1]:
                    self.right = -self.right
                row, self.down = start[0], -self.down
            else:
                lost = True
        self.passing = among_bricks
        self.row, self.column = row, column
        return reward, lost

    def observation(self):
        grid = np.zeros((10, 10, 4), np.float32)
        grid[9, self.paddle, 0] = grid[self.row, self.column, 1] = 1
        grid[(*self.trail, 2)] = 1
        for cell in self.wall:
            grid[(*cell, 3)] = 1
        return grid


def test_breakout_follows_the_rules():
    env = functional_env("rlsample/Breakout-v0", sticky_action=0.0)
    num_envs = 40
    state = env.initial(seed_of(7), num_envs)
    games = [Game(column == 9) for column in state.ball.numpy()[:, 1]]
    assert {game.right for game in games} == {-1, 1}
    step, generator = tf.function(env.step, jit_compile=True), np.random.default_rng(0)
    lost, score = np.zeros(num_envs, bool), np.zeros(num_envs)
    for t in range(450):
        # Most follow the ball, so that walls come down and are built again; others stumble.
        follow = np.array([np.sign(game.column - game.paddle) for game in games])
        stumble = generator.random(num_envs) < np.where(np.arange(num_envs) < 20, 0.0, 0.1)
        moves = np.where(stumble, generator.integers(-1, 2, num_envs), follow)
        state, observation, reward, terminated = step(
            state, tf.constant(np.where(moves < 0, 1, 2 * moves), tf.int32), seed_of(t)
        )
        for i in np.flatnonzero(~lost):
            expected_reward, lost[i] = games[i].step(moves[i])
            assert reward.numpy()[i] == expected_reward
            np.testing.assert_array_equal(observation.numpy()[i], games[i].observation())
        np.testing.assert_array_equal(terminated, lost)
        score += reward.numpy()
    assert score.max() > 30  # past the first wall
    assert 0 < lost.sum() < num_envs


def test_breakout_follows_the_rules_inside_the_wall():
    """From random walls, positions and directions, most of which ordinary play seldom meets."""
    env = functional_env("rlsample/Breakout-v0", sticky_action=0.0)
    num_envs, generator = 300, np.random.default_rng(1)
    draw = {
        "paddle": generator.integers(0, 10, num_envs),
        "ball": generator.integers(0, [9, 10], (num_envs, 2)),
        "direction": generator.choice([-1, 1], (num_envs, 2)),
        "bricks": generator.random((num_envs, 3, 10)) < generator.random((num_envs, 1, 1)),
        "passing": generator.random(num_envs) < 0.5,
    }
    tensors = {key: tf.constant(value, tf.bool if value.dtype == bool else tf.int32) for key, value in draw.items()}
    state = env.initial(seed_of(0), num_envs)._replace(trail=tensors["ball"], **tensors)
    games = []
    for i in range(num_envs):
        game = Game(from_right=False)
        game.paddle, (game.row, game.column), (game.down, game.right) = (
            int(draw["paddle"][i]),
            draw["ball"][i].tolist(),
            draw["direction"][i].tolist(),
        )
        game.wall = {(int(row) + 1, int(column)) for row, column in np.argwhere(draw["bricks"][i])}
        game.passing = bool(draw["passing"][i])
        games.append(game)
    lost = np.zeros(num_envs, bool)
    for t in range(15):
        action = generator.integers(0, 3, num_envs)
        state, observation, reward, _ = env.step(state, tf.constant(action, tf.int32), seed_of(t))
        for i in np.flatnonzero(~lost):
            expected_reward, lost[i] = games[i].step((0, -1, 1)[action[i]])
            assert reward.numpy()[i] == expected_reward
            np.testing.assert_array_equal(observation.numpy()[i], games[i].observation())
        np.testing.assert_array_equal(env.terminal(state), lost)


def test_breakout_repeats_sticky_actions():
    env = functional_env("rlsample/Breakout-v0", sticky_action=0.25)
    num_envs = 20_000
    state = env.initial(seed_of(1), num_envs)
    state = env.transition(state, tf.fill([num_envs], 2), seed_of(2))
    went = state.paddle.numpy() == 5  # the action before the first counts as staying
    # A share of 20,000 draws strays 0.016 from 3/4 or 1/4 (five standard deviations) with probability 6e-7.
    assert went.mean() == pytest.approx(0.75, abs=0.016)
    again = env.transition(state, tf.fill([num_envs], 0), seed_of(3)).paddle.numpy() - state.paddle.numpy()
    assert (again[~went] == 0).all()
    assert again[went].mean() == pytest.approx(0.25, abs=0.018)


def test_breakout_with_all_actions_of_minatar():
    minimal = functional_env("rlsample/Breakout-v0", sticky_action=0.0)
    full = functional_env("rlsample/Breakout-v0", sticky_action=0.0, minimal_actions=False)
    state = full.initial(seed_of(0), 6)
    moves = full.transition(state, tf.range(6)).paddle.numpy() - 4
    assert moves.tolist() == [0, -1, 0, 1, 0, 0]
    assert (minimal.transition(state, tf.range(6) % 3).paddle.numpy() - 4).tolist() == [0, -1, 1] * 2


def test_breakout_stays_lost():
    env = functional_env("rlsample/Breakout-v0", sticky_action=0.0)
    state = env.initial(seed_of(0), 1)
    for _ in range(6):
        state, _, _, terminated = env.step(state, tf.constant([0]), seed_of(1))
    assert terminated.numpy().all() == (state.ball.numpy()[0, 0] == 9)
    over = state._replace(played=state.played._replace(lost=tf.constant([True])))
    after = env.step(over, tf.constant([1]), seed_of(1))
    assert isinstance(after.state, BreakoutState)
    assert after.state.paddle.numpy() == state.paddle.numpy()
    assert after.reward.numpy() == 0


def published(name, **arguments):
    """MinAtar's own program of a game."""
    return importlib.import_module(f"minatar.environments.{name}").Env(**arguments)


class Scripted:
    """In place of a game's random numbers: those it is given."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def rand(self, *shape):
        return self.numbers.pop(0)

    def randint(self, *bounds):
        return self.numbers.pop(0)


def play(env, games, steps, choose, before=lambda state, games, seed: None):
    """Plays a game in both forms and compares all that is seen and earned: the number lost, and the scores."""
    state, lost, score = env.initial(seed_of(7), len(games)), np.zeros(len(games), bool), np.zeros(len(games))
    step = tf.function(env.step, jit_compile=True)
    for t in range(steps):
        buttons = choose(games, t)
        before(state, games, ops.fold_in(seed_of(t), 0))
        state, observation, reward, terminated = step(state, tf.constant(buttons, tf.int32), seed_of(t))
        for i in np.flatnonzero(~lost):
            expected_reward, lost[i] = games[i].act(buttons[i])
            assert reward.numpy()[i] == expected_reward
            np.testing.assert_array_equal(observation.numpy()[i], games[i].state())
        np.testing.assert_array_equal(terminated, lost)
        score += reward.numpy()
    return lost.sum(), score


@pytest.mark.parametrize("ramping", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_space_invaders_is_minatars(ramping):
    env = functional_env("rlsample/SpaceInvaders-v0", ramping=ramping, sticky_action=0.0, minimal_actions=False)
    games, generator = [published("space_invaders", ramping=ramping) for _ in range(12)], np.random.default_rng(0)
    for each in games[:6]:  # a small fleet, so that the next ones are seen
        each.alien_map[:, 3:] = 0

    def choose(games, t):
        # Shoot and step aside from bombs: otherwise nobody sees a second fleet.
        def careful(game):
            ahead = game.e_bullet_map[6:, :].any(0)
            if ahead[game.pos]:
                return 1 if game.pos and not ahead[game.pos - 1] else 3
            return 5 if game.shot_timer == 0 else generator.choice([0, 1, 3])

        return [careful(game) if generator.random() < 0.97 else generator.integers(6) for game in games]

    begin = env.initial

    def fewer(seed, num_envs):
        state = begin(seed, num_envs)
        return state._replace(aliens=tf.constant(np.stack([game.alien_map > 0 for game in games])))

    env.initial = fewer
    lost, score = play(env, games, 400, choose)
    assert lost > 0
    assert score[:6].max() > 4
    assert score[6:].max() > 8
    assert any(game.enemy_move_interval < 12 for game in games) == ramping


@pytest.mark.parametrize("ramping", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_asterix_is_minatars(ramping):
    env = functional_env("rlsample/Asterix-v0", ramping=ramping, sticky_action=0.0, minimal_actions=False)
    games, generator = [published("asterix", ramping=ramping) for _ in range(8)], np.random.default_rng(1)

    def choose(games, t):
        def promise(game, button):
            """Of the cell that a button leads to: gold is good, enemies that are near are not."""
            column = game.player_x + {1: -1, 3: 1}.get(button, 0)
            row = min(max(game.player_y + {2: -1, 4: 1}.get(button, 0), 1), 8)
            near = [x for x in game.entities if x and x[1] == row and abs(x[0] - column) < 3]
            return sum(1 if gold else -3 for *_, gold in near) + 0.5 * generator.random()

        return [max(range(5), key=lambda button, game=game: promise(game, button)) for game in games]

    def before(state, games, seed):
        """MinAtar draws a side, a kind and a place among the free rows: what ours drew."""
        if not (state.until_spawn.numpy() == 0).any():
            return
        after = env.appeared(state.passing, tf.ones([len(games)], tf.bool), seed)
        here = after.present.numpy() & ~state.passing.present.numpy()
        for i, game in enumerate(games):
            game.random = Scripted()
            if here[i].any():
                row = int(here[i].argmax())
                nth = int((~state.passing.present.numpy()[i, :row]).sum())
                gold, right = after.gold.numpy()[i, row], after.right.numpy()[i, row]
                game.random = Scripted(0.0 if right else 0.9, 0.0 if gold else 0.9, nth)
            else:
                game.random = Scripted(0.0, 0.0)

    lost, score = play(env, games, 420, choose, before)
    assert lost > 0
    assert score.max() >= 3
    assert (max(game.ramp_index for game in games) >= 2) == ramping


def test_freeway_is_minatars():
    env = functional_env("rlsample/Freeway-v0", sticky_action=0.0, minimal_actions=False)
    games, generator = [published("freeway") for _ in range(8)], np.random.default_rng(2)
    for game, speeds in zip(games, env.initial(seed_of(7), 8).speed.numpy().tolist(), strict=True):
        game.cars = [[0, row + 1, abs(speed), speed] for row, speed in enumerate(speeds)]

    def choose(games, t):
        return [2 if generator.random() < 0.9 else generator.integers(6) for _ in games]

    def before(state, games, seed):
        speeds = env.speeds(seed, len(games)).numpy()
        for row, game in zip(speeds, games, strict=True):
            game.random = Scripted(np.abs(row), (row > 0).astype(float))

    lost, score = play(env, games, 600, choose, before)
    assert lost == 0
    assert score.min() > 2


def test_what_the_games_draw():
    """Shares of 20,000 draws stray by the bounds, five standard deviations, with probability 6e-7."""
    asterix, num_envs = functional_env("rlsample/Asterix-v0"), 20_000
    nobody = asterix.initial(seed_of(0), num_envs).passing
    passing = asterix.appeared(nobody, tf.ones([num_envs], tf.bool), seed_of(1))
    rows = passing.present.numpy()
    assert (rows.sum(1) == 1).all()
    np.testing.assert_allclose(rows.mean(0), 1 / 8, atol=0.0117)
    assert passing.gold.numpy()[rows].mean() == pytest.approx(1 / 3, abs=0.0167)
    assert passing.right.numpy()[rows].mean() == pytest.approx(1 / 2, abs=0.0177)
    full = asterix.appeared(passing._replace(present=tf.ones_like(rows)), tf.ones([num_envs], tf.bool), seed_of(2))
    np.testing.assert_array_equal(full.column, passing.column)

    speeds = functional_env("rlsample/Freeway-v0").speeds(seed_of(3), num_envs).numpy()[:, 0]
    shares = [(speeds == each).mean() for each in (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)]
    np.testing.assert_allclose(shares, 0.1, atol=0.0106)


@pytest.mark.parametrize("name", MINIATURE_GAMES)
def test_a_lost_game_stays_and_earns_nothing(name):
    env = functional_env(name)
    state = env.initial(seed_of(0), 3)
    over = state._replace(played=state.played._replace(lost=tf.ones([3], tf.bool), earned=tf.ones([3])))
    after = env.step(over, tf.constant([1, 0, 2]), seed_of(1))
    assert (after.reward.numpy() == 0).all()
    assert after.terminated.numpy().all()
    np.testing.assert_array_equal(after.observation, env.observation(over))
