"""Policies as SavedModels: the same actions and probabilities in a process that does not know the library."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from envs.foraging import Foraging
from rlsample import runs, samplers
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.rollouts.several_agents.remembering import joint_policy_for
from tests.helpers_agents import small_config

BOX = gym.spaces.Box(-1.0, 1.0, (2, 3))
NESTED = gym.spaces.Dict(
    pair=gym.spaces.Tuple([gym.spaces.Discrete(3, start=2), gym.spaces.MultiBinary(2)]),
    kinds=gym.spaces.MultiDiscrete([2, 3], start=[1, 0]),
    picture=gym.spaces.Box(0, 255, (2, 2), np.uint8),
)
SPACES = {
    "plain": (BOX, gym.spaces.Discrete(3, start=5)),
    "ragged": (NESTED, gym.spaces.MultiDiscrete([2, 4], start=[0, 1])),
    "nested": (BOX, gym.spaces.Dict(steer=gym.spaces.Discrete(3, start=-1), boost=gym.spaces.MultiBinary((2, 1)))),
}


def flat(space, tree):
    """Leaves of a batch of actions, in the order of the space."""
    if isinstance(space, gym.spaces.Dict):
        return [leaf for key, part in space.spaces.items() for leaf in flat(part, tree[key])]
    if isinstance(space, gym.spaces.Tuple):
        return [leaf for pair in zip(space.spaces, tree, strict=True) for leaf in flat(*pair)]
    return [tree]


@pytest.mark.parametrize("name", SPACES)
def test_the_file_acts_as_the_policy_does(name, tmp_path):
    observation_space, action_space = SPACES[name]
    policy = Policy(observation_space, action_space, samplers.create("straight_through"), hidden_sizes=[4])
    policy.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    batch = gym.vector.utils.batch_space(observation_space, 7)
    batch.seed(0)
    observations = batch.sample()
    outcome = served.serve(*tf.nest.flatten(observations))
    np.testing.assert_allclose(outcome["probabilities"], policy.action_probabilities(observations), atol=1e-6)
    actions = policy.act(observations)
    keys = [f"action_{key}" for key in actions] if isinstance(actions, dict) else ["action"]
    assert set(outcome) == {*keys, "probabilities"}
    for key, expected in zip(keys, flat(action_space, actions), strict=True):
        np.testing.assert_array_equal(outcome[key], expected)
        assert outcome[key].dtype == expected.dtype
    legal = policy.factors.mask(None, 7)
    legal = np.ones((7, *policy.factors.event_shape), bool) if legal is None else legal.copy()
    legal[..., 0] = False
    masked = served.serve_masked(*tf.nest.flatten(observations), legal)
    np.testing.assert_allclose(masked["probabilities"], policy.action_probabilities(observations, legal), atol=1e-6)
    assert not masked["probabilities"].numpy()[~legal].any()


def test_a_memory_is_an_input_and_an_output(tmp_path):
    observation_space, action_space = SPACES["ragged"]
    network = {"name": "recurrent", "units": 4}
    policy = policy_for(observation_space, action_space, samplers.create("straight_through"), network)
    policy.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    batch = gym.vector.utils.batch_space(observation_space, 7)
    batch.seed(0)
    found, expected = np.zeros((7, policy.state_size), np.float32), None
    for _ in range(3):
        observations = batch.sample()
        probabilities = policy.action_probabilities(observations, state=expected)
        actions, expected = policy.act(observations, state=expected)
        outcome = served.serve(*tf.nest.flatten(observations), found)
        found = outcome["state"]
        assert np.abs(found).max() > 0
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(outcome["probabilities"], probabilities, atol=1e-6)
        np.testing.assert_array_equal(outcome["action"], actions)


@pytest.mark.parametrize("network", ["mlp", "recurrent"])
@pytest.mark.thinned(2)
def test_several_agents(network, tmp_path):
    game = Foraging(foods=1)
    spaces_of_it = game.observation_space, game.action_space
    policy = joint_policy_for(*spaces_of_it, samplers.create("exact"), network, hidden_sizes=[4])
    policy.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    observations = np.random.default_rng(0).normal(size=(3, *game.observation_space.shape)).astype(np.float32)
    state = [np.zeros((3, policy.state_size), np.float32)] if policy.state_size else []
    outcome = served.serve(observations, *state)
    np.testing.assert_allclose(outcome["probabilities"], policy.action_probabilities(observations), atol=1e-6)
    actions = policy.act(observations)[0] if state else policy.act(observations)
    assert len(actions) == 2
    for name, action in actions.items():
        np.testing.assert_array_equal(outcome[f"action_{name}"], action)


CODE = """
import json, sys
import numpy as np
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
observations = np.array(json.loads(sys.argv[2]), np.float32)
found = served.signatures["serving_default"](tf.constant(observations))
assert not [name for name in sys.modules if name.split(".")[0] in ("rlsample", "gymnasium")]
print(json.dumps([found["action"].numpy().tolist(), found["probabilities"].numpy().tolist()]))
"""


def test_a_run_is_served_without_the_library(tmp_path):
    run = runs.train(small_config("ppo", evaluation={"episodes": 2}), tmp_path / "run", progress=False)
    run.policy.export(tmp_path / "served")
    space = run.policy.observation_space
    observations = np.random.default_rng(0).normal(size=(5, *space.shape)).astype(np.float32)
    words = [str(tmp_path / "served"), json.dumps(observations.tolist())]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    actions, probabilities = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_array_equal(actions, run.policy.act(observations))
    np.testing.assert_allclose(probabilities, run.policy.action_probabilities(observations), atol=1e-6)


WIDEST = np.finfo(np.float32).max
WIDE = {
    "float32": gym.spaces.Box(-WIDEST, WIDEST, (40,)),
    "float64": gym.spaces.Box(-np.finfo(np.float64).max, np.finfo(np.float64).max, (3,), np.float64),
    "uint32": gym.spaces.Box(0, 2**32 - 1, (3,), np.uint32),
    "int64": gym.spaces.Box(0, np.iinfo(np.int64).max, (2,), np.int64),
    "int64 above": gym.spaces.Box(1000, 1005, (2,), np.int64),
    "keys": gym.spaces.Dict({"höhe": BOX, "walker/joints": gym.spaces.Box(-1.0, 1.0, (2,))}),
}


@pytest.mark.parametrize("name", WIDE)
def test_however_wide_the_bounds_and_whatever_the_keys(name, tmp_path):
    policy = Policy(WIDE[name], gym.spaces.Discrete(2), samplers.create("categorical"))
    policy.export(tmp_path / "served")
    parts = dict(WIDE[name].spaces) if isinstance(WIDE[name], gym.spaces.Dict) else WIDE[name]
    ones = tf.nest.map_structure(lambda part: np.clip(np.ones((2, *part.shape)), part.low, part.high), parts)
    batch = tf.nest.map_structure(lambda one, part: one.astype(part.dtype), ones, parts)
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.serve(*tf.nest.flatten(batch))["probabilities"]
    np.testing.assert_allclose(found, policy.action_probabilities(batch), atol=1e-6)


def test_two_parts_of_an_action_of_one_name_are_refused(tmp_path):
    inner = gym.spaces.Dict(b=gym.spaces.Discrete(2))
    policy = Policy(BOX, gym.spaces.Dict(a=inner, a_b=gym.spaces.Discrete(3)), samplers.create("categorical"))
    with pytest.raises(
        ValueError, match=r"Expected parts of the action whose names differ\. Received: twice='action_a_b"
    ):
        policy.export(tmp_path / "served")
    assert not (tmp_path / "served").exists()


def test_what_is_observed_has_names_for_keys():
    space = gym.spaces.Dict({0: gym.spaces.Discrete(3), 1: BOX})
    with pytest.raises(ValueError, match=r"Expected names as the keys of what is observed\. Received: key=0"):
        Policy(space, gym.spaces.Discrete(2), samplers.create("categorical"))
