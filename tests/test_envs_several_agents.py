"""The games of several agents: payoffs and gradients in closed form, rules, and PettingZoo's own checks."""

import itertools
import warnings

import numpy as np
import pettingzoo.utils
import pytest
import tensorflow as tf

from envs.coordination import Coordination
from envs.foraging import LOAD, Field, Foraging
from envs.speaker_listener import SpeakerListener
from rlsample import samplers
from rlsample.in_graph.pettingzoo_face import ParallelEnv
from tests.helpers_envs import one_hots, seed_of

GAMES = (Coordination, SpeakerListener, Foraging)
RAGGED = np.arange(12.0).reshape(2, 3, 2) % 5  # three agents with 2, 3 and 2 actions


class TestCoordination:
    @pytest.mark.parametrize("payoffs", [np.array([3.0, -1.0]), RAGGED, Coordination().payoffs])
    def test_every_combination_is_paid_its_payoff(self, payoffs):
        env = Coordination(payoffs.tolist())
        joint = np.array(list(itertools.product(*map(range, payoffs.shape))), np.int32)
        action = tf.constant(joint[:, 0] if payoffs.ndim == 1 and env.factors.single else joint)
        step = env.step(env.initial(seed_of(0), len(joint)), action, seed_of(1))
        np.testing.assert_allclose(step.reward, payoffs.reshape(-1))
        assert step.terminated.numpy().all()
        assert env.optimum == payoffs.max()

    def test_the_gradient_is_that_of_the_expected_payoff(self):
        env = Coordination(RAGGED.tolist(), dtype="float64")
        logits = tf.random.stateless_normal([4, 3, 3], seed=(1, 2), dtype=tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = env.expected_reward(logits)
        np.testing.assert_allclose(env.exact_gradient(logits), tape.gradient(value, logits), atol=1e-12)
        # The mean over every combination, one by one.
        probs = [tf.nn.softmax(logits[:, i, :side]).numpy() for i, side in enumerate(RAGGED.shape)]
        np.testing.assert_allclose(value, np.einsum("abc,za,zb,zc->z", RAGGED, *probs))

    def test_ascending_the_exact_gradient_from_a_good_start_reaches_the_optimum(self):
        env = Coordination()
        logits = tf.constant([[[2.0, 0.0, 0.0]] * 2])
        for _ in range(200):
            logits += env.exact_gradient(logits)
        assert float(env.expected_reward(logits)[0]) > env.optimum - 0.1

    def test_padding_weighs_nothing(self):
        env = Coordination(RAGGED.tolist())
        weights = np.full([1, 3, 3], 0.5, np.float32)
        padded = weights * env.factors.padding_mask
        rewards = [env.step(env.initial(seed_of(0), 1), tf.constant(w), seed_of(1)).reward for w in (weights, padded)]
        np.testing.assert_allclose(rewards[0], rewards[1])

    @pytest.mark.parametrize("payoffs", [[], [[1.0, 2.0], [3.0]], [np.nan], 3.0])
    def test_what_are_no_payoffs_is_refused(self, payoffs):
        with pytest.raises(ValueError, match="payoffs"):
            Coordination(payoffs)


def random_logits(shape):
    return tf.random.stateless_normal(shape, shape, dtype=tf.float64)


class TestSpeakerListener:
    @pytest.mark.parametrize(("targets", "messages"), [(3, 3), (3, 2), (2, 5)])
    def test_a_code_is_worth_the_optimum_and_nothing_is_worth_more(self, targets, messages):
        env = SpeakerListener(targets, messages)
        best = max(
            sum(listener[speaker[target]] == target for target in range(targets)) / targets
            for speaker in itertools.product(range(messages), repeat=targets)
            for listener in itertools.product(range(targets), repeat=messages)
        )
        assert env.optimum == best

    def test_it_takes_two_steps_and_pays_for_the_target_alone(self):
        env = SpeakerListener(3, 4)
        state = env.initial(seed_of(1), 6)
        target = tf.argmax(state.target, -1, output_type=tf.int32)
        np.testing.assert_array_equal(env.observation(state)[:, 1], np.tile([0, 0, 0, 0, 1], (6, 1)))
        first = env.step(state, tf.stack([target + 1, target], 1), seed_of(2))
        np.testing.assert_array_equal(first.reward, np.zeros(6))
        assert not first.terminated.numpy().any()
        np.testing.assert_array_equal(tf.argmax(first.observation[:, 1], -1), target.numpy() + 1)
        np.testing.assert_array_equal(first.observation[:, 0, :3], state.target)
        choice = tf.constant([0, 1, 2, 0, 1, 2])
        second = env.step(first.state, tf.stack([target, choice], 1), seed_of(3))
        np.testing.assert_array_equal(second.reward, (choice == target).numpy().astype(float))
        assert second.terminated.numpy().all()

    def test_with_a_delay_the_word_is_heard_once_and_the_last_choice_is_paid(self):
        env = SpeakerListener(3, 4, delay=2)
        state, heard, rewards, ended = env.initial(seed_of(1), 6), [], [], []
        target = tf.argmax(state.target, -1, output_type=tf.int32)
        for time, choice in enumerate((target, target, 2 - target, target)):
            step = env.step(state, tf.stack([target + 1 if time == 0 else target, choice], 1), seed_of(time))
            heard.append(tf.argmax(step.observation[:, 1], -1).numpy())
            rewards.append(step.reward.numpy().tolist())
            ended.append(bool(step.terminated.numpy().all()))
            state = step.state
        np.testing.assert_array_equal(heard, [target.numpy() + 1, *[[4] * 6] * 3])
        assert (rewards, ended) == ([*[[0.0] * 6] * 3, [1.0] * 6], [False] * 3 + [True])
        with pytest.raises(ValueError, match="a delay of at most 98, within the time limit"):
            SpeakerListener(delay=99)

    def test_the_exact_gradients_are_those_of_the_expected_return(self):
        env = SpeakerListener(3, 4, dtype="float64")
        speaker, listener = random_logits((3, 4)), random_logits((4, 3))
        with tf.GradientTape() as tape:
            tape.watch([speaker, listener])
            value = env.expected_reward(speaker, listener)
        for one, other in zip(
            env.exact_gradient(speaker, listener), tape.gradient(value, [speaker, listener]), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-12)

    def test_what_the_listener_earns_reaches_the_speaker_through_the_message(self):
        """With probabilities for actions the gradient through both steps is the exact one."""
        env = SpeakerListener(3, 4, dtype="float64")
        speaker, listener = random_logits((3, 4)), random_logits((4, 3))
        state = env.initial(seed_of(2), 3)._replace(target=tf.eye(3, dtype=tf.float64))  # each target once
        pad = tf.zeros([3, 1], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(speaker)
            said = tf.nn.softmax(speaker)
            idle = tf.concat([tf.ones([3, 1], tf.float64), tf.zeros([3, 3], tf.float64)], 1)
            first = env.step(state, tf.stack([said, idle], 1), seed_of(3))
            heard = first.observation[:, 1, :4]
            choice = tf.concat([heard @ tf.nn.softmax(listener), pad], 1)
            second = env.step(first.state, tf.stack([said, choice], 1), seed_of(4))
            value = tf.reduce_mean(second.reward)
        np.testing.assert_allclose(value, env.expected_reward(speaker, listener))
        np.testing.assert_allclose(tape.gradient(value, speaker), env.exact_gradient(speaker, listener)[0], atol=1e-12)

    @pytest.mark.parametrize("name", ["straight_through", "straight_through_gumbel_softmax", "reinmax"])
    def test_a_drawn_message_carries_the_gradient(self, name):
        env, state = SpeakerListener(), SpeakerListener().initial(seed_of(5), 16)
        logits, listener = tf.zeros([16, 4]), tf.eye(4) * 3.0
        idle = tf.one_hot(tf.zeros([16], tf.int32), 4)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            said = samplers.create(name)(logits, (1, 2)).one_hot
            first = env.step(state, tf.stack([said, idle], 1), seed_of(6))
            choice = tf.nn.softmax(first.observation[:, 1, :4] @ listener)
            value = tf.reduce_sum(env.step(first.state, tf.stack([said, choice], 1), seed_of(7)).reward)
        gradient = tape.gradient(value, logits)
        # A listener who takes words at face value: saying the target more often pays for every speaker.
        assert (tf.reduce_sum(gradient * state.target, -1).numpy() > 0).all()


def field(agents, foods, levels, food_levels, size=5):
    """A square field with hard places, one environment."""
    cells = [[[row * size + column for row, column in group]] for group in (agents, foods)]
    place, food = (tf.one_hot(cell, size * size) for cell in cells)
    level, food_level = (tf.constant([values], tf.float32) for values in (levels, food_levels))
    return Field(place, level, food, food_level, tf.ones_like(food_level))


class TestForaging:
    @pytest.mark.parametrize(
        ("levels", "actions", "reward"),
        [
            ((1, 1), (LOAD, LOAD), 0.5),
            ((1, 1), (LOAD, 0), 0.0),
            ((2, 1), (LOAD, 0), 0.5),
            ((2, 1), (0, LOAD), 0.0),
        ],
    )
    def test_food_is_gathered_by_those_who_are_strong_enough_together(self, levels, actions, reward):
        env = Foraging()
        state = field([(1, 2), (2, 1)], [(2, 2), (4, 4)], levels, (2, 2))
        step = env.step(state, tf.constant([actions]), seed_of(0))
        np.testing.assert_allclose(step.reward, [reward])
        np.testing.assert_allclose(step.state.left, [[0.0 if reward else 1.0, 1.0]])
        np.testing.assert_array_equal(step.state.place, state.place)
        assert not step.terminated.numpy()[0]

    def test_what_lies_away_is_not_gathered_and_the_last_piece_ends_the_episode(self):
        env = Foraging()
        away = field([(1, 1), (2, 1)], [(2, 2), (4, 4)], (2, 2), (2, 2))  # the first stands diagonally
        np.testing.assert_allclose(env.step(away, tf.constant([[LOAD, 0]]), seed_of(0)).reward, [0.0])
        last = away._replace(left=tf.constant([[1.0, 0.0]]))
        step = env.step(last, tf.constant([[0, LOAD]]), seed_of(0))
        np.testing.assert_allclose(step.reward, [0.5])
        assert step.terminated.numpy()[0]

    def test_moves_and_what_stops_them(self):
        env = Foraging()
        state = field([(0, 0), (2, 1)], [(2, 2), (4, 4)], (1, 1), (2, 2))
        expected = {
            0: [(0, 0), (2, 1)],
            1: [(0, 0), (1, 1)],
            2: [(1, 0), (3, 1)],
            3: [(0, 0), (2, 0)],
            4: [(0, 1), (2, 1)],  # into food
        }
        for move, places in expected.items():
            moved = env.step(state, tf.constant([[move, move]]), seed_of(0)).state.place
            np.testing.assert_array_equal(tf.argmax(moved, -1)[0], [row * 5 + column for row, column in places])
        mask = env.action_mask(state).numpy()[0]
        np.testing.assert_array_equal(mask, [[1, 0, 1, 0, 1, 0], [1, 1, 1, 1, 0, 1]])

    @pytest.mark.parametrize(
        ("start", "moves", "end"),
        [
            ([(0, 0), (0, 2)], (4, 3), [(0, 0), (0, 2)]),  # both want the cell between them
            ([(0, 0), (0, 1)], (4, 0), [(0, 0), (0, 1)]),  # one is in the other's way
            ([(0, 0), (0, 1)], (4, 4), [(0, 1), (0, 2)]),  # one makes room
            ([(0, 0), (0, 1)], (4, 3), [(0, 1), (0, 0)]),  # they change places
            ([(1, 2), (2, 1)], (3, 4), [(1, 1), (2, 1)]),  # one would walk into food, and stays
            ([(1, 1), (2, 1)], (2, 4), [(1, 1), (2, 1)]),  # the same, and is in the other's way
        ],
    )
    def test_who_wants_anothers_cell_stays_where_it_is(self, start, moves, end):
        state = field(start, [(2, 2), (4, 4)], (1, 1), (2, 2))
        moved = Foraging().step(state, tf.constant([moves]), seed_of(0)).state.place
        np.testing.assert_array_equal(tf.argmax(moved, -1)[0], [row * 5 + column for row, column in end])

    def test_relaxed_moves_go_where_draws_go_in_the_mean(self):
        env, start = Foraging(agents=3, dtype="float64"), [(0, 1), (1, 2), (1, 0)]
        state = field(start, [(2, 2), (4, 4)], (1, 1, 1), (2, 2))
        state = tf.nest.map_structure(lambda part: tf.cast(part, tf.float64), state)
        weights = np.random.default_rng(0).dirichlet(np.ones(6), 3)
        place = env.step(state, tf.constant(weights[None]), seed_of(0)).state.place[0]
        joint = np.array(list(itertools.product(range(6), repeat=3)), np.int32)
        repeated = tf.nest.map_structure(lambda part: tf.repeat(part, len(joint), 0), state)
        drawn = env.step(repeated, tf.constant(joint), seed_of(0)).state.place
        chances = np.prod(weights[np.arange(3), joint], 1)
        np.testing.assert_allclose(place, np.einsum("j,jnc->nc", chances, drawn), atol=1e-12)
        np.testing.assert_allclose(tf.reduce_sum(place, -1), 1)

    @pytest.mark.parametrize(("agents", "size"), [pytest.param(2, 8, marks=pytest.mark.slow), (3, 6), (4, 6)])
    @pytest.mark.thinned(2)
    def test_lbforaging_plays_the_same_game(self, agents, size):
        package = pytest.importorskip("lbforaging.foraging.environment")
        theirs = package.ForagingEnv(
            players=agents, min_player_level=1, max_player_level=2, min_food_level=1, max_food_level=None,
            field_size=(size, size), max_num_food=2, sight=size, max_episode_steps=50, force_coop=False,
        )  # fmt: skip
        ours = Foraging(rows=size, columns=size, agents=agents, cooperative=False)
        step = tf.function(lambda state, action: ours.step(state, action, seed_of(0)), autograph=False)
        mask = tf.function(ours.action_mask, autograph=False)
        generator, gathered = np.random.default_rng(agents), 0
        for seed in range(6):
            theirs.reset(seed=seed)
            food = np.flatnonzero(theirs.field)
            places, levels = zip(*((player.position, player.level) for player in theirs.players), strict=True)
            state = field(places, np.argwhere(theirs.field), levels, theirs.field.ravel()[food], size)
            for _ in range(50):
                valid = [[action.value for action in theirs._valid_actions[player]] for player in theirs.players]
                legal = mask(state).numpy()[0]
                np.testing.assert_array_equal(ours.observation(state)[0], theirs._make_gym_obs())
                assert [np.flatnonzero(row).tolist() for row in legal] == valid
                action = [LOAD if row[LOAD] else generator.integers(LOAD) for row in legal]
                _, rewards, done, _, _ = theirs.step(action)
                mine = step(state, tf.constant([action], tf.int32))
                cells = [np.ravel_multi_index(player.position, (size, size)) for player in theirs.players]
                np.testing.assert_array_equal(tf.argmax(mine.state.place, -1)[0], cells)
                np.testing.assert_allclose(mine.reward[0], sum(rewards), rtol=1e-6)
                gathered += bool(mine.reward[0] > 0)
                remaining = np.flatnonzero(theirs.field)
                np.testing.assert_array_equal(food[mine.state.left[0].numpy() > 0.5], remaining)
                assert bool(mine.terminated[0]) == (len(remaining) == 0)
                state = mine.state
                if done:
                    break
        assert gathered >= 4

    def test_what_is_seen_begins_with_oneself_and_leaves_out_what_is_gone(self):
        env = Foraging()
        state = field([(0, 4), (2, 1)], [(2, 2), (4, 4)], (1, 2), (3, 4))._replace(left=tf.constant([[0.0, 1.0]]))
        food, gone, first, second = [4, 4, 4], [-1, -1, 0], [0, 4, 1], [2, 1, 2]
        seen = [[*food, *gone, *first, *second], [*food, *gone, *second, *first]]
        np.testing.assert_array_equal(env.observation(state)[0], seen)

    def test_food_that_may_be_gone_is_seen_in_the_mean(self):
        env, left = Foraging(foods=3), np.array([0.3, 0.6, 0.8])
        state = field([(0, 4), (2, 1)], [(1, 1), (2, 2), (4, 4)], (1, 2), (3, 2, 1))
        drawn = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
        chances = np.prod(np.where(drawn, left, 1 - left), 1)

        def seen(left):
            repeated = tf.nest.map_structure(lambda part: tf.repeat(part, len(left), 0), state)
            return env.observation(repeated._replace(left=tf.constant(left, tf.float32)))

        np.testing.assert_allclose(seen(left[None])[0], np.einsum("d,dna->na", chances, seen(drawn)), rtol=1e-5)

    def test_relaxed_loading_is_gathered_with_the_chance_that_draws_have(self):
        env = Foraging(agents=3)
        state = field([(1, 2), (2, 1), (3, 2)], [(2, 2), (4, 4)], (1, 2, 1), (3, 9))
        chances = (0.3, 0.6, 0.8)
        action = tf.stack([q * tf.one_hot(LOAD, 6) + (1 - q) * tf.one_hot(0, 6) for q in chances])[None]
        expected = sum(
            np.prod([q if inside else 1 - q for q, inside in zip(chances, group, strict=True)])
            for group in itertools.product((0, 1), repeat=3)
            if np.dot(group, (1, 2, 1)) >= 3
        )
        np.testing.assert_allclose(1 - env.step(state, action, seed_of(0)).state.left[0, 0], expected, rtol=1e-5)

    def test_it_starts_apart_and_cooperative_food_needs_everybody(self):
        state = Foraging().initial(seed_of(3), 64)
        everything = tf.concat([state.place, state.food], 1)
        assert tf.reduce_max(tf.reduce_sum(everything, 1)).numpy() == 1.0
        np.testing.assert_array_equal(state.food_level, np.tile(tf.reduce_sum(state.level, -1)[:, None], 2))
        assert len(np.unique(state.level)) == 2
        assert len(np.unique(Foraging(cooperative=False).initial(seed_of(3), 64).food_level)) == 4

    @pytest.mark.parametrize("agents", [3, 4, 5])
    def test_food_is_as_heavy_as_lbforagings(self, agents):
        package = pytest.importorskip("lbforaging.foraging.environment")
        ours = Foraging(rows=8, columns=8, agents=agents)
        state = ours.initial(seed_of(3), 64)
        weakest = np.sort(state.level)[:, :3].sum(-1)
        np.testing.assert_array_equal(state.food_level, np.tile(weakest[:, None], 2))
        theirs = package.ForagingEnv(
            players=agents, min_player_level=1, max_player_level=2, min_food_level=None, max_food_level=None,
            field_size=(8, 8), max_num_food=2, sight=8, max_episode_steps=50, force_coop=True,
        )  # fmt: skip
        for seed in range(10):
            theirs.reset(seed=seed)
            weakest = sum(sorted(player.level for player in theirs.players)[:3])
            assert set(theirs.field[theirs.field > 0]) == {weakest}
        assert ours.observation_space.contains(ours.observation(state)[0].numpy())

    def test_food_is_numbered_from_the_top(self):
        cells = tf.argmax(Foraging(rows=8, columns=8, foods=3).initial(seed_of(3), 64).food, -1).numpy()
        assert np.all(np.diff(cells, axis=1) > 0)

    def test_food_lies_apart_and_off_the_border_where_there_is_room(self):
        state = Foraging(rows=8, columns=8, foods=3).initial(seed_of(4), 256)
        places = np.stack(np.unravel_index(tf.argmax(state.food, -1), (8, 8)), -1)  # [B, F, 2]
        assert places.min() == 1
        assert places.max() == 6
        distance = np.abs(places[:, :, None] - places[:, None]).sum(-1) + 99 * np.eye(3, dtype=int)
        assert distance.min() == 3
        crowded = Foraging(rows=2, columns=2).initial(seed_of(4), 64)
        taken = tf.concat([crowded.place, crowded.food], 1)
        np.testing.assert_array_equal(tf.reduce_sum(taken, 1), tf.ones([64, 4]))

    @pytest.mark.parametrize(
        "arguments",
        [{"agents": 6}, {"rows": 2, "columns": 2, "foods": 3}, {"rows": 1}, {"cooperative": "no"}, {"dtype": "int32"}],
    )
    def test_what_does_not_fit_is_refused(self, arguments):
        with pytest.raises(ValueError, match="Expected"):
            Foraging(**arguments)


@pytest.fixture(scope="module", params=GAMES, ids=lambda game: game.__name__)
def parallel(request):
    return ParallelEnv(request.param(), render_mode="rgb_array")


class TestPettingZoosFace:
    # Speaker and listener differ in what they see and do, as they do in PettingZoo's own, which it lets pass by name.
    @pytest.mark.filterwarnings("ignore:Agents have different:UserWarning")
    @pytest.mark.filterwarnings("ignore:Observations are different shapes:UserWarning")
    def test_its_own_checks_are_clean(self, parallel):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Of PettingZoo's own games, which it imports here.
            from pettingzoo.test import api_test, parallel_api_test
        parallel_api_test(parallel, num_cycles=40)
        api_test(pettingzoo.utils.parallel_to_aec(parallel), num_cycles=40)

    def test_the_same_seed_is_the_same_episode(self, parallel):
        def episode(seed):
            seen, _ = parallel.reset(seed=seed)
            outcomes, generator = [seen], np.random.default_rng(0)
            while parallel.agents:
                actions = {name: generator.integers(parallel.action_space(name).n) for name in parallel.agents}
                outcomes.append(parallel.step(actions)[:4])
            return outcomes

        np.testing.assert_equal(episode(3), episode(3))

    def test_everybody_is_paid_what_the_graph_says(self, parallel):
        parallel.reset(seed=1)
        functional, state = parallel.functional, parallel._stepper.state
        joint = np.arange(len(functional.agents)) % 2
        rewards = parallel.step(dict(zip(functional.agents, joint, strict=True)))[1]
        expected = functional.step(state, one_hots(functional, tf.constant(joint[None])), seed_of(0)).reward
        np.testing.assert_allclose(list(rewards.values()), np.repeat(expected, len(joint)), rtol=1e-6)

    def test_it_is_drawn(self, parallel):
        parallel.reset(seed=1)
        assert parallel.render().dtype == np.uint8
        assert ParallelEnv(parallel.functional).render() is None

    def test_a_missing_agent_and_an_unknown_render_mode_are_refused(self, parallel):
        parallel.reset(seed=1)
        with pytest.raises(ValueError, match="Expected an action of each of"):
            parallel.step({})
        with pytest.raises(ValueError, match="render_mode"):
            ParallelEnv(parallel.functional, render_mode="ansi")

    def test_masks_are_in_the_info_and_time_runs_out(self):
        env = ParallelEnv(Foraging())
        _, infos = env.reset(seed=0)
        assert infos["agent_0"]["action_mask"].tolist()[0] == 1
        for _ in range(50):
            *_, terminated, truncated, infos = env.step(dict.fromkeys(env.agents, 0))
        assert (set(terminated.values()), set(truncated.values()), env.agents) == ({False}, {True}, [])
