"""What every environment keeps to, in the graph and at Gymnasium's faces."""

import functools
import inspect

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.utils.env_checker import check_env

from tests.helpers import MODES
from tests.helpers_envs import (
    ALL_ENVS,
    PORTS,
    assert_equal_states,
    functional_env,
    one_hots,
    random_actions,
    relaxed_actions,
    seed_of,
)

HEADINGS = [
    "Description",
    "Action Space",
    "Observation Space",
    "Starting State",
    "Rewards",
    "Episode End",
    "Information",
    "Arguments",
    "References",
    "Version History",
]

NUM_ENVS = 5
# Those that take longest to compile.
LONG = tuple(
    f"rlsample/{name}"
    for name in (
        "Acrobot-v1",
        "Asterix-v0",
        "Foraging-v0",
        "Freeway-v0",
        "MultiDiscrete-v0",
        "RaggedDict-v0",
        "SpaceInvaders-v0",
        "SpeakerListener-v0",
    )
)
COMPILED_ENVS = [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in ALL_ENVS]


@functools.cache
def programs(name, mode):
    """Step, first states and resets of an environment: traced or compiled once for all of the tests below."""
    env, wrap = functional_env(name), MODES[mode]
    return wrap(env.step), wrap(lambda seed: env.initial(seed, NUM_ENVS)), wrap(env.reset_where)


def walk(name, mode, steps=12):
    """Final state and all outputs of a random walk with resets."""
    env, (step, initial, reset_where) = functional_env(name), programs(name, mode)
    state, outputs = initial(seed_of(1)), []
    for t in range(steps):
        action = random_actions(env, NUM_ENVS, np.random.default_rng(t))
        state, *output = step(state, action, seed_of(2, t))
        outputs.append(output)
        state = reset_where(output[-1] | (t == 5), state, seed_of(2, t))
    return state, outputs


def test_registry_holds_exactly_these():
    assert sorted(name for name in gym.registry if name.startswith("rlsample/")) == sorted(ALL_ENVS)


@pytest.mark.parametrize("name", ALL_ENVS)
@pytest.mark.filterwarnings("ignore:.*A Box observation space m..imum value is -?infinity:UserWarning")
def test_check_env_is_clean(name):
    # The one warning let through is about CartPole's unbounded velocities, and Gymnasium's own CartPole earns it too.
    env = gym.make("envs:" + name)
    check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("name", ALL_ENVS)
def test_limits_and_thresholds_are_registered(name):
    spec, functional = gym.spec(name), functional_env(name)
    assert spec.max_episode_steps == functional.max_episode_steps
    if name.split("/")[1] in PORTS:
        original = gym.spec(name.split("/")[1])
        assert (spec.max_episode_steps, spec.reward_threshold) == (
            original.max_episode_steps,
            original.reward_threshold,
        )


@pytest.mark.parametrize("name", ALL_ENVS)
def test_docstring_has_gymnasiums_headings_in_order(name):
    text = inspect.getdoc(type(functional_env(name)))
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == HEADINGS


@pytest.mark.parametrize("name", COMPILED_ENVS)
@pytest.mark.thinned(2)
def test_modes_agree(name):
    state, outputs = walk(name, "eager")
    for mode in ("graph", "xla"):
        other_state, other_outputs = walk(name, mode)
        # XLA contracts a * b + c, so the last bits of the physics differ and grow along the walk.
        assert_equal_states(state, other_state, atol=2e-5)
        assert_equal_states(outputs, other_outputs, atol=2e-5)


FIXED_STARTS = tuple(
    f"rlsample/{name}-v0" for name in ("Asterix", "Bandit", "Coordination", "GridWorld", "SpaceInvaders")
)


@pytest.mark.parametrize("name", ALL_ENVS)
@pytest.mark.thinned(2)
def test_same_seed_same_walk_and_another_seed_another(name):
    env = functional_env(name)
    assert_equal_states(walk(name, "graph"), walk(name, "graph"))
    one, other = (tf.nest.flatten(env.initial(seed_of(seed), 64)) for seed in (1, 2))
    same = all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert same == (name in FIXED_STARTS)


