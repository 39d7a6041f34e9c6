"""NaN and infinity in observations, rewards, logits and updates: told, and the weights are as they were before."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from envs.identity import Identity
from rlsample.in_graph.registration import register
from rlsample.rollouts import gymnasium_loop, in_graph_loop, on_policy
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.off_policy import from_replay, training
from rlsample.rollouts.off_policy import loop as off_policy_loop
from tests.helpers_agents import AGENTS, ALL_AGENTS, SMALL, small_config
from tests.helpers_runs import Silent

# What overflows on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

POISON = tf.Variable(0.0, trainable=False)
"""What is added to the reward, or to the observation, of the last environment."""
REWARD, OBSERVATION = tf.Variable(False, trainable=False), tf.Variable(False, trainable=False)
VALUES = [np.nan, np.inf, -np.inf]


class Poisoned(Identity):
    """An Identity that can be poisoned without another trace."""

    def _poison(self, where, like):
        last = tf.range(like.shape[0]) == like.shape[0] - 1
        return tf.where(last & where, POISON, 0.0)

    def observation(self, state, seed=None):
        observation = super().observation(state, seed)
        return observation + self._poison(OBSERVATION, observation)[:, None]

    def reward(self, state, action, next_state, seed=None):
        reward = super().reward(state, action, next_state)
        return reward + self._poison(REWARD, reward)


class PoisonedInPython(gym.Env):
    """The same, stepped by Python."""

    observation_space, action_space = gym.spaces.Box(-1.0, 1.0, (2,)), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.ones(2, np.float32), {}

    def step(self, action):
        self.time += 1
        value = POISON.numpy()
        observation = np.full(2, value if OBSERVATION.numpy() else 1, np.float32)
        return observation, float(value) if REWARD.numpy() else 1.0, self.time == 10, False, {}


register("Poisoned-v0", f"{__name__}:Poisoned", max_episode_steps=8)
if "PoisonedInPython-v0" not in gym.registry:
    gym.register("PoisonedInPython-v0", PoisonedInPython)

# The environments here are for one agent.
ALONE = [name for name in ALL_AGENTS if not name.startswith("multi_agent")]
CASES = [(name, "Poisoned-v0", compiled) for name in ALONE for compiled in (False, True)]
CASES += [(name, "PoisonedInPython-v0", False) for name in ALONE if name != "short_horizon_actor_critic"]
CASES = [case for case in CASES if not (case[2] and "jit_compile" not in SMALL[case[0]]["agent"])]


class Stopped(Silent):
    stopping = True


# All learners are built into the same loops; of each kind one is quick.
QUICK = [("ppo", "Poisoned-v0", False), ("ppo", "Poisoned-v0", True), ("dqn", "Poisoned-v0", False)]
QUICK += [(name, "PoisonedInPython-v0", False) for name in ("ppo", "relaxed_actor_critic")]
QUICK += [("short_horizon_actor_critic", "Poisoned-v0", False)]
MARKED = [pytest.param(case, marks=[pytest.mark.slow] * (case not in QUICK)) for case in CASES]


@pytest.fixture(scope="module", params=MARKED, ids=lambda case: " ".join(map(str, case)))
def turn(request):
    """The loop of an agent, and a function that takes one turn of it."""
    name, env, compiled = request.param
    loops = []
    with pytest.MonkeyPatch.context() as patch:
        kinds = {on_policy: ("InGraphLoop", "GymnasiumLoop"), training: ("OffPolicyLoop",)}
        kinds |= {from_replay: ("InGraphReplayLoop",)}
        for module, kind in ((module, kind) for module, each in kinds.items() for kind in each):
            original = getattr(module, kind)

            class Kept(original):
                def __init__(self, *arguments, **options):
                    super().__init__(*arguments, **options)
                    loops.append(self)

            patch.setattr(module, kind, Kept)
        hyper = {"jit_compile": compiled} if "jit_compile" in SMALL[name]["agent"] else {}
        config = small_config(name, env={"id": env, "num_envs": 4}, agent=hyper, total_steps=10_000)
        AGENTS.module(name).train(config, Stopped())
    (loop,) = loops
    run = Silent()
    off = isinstance(loop, off_policy_loop.OffPolicyLoop)

    def advance():
        return loop.advance(run) if off else loop.advance(2)

    advance()
    advance()
    return loop, advance


@pytest.fixture(autouse=True)
def healthy():
    yield
    for variable in (REWARD, OBSERVATION):
        variable.assign(False)


def learned(loop):
    state = loop.learner.state if isinstance(loop, off_policy_loop.OffPolicyLoop) else loop.state
    return [np.array(leaf) for leaf in tf.nest.flatten(state)]


def assert_refused(loop, advance, match):
    before = learned(loop)
    with pytest.raises((ValueError, EnvironmentFault), match=match):
        advance()
    for old, new in zip(before, learned(loop), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("where", [REWARD, OBSERVATION], ids=["reward", "observation"])
def test_what_an_environment_gives(turn, where, value):
    loop, advance = turn
    POISON.assign(value)
    where.assign(True)
    assert_refused(loop, advance, "Expected .*(finite|free of NaN)")
    assert all(np.isfinite(leaf).all() for leaf in learned(loop))


def test_logits(turn):
    loop, advance = turn
    owner = loop.learner if isinstance(loop, off_policy_loop.OffPolicyLoop) else loop
    good = owner.state
    try:
        # Finite weights of which the logits are not.
        weights, *others = tf.nest.flatten(good)
        owner.state = tf.nest.pack_sequence_as(good, [tf.sign(weights) * 3e38, *others])
        assert_refused(loop, advance, "Expected .*(finite|free of NaN)")
    finally:
        owner.state = good


def test_an_update_whose_losses_are_finite(turn, monkeypatch):
    loop, advance = turn
    for module in (in_graph_loop, gymnasium_loop):
        assert module.raise_for_divergence is off_policy_loop.raise_for_divergence
    owner = loop.learner if isinstance(loop, off_policy_loop.OffPolicyLoop) else loop
    good = owner.state
    monkeypatch.setattr(owner, "state", good)
    if isinstance(loop, off_policy_loop.OffPolicyLoop):
        learn = loop.learner.learn

        def diverging(*arguments):
            metrics = learn(*arguments)
            acting = owner.state._fields[0]
            owner.state = owner.state._replace(**{acting: getattr(owner.state, acting) * np.inf})
            return metrics

        monkeypatch.setattr(loop.learner, "learn", diverging)
    else:
        program = loop._program
        monkeypatch.setattr(loop, "_program", lambda *arguments: with_last(program(*arguments), tf.constant(False)))
    assert_refused(loop, advance, "Expected finite weights. Received: after='an update'. Training diverged")


def with_last(outcome, last):
    return (*outcome[:-1], last)
