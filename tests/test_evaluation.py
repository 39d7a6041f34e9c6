from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents import ppo
from rlsample.rollouts import evaluation
from rlsample.rollouts.evaluation import play_episodes
from rlsample.runs import EnvConfig, config_from_dict, evaluate


class Lengths(gymnasium.Env):
    """Episodes of 1 or 30 steps, by chance; reward 1 a step, but -1000 for an illegal action.

    What is legal changes with every step; nothing is, at the end.
    """

    observation_space = gymnasium.spaces.Box(0.0, 100.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(3, start=5)

    def _look(self):
        mask = np.zeros(3, dtype=np.int8)
        mask[self.time % 3] = self.time < self.length
        return np.array([self.time], np.float32), {"action_mask": mask}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.length = 0, int(self.np_random.choice([1, 30]))
        return self._look()

    def step(self, action):
        reward = 1.0 if action - 5 == self.time % 3 else -1000.0
        self.time += 1
        return self._look()[0], reward, self.time == self.length, False, self._look()[1]


class FirstLegal:
    model: keras.Model

    def __init__(self):
        self.seeds = []

    def act(self, observations, mask=None, seed=None):
        assert mask.dtype == bool
        assert mask.shape == (len(observations), 3)
        assert mask.any(axis=-1).all()
        self.seeds.append(seed)
        return 5 + np.argmax(mask, axis=-1)


def played_alone(num_envs: int, episodes: int, seed: int) -> list[float]:
    """Returns of each environment's first episodes, one environment at a time."""
    returns = []
    for index in range(num_envs):
        env = Lengths()
        for episode in range(episodes // num_envs + (index < episodes % num_envs)):
            env.reset(seed=seed + index if episode == 0 else None)
            returns.append(float(env.length))
    return returns


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(("num_envs", "episodes"), [(4, 4), (4, 21), (3, 2), (1, 5)])
def test_each_environments_first_episodes_count_however_long_they_are(mode, num_envs, episodes):
    envs = SyncVectorEnv([Lengths] * num_envs, autoreset_mode=mode)
    outcome = evaluation.play_episodes(FirstLegal(), envs, episodes, seed=7)
    expected = played_alone(num_envs, episodes, seed=7)
    assert list(outcome.returns) == expected
    assert outcome.episodes == episodes
    assert outcome.mean_return == pytest.approx(np.mean(expected))
    assert outcome.std_return == pytest.approx(np.std(expected))


def test_noise_enters_only_when_asked():
    envs = SyncVectorEnv([Lengths] * 2)
    quiet, noisy = FirstLegal(), FirstLegal()
    evaluation.play_episodes(quiet, envs, 2, seed=1)
    evaluation.play_episodes(noisy, envs, 2, seed=1, deterministic=False)
    assert set(quiet.seeds) == {None}
    seeds = {tuple(seed.numpy()) for seed in noisy.seeds}
    assert len(seeds) == len(noisy.seeds)


def test_native_vector_environments_are_played_to_their_end():
    class Right:
        def act(self, observations, mask=None, seed=None):
            assert mask is None
            return np.ones(len(observations), dtype=np.int64)

    envs = gymnasium.make_vec("CartPole-v1", 5)
    outcome = evaluation.play_episodes(Right(), envs, 7, seed=3)
    envs.close()
    assert len(outcome.returns) == 7
    assert all(7 <= value <= 12 for value in outcome.returns)


def test_environments_that_do_not_reset_themselves_are_refused():
    envs = SyncVectorEnv([Lengths], autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="reset themselves"):
        evaluation.play_episodes(FirstLegal(), envs, 1, seed=1)


def test_a_number_of_episodes_is_checked():
    with pytest.raises(ValueError, match="episodes"):
        evaluation.play_episodes(FirstLegal(), SyncVectorEnv([Lengths]), 0, seed=1)


@pytest.mark.parametrize("own", [50, 1000])
@pytest.mark.parametrize("asked", [200, 800, None])
@pytest.mark.parametrize("mode", [None, "sync"])
def test_of_two_limits_the_lower_one_ends_an_episode(own, asked, mode):
    env = EnvConfig(id="MountainCar-v0", kwargs={"max_episode_steps": own}, vectorization_mode=mode)
    envs = env.make(num_envs=2, max_episode_steps=asked)
    policy = SimpleNamespace(model=None, act=lambda seen, mask=None, seed=None: np.ones(len(seen), int))
    try:
        outcome = play_episodes(policy, envs, episodes=2, seed=0)
    finally:
        envs.close()
    assert outcome.max_length == -outcome.mean_return == min(own, asked or own)


def test_an_environment_that_ends_its_episodes_itself_is_not_said_to_be_endless(monkeypatch, recwarn):
    class Short(gymnasium.Wrapper):
        def step(self, action):
            observation, reward, *_ = self.env.step(action)
            return observation, reward, False, True, {}

    gymnasium.register("Short-v0", lambda: Short(gymnasium.make("CliffWalking-v1").unwrapped))
    config = config_from_dict({"agent": "ppo", "env": "Short-v0", "total_steps": 100}, agents={"ppo": ppo.Config})
    policy = SimpleNamespace(model=None, act=lambda seen, mask=None, seed=None: np.zeros(len(seen), int))
    outcome = evaluate(policy, config, episodes=2)
    gymnasium.registry.pop("Short-v0")
    assert (outcome.truncated_episodes, outcome.max_length) == (2, 1)
    assert not [each for each in recwarn if "episodes were cut" in str(each.message)]
