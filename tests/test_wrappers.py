"""Wrappers by name: the same observations in the graph and on the host, and agents that train on them compiled."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.wrappers import FrameStackObservation

import envs as own_envs  # noqa: F401  registers rlsample/...
from agents import ppo
from envs.breakout import Breakout
from envs.cartpole import CartPole
from envs.foraging import Foraging
from rlsample import networks
from rlsample.in_graph.gymnasium_faces import GymEnv, GymVectorEnv
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.runs.env_config import EnvConfig
from rlsample.wrappers import IN_GRAPH, InGraphWrappers, PreviousActionAndReward, SelectEntries
from tests.helpers_agents import small_config
from tests.helpers_envs import functional_env, random_actions, seed_of
from tests.helpers_runs import Silent

TWINS = {
    "FrameStackObservation": FrameStackObservation,
    "PreviousActionAndReward": PreviousActionAndReward,
    "SelectEntries": SelectEntries,
}
FRAMES = ("FrameStackObservation", {"stack_size": 3})
STACKS = [
    ("rlsample/CartPole-v1", [("SelectEntries", {"entries": [2, 0]})]),
    ("rlsample/CartPole-v1", [("SelectEntries", {"entries": [0, 2]}), FRAMES]),
    ("rlsample/CartPole-v1", [("FrameStackObservation", {"stack_size": 2, "padding_type": "zero"})]),
    ("rlsample/Breakout-v0", [FRAMES]),
    ("rlsample/GridWorld-v0", [("PreviousActionAndReward", {})]),
    ("rlsample/RaggedDict-v0", [("PreviousActionAndReward", {}), FRAMES]),
]


def of_stack(parameters):
    return "-".join([parameters[0].split("/")[1], *(name for name, _ in parameters[1])])


def assert_same(left, right):
    tf.nest.assert_same_structure(left, right)
    tf.nest.map_structure(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("stack", STACKS, ids=of_stack)
@pytest.mark.thinned(2)
def test_both_faces_show_the_same_in_every_step(stack):
    """Gymnasium's wrappers, and ours for environments that Python steps, are the reference."""
    env_id, wrappers = stack
    bare = functional_env(env_id)
    host = GymEnv(bare)
    for name, options in wrappers:
        host = TWINS[name](host, **options)
    graph = GymEnv(InGraphWrappers(wrappers)(bare))
    assert graph.observation_space == host.observation_space
    generator = np.random.default_rng(1)
    for episode in range(2):
        shown = [env.reset(seed=episode)[0] for env in (graph, host)]
        assert_same(*shown)
        assert graph.observation_space.contains(shown[0])
        for _ in range(5):
            action = bare.factors.to_env(random_actions(bare, 1, generator).numpy()[0])
            ours, theirs = graph.step(action), host.step(action)
            assert_same(ours[0], theirs[0])
            assert ours[1:4] == theirs[1:4]
            assert_same(ours[4], theirs[4])


def test_frames_by_hand():
    env = InGraphWrappers([FRAMES])(CartPole())
    state = env.initial(seed_of(1), 2)
    seen = [env.env.observation(state.inner).numpy()]
    for step in range(4):
        state = env.transition(state, tf.constant([0, 1]))
        seen.append(env.env.observation(state.inner).numpy())
        padded = [seen[0]] * 2 + seen
        np.testing.assert_array_equal(env.observation(state), np.stack(padded[-3:], 1), err_msg=str(step))


def test_what_was_done_before_is_forgotten_where_an_episode_begins():
    env = InGraphWrappers([("PreviousActionAndReward", {})])(CartPole())
    state = env.step(env.initial(seed_of(1), 2), tf.constant([1, 1]), seed_of(2)).state
    seen = env.observation(env.reset_where(tf.constant([True, False]), state, seed_of(3)))
    np.testing.assert_array_equal(seen["previous_action"], [[0, 0], [0, 1]])
    np.testing.assert_array_equal(seen["previous_reward"], [[0], [1]])
    assert not np.array_equal(seen["observation"][0], env.observation(state)["observation"][0])


def test_the_reward_that_is_shown_is_the_one_that_was_earned_where_it_is_drawn():
    env = InGraphWrappers([("PreviousActionAndReward", {})])(functional_env("rlsample/Bandit-v0", noise=1.0))
    step = env.step(env.initial(seed_of(1), 100), tf.zeros([100], tf.int32), seed_of(2))
    assert np.std(step.reward) > 0.1
    np.testing.assert_array_equal(step.observation["previous_reward"][:, 0], step.reward)


def test_gradients_pass_through_wrappers():
    env = InGraphWrappers([("PreviousActionAndReward", {}), FRAMES])(CartPole())
    action = tf.constant([[0.3, 0.7]])
    with tf.GradientTape() as tape:
        tape.watch(action)
        seen = env.step(env.initial(seed_of(1)), action, seed_of(2)).observation
        total = seen["observation"][0, -1, 1] + 2 * seen["previous_action"][0, -1, 0]
    np.testing.assert_allclose(tape.gradient(total, action), [[-0.195 + 2, 0.195]], atol=1e-3)