@pytest.mark.parametrize("name", ALL_ENVS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_dtypes(name, dtype):
    env = functional_env(name, dtype=dtype)
    state = env.initial(seed_of(3), 7)
    next_state, observation, reward, terminated = env.step(
        state, random_actions(env, 7, np.random.default_rng(0)), seed_of(4)
    )
    specs = [[(leaf.shape, leaf.dtype) for leaf in tf.nest.flatten(s)] for s in (state, next_state)]
    assert specs[0] == specs[1]
    assert all(shape[0] == 7 for shape, _ in specs[0])
    assert observation.shape == (7, *env.observation_space.shape)
    assert observation.dtype == env.observation_space.dtype == dtype
    assert (reward.shape, reward.dtype) == ((7,), dtype)
    assert (terminated.shape, terminated.dtype) == ((7,), tf.bool)
    assert all(row in env.observation_space for row in observation.numpy())


@pytest.mark.parametrize("name", ALL_ENVS)
def test_a_corner_of_the_simplex_is_the_integer_action(name):
    env = functional_env(name)
    state = env.initial(seed_of(5), 16)
    indices = random_actions(env, 16, np.random.default_rng(1))
    whole, hot = (env.step(state, action, seed_of(6)) for action in (indices, one_hots(env, indices)))
    assert_equal_states(whole, hot, rtol=0, atol=0)


@pytest.mark.parametrize("name", COMPILED_ENVS)
@pytest.mark.thinned(2)
def test_gymnasiums_faces_take_one_hots(name):
    for make, width in ((gym.make, 1), (lambda env_id: gym.make_vec(env_id, num_envs=3), 3)):
        env, other = make(name), make(name)
        functional = env.unwrapped.functional
        indices = random_actions(functional, width, np.random.default_rng(2))
        one_hot, actions = one_hots(functional, indices).numpy(), functional.factors.to_env(indices)
        if width == 1:
            one_hot, actions = one_hot[0], functional.factors.to_env(indices[0])
        env.reset(seed=4)
        other.reset(seed=4)
        assert_equal_states(env.step(one_hot)[:4], other.step(actions)[:4], rtol=1e-6, atol=1e-7)


def test_gymnasiums_faces_take_relaxed_actions():
    env = gym.make("rlsample/CartPole-v1")
    env.reset()
    env.unwrapped.state = np.zeros(4, np.float32)
    observation = env.step([0.25, 0.75])[0]
    force = env.unwrapped.functional.step(np.zeros([1, 4], np.float32), [[0.25, 0.75]], seed_of(0)).observation[0]
    np.testing.assert_allclose(observation, force, rtol=1e-6, atol=1e-7)
    env.unwrapped.state = np.zeros(4, np.float32)
    np.testing.assert_allclose(observation, env.step(1)[0] / 2, rtol=1e-6)  # half the force, from rest
    for bad, message in ((np.zeros(3), r"floats of shape \('...', 2\)"), (np.zeros((1, 2)), "batch shape")):
        with pytest.raises(ValueError, match=message):
            env.step(bad)
    with pytest.raises(ValueError, match="finite states and rewards"):
        env.step([np.nan, 1.0])


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *(("eager", name) for name in ALL_ENVS),
        *(pytest.param("xla", *each.values, marks=each.marks) for each in COMPILED_ENVS),
    ],
)
@pytest.mark.thinned(2)
def test_bad_actions_make_the_reward_nan(name, mode):
    env = functional_env(name)
    state = env.initial(seed_of(7), NUM_ENVS)
    step, _, _ = programs(name, mode)
    indices = np.zeros((NUM_ENVS, *env.factors.action_shape), np.int32)
    indices[1], indices[2] = -1, env.factors.num_categories
    relaxed = relaxed_actions(env, NUM_ENVS, np.random.default_rng(2)).numpy()
    relaxed[1:3, ..., 0] = [[np.nan], [np.inf]] if relaxed.ndim == 3 else [np.nan, np.inf]
    for action in (tf.constant(indices), tf.constant(relaxed)):
        reward = step(state, action, seed_of(8)).reward.numpy()
        assert np.isfinite(reward).tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("name", ["rlsample/Acrobot-v1", "rlsample/CartPole-v1", "rlsample/MountainCar-v0"])
@pytest.mark.parametrize("mode", ["eager", "xla"])
def test_a_nan_state_makes_the_reward_nan(name, mode):
    env = functional_env(name)
    state = tf.tensor_scatter_nd_update(env.initial(seed_of(9), NUM_ENVS), [[1, 1]], [np.nan])
    step, _, _ = programs(name, mode)
    reward = step(state, tf.zeros([NUM_ENVS], tf.int32), seed_of(10)).reward.numpy()
    assert np.isnan(reward).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("name", ALL_ENVS)
def test_actions_of_a_wrong_shape_are_refused(name):
    env = functional_env(name)
    state = env.initial(seed_of(11), 2)
    wrong_event = (*env.factors.event_shape[:-1], env.factors.num_categories + 1)
    for action in (tf.zeros([2, *wrong_event]), tf.zeros([2, 9, 9, 9], tf.int32)):
        with pytest.raises(ValueError, match=r"Expected a \w+ action of shape .* Received: shape="):
            env.step(state, action, seed_of(12))


