"""Masks from wherever an environment puts them: in training, in evaluation and in `act`, nothing illegal is drawn."""

from __future__ import annotations

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from agents import relaxed_actor_critic
from rlsample import samplers, spaces
from rlsample.rollouts.environments.masks import ActionMasks
from rlsample.rollouts.evaluation import play_episodes
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.several_agents.policy import JointPolicy
from rlsample.runs import EnvConfig, config_from_dict, evaluate
from tests.helpers_runs import Silent

BOX = gym.spaces.Box(0.0, 9.0, (2,))


class Counting(gym.Env):
    """Only action (2 t + offset) mod 5 is legal after t steps; an illegal one is an error. Three or four steps.

    The time is not in the observation: without the mask nobody knows.
    """

    action_space = gym.spaces.Discrete(5, start=3)

    def __init__(self, convention="info", ends="terminated"):
        self.convention, self.ends = convention, ends
        self.observation_space = BOX
        if convention == "observation":
            self.observation_space = gym.spaces.Dict({"action_mask": gym.spaces.MultiBinary(5), "x": BOX})

    def mask(self):
        return (np.arange(5) == (2 * self.time + self.offset) % 5).astype(np.int8)

    def _look(self):
        seen = np.zeros(2, np.float32)
        if self.convention == "observation":
            seen = {"x": seen, "action_mask": self.mask()}
        return seen, {"action_mask": self.mask()} if self.convention == "info" else {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.offset, self.length = 0, int(self.np_random.integers(5)), int(self.np_random.integers(3, 5))
        return self._look()

    def step(self, action):
        if not self.mask()[action - 3]:
            raise AssertionError(f"illegal action {action}")
        self.time += 1
        over = self.time == self.length
        done = (over, False) if self.ends == "terminated" else (False, over)
        return self._look()[0], 1.0, *done, self._look()[1]


class Method(Counting):
    def action_masks(self):
        return self.mask().astype(bool)


def make(convention, ends="terminated"):
    if convention == "method":
        return gym.wrappers.TransformReward(Method("none", ends), lambda reward: reward)  # through a wrapper
    if convention == "function":
        return ActionMasks(Counting("none", ends), lambda env: env.unwrapped.mask())
    return Counting(convention, ends)


CONVENTIONS = ("info", "observation", "method", "function")
VECTORS = {"sync": SyncVectorEnv, "async": functools.partial(AsyncVectorEnv, shared_memory=False)}
FACTORS = spaces.factorise(Counting.action_space)


@pytest.mark.parametrize("ends", ["terminated", "truncated"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_collecting_draws_what_is_legal_and_keeps_the_mask(convention, mode, ends):
    envs = SyncVectorEnv([functools.partial(make, convention, ends)] * 3, autoreset_mode=mode)
    collector = GymnasiumCollector(envs, FACTORS, seed=1)
    steps = collector.collect(lambda features, mask: mask.argmax(-1).astype(np.int32), 12)
    seen = steps.observation["x"] if convention == "observation" else steps.observation
    assert seen.shape == (12, 3, 2)  # the mask is no feature
    assert (steps.mask.sum(-1) == 1)[steps.valid].all()
    inner = steps.valid & ~steps.terminated & ~steps.truncated
    assert (steps.next_mask.sum(-1) == 1)[inner].all()
    cut = steps.valid & steps.truncated
    if ends == "truncated" and not (convention == "method" and mode == AutoresetMode.SAME_STEP):
        # A method cannot be asked about a state that is gone.
        assert (steps.next_mask.sum(-1) == 1)[cut].all()


@pytest.mark.parametrize("vector", sorted(VECTORS))
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.thinned(2)
def test_evaluating_draws_what_is_legal(convention, vector):
    envs = VECTORS[vector]([functools.partial(make, convention)] * 2)
    policy = Policy(envs.single_observation_space, Counting.action_space, samplers.create("categorical"))
    for deterministic in (True, False):
        outcome = play_episodes(policy, envs, 4, seed=2, deterministic=deterministic)
        assert set(outcome.returns) <= {3.0, 4.0}
    envs.close()


@pytest.mark.slow
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_agent_trains_and_is_judged_without_an_illegal_action(convention):
    name = f"Masks-{convention}-v0"
    gym.register(name, functools.partial(make, convention))
    agent = {"name": "relaxed_actor_critic", "batch_size": 4, "warmup_steps": 8}
    settings = {"agent": agent, "env": {"id": name, "num_envs": 2}, "total_steps": 80, "evaluation": {"episodes": 2}}
    settings["network"] = {"hidden_sizes": [4]}
    try:
        config = config_from_dict(settings, agents={"relaxed_actor_critic": relaxed_actor_critic.Config})
        policy = relaxed_actor_critic.train(config, Silent())
        assert evaluate(policy, config).mean_return >= 3
    finally:
        del gym.registry[name]


class Both(gym.Env):
    """Two agents, each with a mask in what it sees; or one without. An illegal action is an error."""

    def __init__(self, kind="dict", second=True):
        self.kind, self.second, self.sizes = kind, second, (2, 3)
        masked = [gym.spaces.Dict(x=BOX, action_mask=gym.spaces.MultiBinary(size)) for size in self.sizes]
        actions = [gym.spaces.Discrete(size, start=1) for size in self.sizes]
        self.observation_space = self._joined([masked[0], masked[1] if second else BOX], gym.spaces)
        self.action_space = self._joined(actions, gym.spaces)

    def _joined(self, parts, module=None):
        if self.kind == "dict":  # in another order than that of the names
            parts = dict(zip(("right", "left"), parts, strict=True))
            return module.Dict(parts, sort_keys=False) if module else parts
        return module.Tuple(parts) if module else tuple(parts)

    def _look(self):
        self.masks = [np.arange(size) == self.np_random.integers(size) for size in self.sizes]
        seen = [{"x": np.zeros(2, np.float32), "action_mask": mask.astype(np.int8)} for mask in self.masks]
        return self._joined([seen[0], seen[1] if self.second else seen[1]["x"]])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._look(), {}

    def step(self, action):
        chosen = action.values() if self.kind == "dict" else action
        for mask, index in list(zip(self.masks, chosen, strict=True))[: 1 + self.second]:
            assert mask[index - 1]
        self.time += 1
        return self._look(), 1.0, self.time == 3, False, {}


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("kind", ["dict", "tuple"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.thinned(3)
def test_masks_inside_of_what_each_agent_sees_hold(kind, second, mode):
    envs = SyncVectorEnv([functools.partial(Both, kind, second)] * 2, autoreset_mode=mode)
    for make_policy in (Policy, JointPolicy):
        policy = make_policy(envs.single_observation_space, envs.single_action_space, samplers.create("categorical"))
        assert not any("mask" in name for name in nest_names(policy.observation_space))
        observations, _ = envs.reset(seed=1)
        assert len(policy.act(observations, seed=2)) == 2
        for deterministic in (True, False):
            assert play_episodes(policy, envs, 4, seed=2, deterministic=deterministic).returns == (3.0,) * 4
    collector = GymnasiumCollector(envs, policy.factors, seed=0)
    steps = collector.collect(lambda features, mask: mask.argmax(-1).astype(np.int32), 8)
    assert (steps.mask[steps.valid].sum(-1) == [1, 1 if second else 3]).all()


def nest_names(space):
    names = list(space) if isinstance(space, gym.spaces.Dict) else []
    parts = space.spaces.values() if names else getattr(space, "spaces", ())
    return names + [name for part in parts for name in nest_names(part)]


def test_act_reads_the_entry_of_dict_observations():
    space = Counting("observation").observation_space
    policy = Policy(space, Counting.action_space, samplers.create("categorical"))
    assert set(policy.observation_space) == {"x"}
    masks = np.eye(5, dtype=np.int8)
    observations = {"x": np.zeros((5, 2), np.float32), "action_mask": masks}
    np.testing.assert_array_equal(policy.act(observations), 3 + np.arange(5))
    np.testing.assert_array_equal(policy.act(observations, seed=1), 3 + np.arange(5))
    np.testing.assert_array_equal(policy.act(observations, mask=masks[::-1]), 3 + np.arange(5)[::-1])


class Odd(gym.Env):
    """Only odd actions are legal at odd times, and even ones at even times."""

    observation_space = gym.spaces.Dict({"action_mask": gym.spaces.MultiBinary(4), "x": gym.spaces.Box(0.0, 9.0, (1,))})
    action_space = gym.spaces.Discrete(4)

    def _look(self):
        return {
            "action_mask": (np.arange(4) % 2 == self.time % 2).astype(np.int8),
            "x": np.full(1, self.time, np.float32),
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._look(), {}

    def step(self, action):
        assert action % 2 == self.time % 2
        self.time += 1
        return self._look(), 1.0, False, self.time == 5, {}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    "wrappers", [["PreviousActionAndReward"], [{"name": "FrameStackObservation", "stack_size": 2}]], ids=str
)
def test_masks_in_what_is_observed_stay_masks_within_wrappers(wrappers, mode):
    if "Odd-v0" not in gym.registry:
        gym.register("Odd-v0", Odd)
    envs = EnvConfig(id="Odd-v0", num_envs=2, wrappers=wrappers).make(vector_kwargs={"autoreset_mode": mode})
    collector = GymnasiumCollector(envs, spaces.factorise(Odd.action_space), seed=0)
    rows = collector.collect(lambda observation, mask: mask.argmax(-1).astype(np.int32), 14)
    envs.close()
    assert "action_mask" not in str(collector.observation)
    for time in range(4):
        np.testing.assert_array_equal(rows.mask[time], [np.arange(4) % 2 == time % 2] * 2)
    cut = rows.truncated & rows.valid
    assert cut.any()
    np.testing.assert_array_equal(rows.next_mask[cut], [np.arange(4) % 2 == 1] * cut.sum())