def test_the_collector_takes_trees_and_keeps_their_rows():
    env = InGraphWrappers([("PreviousActionAndReward", {})])(CartPole())
    collector = InGraphCollector(env, 3, max_episode_steps=4)

    def act(observation, mask, seed):
        return tf.cast(observation["observation"][:, 2] > 0, tf.int32)

    @tf.function(jit_compile=True)
    def collect():
        return collector.collect(act, collector.start(seed_of(1)), 9, seed_of(2))[0]

    rows = tf.nest.map_structure(lambda part: None if part is None else part.numpy(), collect())
    done = rows.terminated | rows.truncated
    assert done.any()
    for name, part in rows.observation.items():
        following = np.where(done[:-1, :, None], part[1:], rows.next_observation[name][:-1])
        np.testing.assert_array_equal(part[1:], following)
    shown = np.where(done[:-1, :, None], 0, np.eye(2)[rows.action[:-1]])
    np.testing.assert_array_equal(rows.observation["previous_action"][1:], shown)


@pytest.mark.parametrize("wrappers", [["PreviousActionAndReward"], [{"name": "SelectEntries", "entries": [0, 2]}]])
def test_a_configuration_keeps_them_in_the_compiled_program_and_they_share_it(wrappers):
    config = EnvConfig(id="rlsample/CartPole-v1", wrappers=wrappers)
    first, second = (config.make(2).unwrapped for _ in range(2))
    assert isinstance(first, GymVectorEnv)
    assert first.functional is second.functional
    assert first.single_observation_space == config.make(2, vectorization_mode="sync").single_observation_space
    first.reset(seed=1)
    saved = first.snapshot()
    outcome = first.step(np.array([0, 1]))
    second.reset(seed=2)
    second.restore(saved)
    assert_same(second.step(np.array([0, 1]))[0], outcome[0])


def test_one_that_the_graph_does_not_have_is_stepped_by_python():
    wrappers = ["PreviousActionAndReward", "FlattenObservation"]
    vector = EnvConfig(id="rlsample/CartPole-v1", wrappers=wrappers).make(2)
    assert vector.single_observation_space.shape == (4 + 2 + 1,)
    assert not isinstance(vector.unwrapped, GymVectorEnv)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["rlsample/CartPole-v1", "CartPole-v1"])
def test_ppo_with_a_memory_trains_on_them(env_id):
    network = {"name": "recurrent", "units": 5, "encoder": {"name": "mlp", "hidden_sizes": [7]}}
    config = small_config("ppo", env=env_id, network=network, agent={"jit_compile": False})
    env = EnvConfig(id=env_id, num_envs=config.env.num_envs, wrappers=["PreviousActionAndReward"])
    run = Silent()
    policy = ppo.train(config.model_copy(update={"env": env}), run)
    assert np.isfinite(run.records[-1]["losses/policy"])
    observation = env.make(1).single_observation_space.sample()
    action, _ = policy.act(observation)
    assert action in (0, 1)


def test_frames_of_planes_are_an_image():
    space = InGraphWrappers([FRAMES])(Breakout()).observation_space
    network = networks.create().fitted(space)
    assert network.name == "convolutional"
    model = networks.model_of(network, space)
    assert model(tf.zeros([2, 3, 10, 10, 4])).shape[0] == 2
    kernels = [weight.shape for weight in model.trainable_variables]
    assert kernels[0] == (3, 3, 12, 16)


def test_every_name_in_the_graph_has_its_twin():
    assert set(IN_GRAPH) == set(TWINS)


@pytest.mark.parametrize(
    ("wrappers", "message"),
    [
        ([("SelectEntries", {"entries": [0, 4]})], r"whole numbers from 0 to 3. Received: entries=\[0, 4\]"),
        ([("SelectEntries", {"entries": []})], "list of whole numbers from 0 to 3"),
        ([("SelectEntries", {"entries": "02"})], "list of whole numbers from 0 to 3"),
        ([("SelectEntries", {"entry": 1})], r"Expected options of the wrapper 'SelectEntries'. Received: .*'entry': 1"),
        ([FRAMES, ("SelectEntries", {"entries": [0]})], r"a vector, a Box of shape \(n,\)"),
        ([("FrameStackObservation", {"stack_size": 0})], "stack_size to be a whole number >= 1"),
        ([("FrameStackObservation", {"stack_size": 2, "padding_type": "zeros"})], "Did you mean 'zero'"),
    ],
)
def test_options_that_do_not_fit_are_told(wrappers, message):
    with pytest.raises(ValueError, match=message):
        InGraphWrappers(wrappers)(CartPole())


def test_select_entries_of_a_host_environment_checks_too():
    with pytest.raises(ValueError, match=r"Expected entries to be a list .* from 0 to 3"):
        SelectEntries(gym.make("CartPole-v1"), entries=[7])


def test_several_agents_are_not_wrapped():
    with pytest.raises(ValueError, match=r"Expected an environment of one agent in a wrapper.*env=.*Foraging"):
        InGraphWrappers([FRAMES])(Foraging())