@pytest.mark.parametrize("name", ALL_ENVS)
def test_states_are_read_and_set(name):
    env = gym.make(name).unwrapped
    assert env.state is None
    env.reset(seed=1)
    saved = env.state
    assert_equal_states(saved, tf.nest.map_structure(lambda leaf: leaf[0], env.stepper.state))
    action = env.functional.factors.to_env(np.zeros(env.functional.factors.action_shape, np.int32))
    for _ in range(2):
        env.step(action)
    env.state = saved
    assert_equal_states(env.state, saved)
    fresh = gym.make(name).unwrapped
    fresh.state = saved  # no reset needed
    assert_equal_states(
        fresh.functional.observation(fresh.stepper.state)[0], env.functional.observation(env.stepper.state)[0]
    )


def test_bad_states_are_refused():
    env = gym.make("rlsample/CartPole-v1").unwrapped
    for state in ([0.0, 0.0, 0.0], [0.0, np.nan, 0.0, 0.0], [[0.0] * 4]):
        with pytest.raises(ValueError, match="Expected a finite state of shape"):
            env.state = state


@pytest.mark.parametrize("name", ALL_ENVS)
@pytest.mark.thinned(2)
def test_rendering(name):
    env = gym.make(name, render_mode="rgb_array")
    env.reset(seed=0)
    env.action_space.seed(0)
    before = env.render()
    assert before.dtype == np.uint8
    assert before.ndim == 3
    assert before.shape[2] == 3
    assert before.shape[0] % 2 == before.shape[1] % 2 == 0  # video codecs want even sides
    assert len(np.unique(before.reshape(-1, 3), axis=0)) > 1
    seen = [before]
    for _ in range(10):
        terminated = env.step(env.action_space.sample())[2]
        seen.append(env.render())
        if terminated:
            break
    assert any(not np.array_equal(before, frame) for frame in seen)
    assert gym.make(name).unwrapped.render() is None


def test_unknown_render_mode_and_options_are_refused():
    with pytest.raises(ValueError, match="Expected render_mode to be None or 'rgb_array'"):
        gym.make("rlsample/CartPole-v1", render_mode="ansi", disable_env_checker=True)
    with pytest.raises(ValueError, match="Expected no reset options"):
        gym.make("rlsample/CartPole-v1").reset(options={"low": 0.0})


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("rlsample/CartPole-v1", 2),
        ("rlsample/CartPole-v1", -1),
        ("rlsample/CartPole-v1", 0.5),
        ("rlsample/CartPole-v1", [1]),
        ("rlsample/MultiDiscrete-v0", [1, 5, 0]),
        ("rlsample/RaggedDict-v0", {"gear": 0, "pedals": np.zeros(2, np.int8), "steer": np.zeros(2, np.int64)}),
        ("rlsample/RaggedDict-v0", {"gear": 1}),
    ],
)
def test_actions_outside_the_space_are_refused(name, action):
    env = gym.make(name).unwrapped
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=r"Expected .*action.* Received: "):
        env.step(action)
    assert_equal_states(before, env.state)


def test_step_before_reset_is_refused():
    for env in (gym.make("rlsample/CartPole-v1").unwrapped, gym.make_vec("rlsample/CartPole-v1", num_envs=1)):
        with pytest.raises(gym.error.ResetNeeded):
            env.step(env.action_space.sample())


def test_equal_arguments_share_one_program_and_keep_their_own_spaces():
    one, two, other = (gym.make("rlsample/CartPole-v1", low=low).unwrapped for low in (-0.05, -0.05, -0.04))
    assert one.functional is two.functional
    assert one.functional is not other.functional
    one.action_space.seed(0)
    assert one.action_space is not two.action_space


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rlsample/CartPole-v1", {"low": 1.0, "high": 0.0}, "finite bounds with low <= high"),
        ("rlsample/Acrobot-v1", {"book_or_nips": "bok"}, "Did you mean 'book'"),
        ("rlsample/Bandit-v0", {"means": ()}, "means to be finite numbers"),
        ("rlsample/Bandit-v0", {"noise": -1.0}, "noise to be a finite number >= 0"),
        ("rlsample/Breakout-v0", {"sticky_action": 1.5}, "sticky_action to be a probability"),
        ("rlsample/GridWorld-v0", {"layout": ("S.", "G")}, "equally long rows"),
        ("rlsample/GridWorld-v0", {"layout": ("S.",)}, "one 'G'"),
        ("rlsample/GridWorld-v0", {"layout": ("S#.G",)}, "walled in"),
        ("rlsample/Identity-v0", {"num_actions": 0}, "num_actions to be a whole number >= 1"),
        ("rlsample/TMaze-v0", {"length": 200}, "length below 200, the time limit"),
    ],
)
def test_bad_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        gym.make(name, **arguments)
