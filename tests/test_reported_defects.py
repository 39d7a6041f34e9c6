"""Faults that users met, each with what is right; the name of a test says what it was."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
import rlsample
from agents import ppo
from rlsample import heads, samplers, schedules, spaces
from rlsample.learning import losses, returns, shuffle
from rlsample.rollouts import gymnasium_collector
from rlsample.rollouts.evaluation import EvaluationStopped
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.policy import Policy
from rlsample.runs import ConfigError, config_from_dict, evaluate, evaluating, load_config, numbers
from tests.helpers_runs import Silent

LOGITS = tf.constant([[0.0, 1.0, 2.0], [2.0, 0.0, -1.0]])


class Point:
    name, dist, value = "theirs", None, "broken.package:Theirs"

    def load(self):
        raise ModuleNotFoundError("No module named 'broken'")


def test_a_broken_package_of_somebody_else_broke_the_samplers_of_ours(monkeypatch):
    monkeypatch.setattr(samplers._registry, "installed", {"theirs": Point()})
    assert samplers.create("reinmax").name == "reinmax"
    assert "theirs" in samplers.names()
    with pytest.raises(ValueError, match=r"'theirs' of the package 'broken.package:Theirs' cannot be imported: "):
        samplers.create("theirs")


def test_torchs_keywords_of_gumbel_softmax_were_unknown():
    ours = rlsample.gumbel_softmax(LOGITS, temperature=0.5, hard=True, axis=0, seed=(1, 2))
    theirs = rlsample.gumbel_softmax(LOGITS, tau=0.5, hard=True, eps=1e-10, dim=0, seed=(1, 2))
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"Expected temperature or tau, not both. Received: temperature=0.5, tau=1.0"):
        rlsample.gumbel_softmax(LOGITS, 0.5, tau=1.0)
    with pytest.raises(ValueError, match="Expected axis or dim, not both"):
        rlsample.gumbel_softmax(LOGITS, axis=0, dim=1)


@pytest.mark.parametrize("name", ["straight_through", "gumbel_softmax", "rebar"])
def test_a_temperature_per_row_with_an_axis_of_one_was_refused(name):
    sampler, flat = samplers.create(name), tf.constant([0.5, 2.0])
    plain = sampler.expectation(lambda x: x[..., 0], LOGITS, (1, 2), temperature=flat)
    column = sampler.expectation(lambda x: x[..., 0], LOGITS, (1, 2), temperature=flat[:, None])
    np.testing.assert_array_equal(plain, column)


def test_a_policy_took_no_integer_for_a_seed():
    policy = Policy(gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(4), samplers.create("categorical"))
    observations = np.zeros((5, 3), np.float32)
    np.testing.assert_array_equal(policy.act(observations, seed=7), policy.act(observations, seed=(7, 0)))


def test_a_piecewise_schedule_without_a_boundary_failed_when_called():
    with pytest.raises(ValueError, match=r"Expected at least one boundary.*One value is `constant`"):
        schedules.create({"name": "piecewise", "boundaries": [], "values": [3.0]})


def test_returns_read_values_that_do_not_count():
    never = [False, False, False]
    nan = float("nan")
    found = returns.discounted_returns([1.0, 1.0, 1.0], [nan, nan, 5.0], never, never, 0.9)
    np.testing.assert_allclose(found, [1 + 0.9 * (1 + 0.9 * 5.5), 1 + 0.9 * 5.5, 5.5], rtol=1e-6)


def test_values_were_not_clipped_without_old_ones_and_nobody_said_so():
    with pytest.raises(ValueError, match=r"Expected old_values where values are clipped. Received: clip_range=0.2"):
        losses.value_loss([1.0], [2.0], clip_range=0.2)


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.thinned(2)
def test_small_permutations_only_rotated(size):
    """Every order, as often as every other: a false failure once in a million."""
    draw = tf.function(lambda seed: shuffle.permutation(size, seed), jit_compile=True)
    orders = [tuple(draw(tf.constant([5, seed])).numpy()) for seed in range(4000)]
    counts = [orders.count(order) for order in itertools.permutations(range(size))]
    assert sum(counts) == 4000
    assert scipy.stats.chisquare(counts).pvalue > 1e-6


def test_log_prob_of_integers_asked_for_one_hots():
    policy = heads.CategoricalHead(3).distribution(LOGITS)
    expected = tf.nn.log_softmax(LOGITS)
    np.testing.assert_allclose(policy.log_prob([0, 2]), [expected[0, 0], expected[1, 2]], rtol=1e-6)


def test_another_backend_of_keras_failed_deep_inside_of_it():
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", "import rlsample"]
    error = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stderr
    assert "ImportError: Expected Keras to run on TensorFlow. Received: KERAS_BACKEND='jax'." in error


def test_a_whole_number_written_as_a_float_was_refused():
    data = {"agent": "ppo", "env": {"id": "CartPole-v1", "num_envs": 8.0}, "total_steps": 1e5}
    config = config_from_dict(data, agents={"ppo": ppo.Config})
    assert (config.total_steps, config.env.num_envs) == (100_000, 8)
    assert isinstance(config.total_steps, int)
    with pytest.raises(ConfigError, match=r"total_steps: .*1.5"):
        config_from_dict(data | {"total_steps": 1.5}, agents={"ppo": ppo.Config})


def test_a_configuration_that_is_not_there_was_called_no_path():
    with pytest.raises(ConfigError, match=r"file that is there.*Did you mean the name 'cartpole'"):
        load_config("cartpole.yaml", agents={})
    with pytest.raises(ConfigError, match=r"There are cartpole, "):
        load_config("nowhere.yaml", agents={})


def test_of_several_wrong_words_one_was_reported():
    with pytest.raises(ConfigError) as error:
        load_config("agents/configs/cartpole.yaml", ["--total_steps", "100", "seed"], agents={})
    for part in ("override='--total_steps'. Write total_steps=VALUE.", "override='100'", "override='seed'"):
        assert part in str(error.value)


def test_fewer_steps_were_taken_than_asked_for():
    run = Silent()
    agent = {"name": "ppo", "num_steps": 8, "num_minibatches": 1, "jit_compile": False}
    settings = {"agent": agent, "env": {"id": "rlsample/Identity-v0", "num_envs": 4}, "total_steps": 100}
    ppo.train(config_from_dict(settings, agents={"ppo": ppo.Config}), run)
    assert run.records[-1]["step"] == run.planned == 128


class Masked(gym.Env):
    """Two steps, never terminated; what is legal after t steps is all but action t."""

    observation_space, action_space = gym.spaces.Box(0.0, 9.0, (1,)), gym.spaces.Discrete(4)

    def _look(self):
        return np.array([self.time], np.float32), {"action_mask": np.array([i != self.time for i in range(4)], np.int8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._look()

    def step(self, action):
        self.time += 1
        return self._look()[0], 1.0, False, self.time == 2, self._look()[1]


@pytest.mark.parametrize("mode", list(gym.vector.AutoresetMode)[:2])
def test_the_mask_of_the_state_at_a_time_limit_was_forgotten(mode):
    vector = gym.vector.SyncVectorEnv([Masked] * 2, autoreset_mode=mode)
    collector = GymnasiumCollector(vector, spaces.factorise(Masked.action_space), seed=0)
    steps = collector.collect(lambda features, mask: mask.argmax(-1).astype(np.int32), 2)
    assert steps.truncated[1].all()
    np.testing.assert_array_equal(steps.next_mask[0], [[True, False, True, True]] * 2)
    np.testing.assert_array_equal(steps.next_mask[1], [[True, True, False, True]] * 2)


class Up:
    """Walks into the wall above for ever."""

    model = None

    def act(self, observations, mask=None, seed=None):
        return np.zeros(len(observations), int)


def cliff(**evaluation):
    settings = {
        "agent": "ppo",
        "env": "CliffWalking-v1",
        "total_steps": 100,
        "evaluation": {"episodes": 2, **evaluation},
    }
    return config_from_dict(settings, agents={"ppo": ppo.Config})


def test_an_episode_that_never_ends_hung_the_evaluation(monkeypatch):
    outcome = evaluate(Up(), cliff(max_episode_steps=30))
    assert outcome.returns == (-30.0, -30.0)
    assert outcome.truncated_episodes == 2
    monkeypatch.setattr(evaluating, "MAX_EPISODE_STEPS", 50)
    with pytest.warns(
        RuntimeWarning, match=r"2 of 2 episodes were cut, after 50 steps at the latest: CliffWalking-v1 has none"
    ):
        assert evaluate(Up(), cliff()).mean_return == -50


def test_training_in_an_episode_that_never_ends_said_nothing(monkeypatch):
    monkeypatch.setattr(gymnasium_collector, "ENDLESS", 20)
    endless = cliff().env.make(num_envs=2)
    collector = GymnasiumCollector(endless, spaces.factorise(endless.single_action_space), seed=0)
    with pytest.warns(RuntimeWarning, match="environment 0 has not ended in 20 steps.*max_episode_steps") as record:
        collector.collect(lambda features, mask: np.zeros(2, np.int32), 50)
    assert len(record) == 1
    assert collector.pop_episodes() == {"charts/unfinished_length": 50}
    endless.close()
    limited = cliff().env.model_copy(update={"kwargs": {"max_episode_steps": 7}}).make(num_envs=2)
    collector = GymnasiumCollector(limited, spaces.factorise(limited.single_action_space), seed=0)
    collector.collect(lambda features, mask: np.zeros(2, np.int32), 9)
    assert collector.pop_episodes()["charts/episodic_return"] == -7
    limited.close()


def test_an_evaluation_did_not_listen():
    with pytest.raises(EvaluationStopped):
        evaluate(Up(), cliff(max_episode_steps=10**6), should_stop=iter([False, False, True]).__next__)


def test_small_numbers_were_shown_with_one_decimal():
    values = [500.0, 475.25, -200, 21.46, 9.996, 1, 0.15, -0.0123, 1e-4, -1e-7, 0.0, math.nan, math.inf]
    expected = ["500.0", "475.2", "-200.0", "21.5", "10.0", "1.0", "0.15", "-0.0123", "0.0001", "0", "0", "nan", "inf"]
    assert [numbers.shown(value) for value in values] == expected


@pytest.mark.parametrize("name", ["CartPole-v9", "nothing like one"])
def test_an_unknown_environment_printed_every_id_there_is(name):
    with pytest.raises(ConfigError) as error:
        config_from_dict({"agent": "ppo", "env": name, "total_steps": 1}, agents={"ppo": ppo.Config})
    (line,) = [line for line in str(error.value).splitlines() if "Unknown environment" in line]
    nearest = line.split("The nearest of ")[1].split(": ")[1].split(". ")[0].split(", ")
    assert len(nearest) == 3
    assert set(nearest) <= set(gym.registry)
    assert "--import MODULE" in line
