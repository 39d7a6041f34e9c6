"""Environments that break their promises: named, with the step, the action and their own traceback."""

from __future__ import annotations

import ctypes
import itertools
import os
import queue
import re
import signal
import threading
import time

import gymnasium as gym
import numpy as np
import pytest

from agents import ppo, relaxed_actor_critic
from rlsample import spaces
from rlsample.rollouts.environments import hanging
from rlsample.rollouts.environments.faults import EnvironmentFault, UnusableStepError
from rlsample.rollouts.environments.guard import fitting
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.runs import EnvConfig, Run, config_from_dict, evaluate
from scripts import train
from tests.helpers_runs import Silent

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")
BOX = gym.spaces.Box(-1.0, 1.0, (2,))


class Faulty(gym.Env):
    """Pays 1 for ten steps; its third step does what `fault` says."""

    observation_space, action_space = BOX, gym.spaces.Discrete(3)

    def __init__(self, fault=None):
        self.fault = fault

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time += 1
        outcome = [np.zeros(2, np.float32), 1.0, self.time == 10, False, {}]
        if self.time == 3 and self.fault is not None:
            outcome = self.fault(outcome)
        return tuple(outcome)


def replaced(place, value):
    def fault(outcome):
        outcome[place] = value
        return outcome

    return fault


def raising(outcome):
    raise ZeroDivisionError("the door is jammed")


def dying(outcome):
    os.kill(os.getpid(), signal.SIGKILL)


if "Faulty-v0" not in gym.registry:
    gym.register("Faulty-v0", Faulty)


def collected(fault, steps=5, mode="sync"):
    envs = EnvConfig(id="Faulty-v0", num_envs=2, vectorization_mode=mode).make(fault=fault)
    try:
        collector = GymnasiumCollector(envs, spaces.factorise(Faulty.action_space), seed=0)
        return collector.collect(lambda features, mask: np.array([1, 2], np.int32), steps)
    finally:
        envs.close()


BROKEN = {
    "a string as reward": (replaced(1, "much"), "reward to be one number. Received: 'much'"),
    "two rewards": (replaced(1, np.ones(2)), r"reward to be one number. Received: array\(\[1., 1.\]\)"),
    "no flag": (replaced(2, None), "terminated to be one number. Received: None"),
    "another shape": (replaced(0, np.zeros(3)), r"observation to be of Box.*Received: an array of shape \(3,\)"),
    "a ragged list": (
        replaced(0, [[1.0], [1.0, 2.0]]),
        r"observation to be of Box.*Received: \[\[1.0\], \[1.0, 2.0\]\]",
    ),
    "words": (replaced(0, ["a", "b"]), r"observation to be of Box.*Received: \['a', 'b'\]"),
    "the old contract": (lambda outcome: outcome[:4], r"tuple \(observation, reward.*Received: 4 values"),
    "no dictionary": (replaced(4, []), r"info a dictionary. Received: 5 values"),
}


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("fault", ["a string as reward", "another shape"])
def test_wherever_it_runs(fault, mode):
    fault, message = BROKEN[fault]
    name = r"Expected Faulty-v0 \(environment [01]\) to keep to Gymnasium's contract"
    with pytest.raises(EnvironmentFault, match=rf"{name}: {message}.*in step 3, action [12]"):
        collected(fault, mode=mode)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_promise_is_named(fault):
    # Gymnasium's own checker speaks at the first step only; the fault is in the third.
    fault, message = BROKEN[fault]
    with pytest.raises(EnvironmentFault, match=rf"\(environment 0\).*{message}.*in step 3, action 1"):
        collected(fault)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_its_own_error_comes_with_its_own_traceback(mode):
    with pytest.raises(EnvironmentFault) as error:
        collected(raising, mode=mode)
    assert "ZeroDivisionError: the door is jammed, in step 3, action" in str(error.value)
    assert "in raising" in str(error.value)


def test_a_process_that_dies_is_named():
    with pytest.raises(
        EnvironmentFault, match=r"that of environment 0 ended with exit code -9.*in step 3 of all, actions \[1, 2\]"
    ):
        collected(dying, mode="async")


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    "meant",
    [
        replaced(1, np.array([1.0])),
        replaced(1, np.float32(1)),
        replaced(1, 1),
        replaced(0, [0, 0]),
        replaced(2, np.array([False])),
    ],
)
def test_what_can_be_meant_is_taken(meant, mode):
    rows = collected(meant, mode=mode)
    np.testing.assert_array_equal(rows.reward, 1)
    np.testing.assert_array_equal(rows.observation, 0)


def test_parts_of_an_observation():
    space = gym.spaces.Dict(pair=gym.spaces.Tuple([gym.spaces.Discrete(3), BOX]), flags=gym.spaces.MultiBinary(2))
    taken = fitting(space, {"pair": [np.array([2]), (0.5, -0.5)], "flags": [1, 0], "more": None})
    assert taken["pair"][0] == 2
    np.testing.assert_array_equal(taken["pair"][1], np.float32([0.5, -0.5]))
    np.testing.assert_array_equal(taken["flags"], [1, 0])
    with pytest.raises(Exception, match=r"\['pair'\]\[1\]"):
        fitting(space, {"pair": (2, np.zeros(3)), "flags": [1, 0]})


@pytest.mark.parametrize("reward", [1e38, -1e30, float("inf"), float("nan")])
def test_a_reward_too_large_to_learn_from_is_named_where_it_comes(reward):
    with pytest.raises(
        ValueError, match=r"Expected finite rewards of at most 1e\+18. Received: environment=0, reward="
    ):
        collected(replaced(1, reward))


def test_observations_outside_of_their_box_are_told_once():
    with pytest.warns(RuntimeWarning, match=r"Received: 1e\+30 at \[1\] of environment 0, outside of") as record:
        collected(replaced(0, np.array([0.0, 1e30], np.float32)), steps=30)
    assert len(record) == 1


def config(agent, fault, /, **changes):
    settings = {
        "agent": agent,
        "env": {"id": "Faulty-v0", "num_envs": 2, "vectorization_mode": "sync"},
        "total_steps": 200,
        "tracking": {"wandb": "disabled"},
    }
    modules = {"ppo": ppo.Config, "relaxed_actor_critic": relaxed_actor_critic.Config}
    config = config_from_dict(settings | changes, agents=modules)
    return config.model_copy(update={"env": Named(**config.env.model_dump(), fault=fault)})


class Named(EnvConfig):
    """An environment whose fault cannot be written in a file."""

    fault: object

    def make(self, **options):
        return super().make(**({"fault": self.fault} | options))


@pytest.mark.parametrize("agent", ["ppo", "relaxed_actor_critic"])
def test_agents_pass_it_on(agent):
    module = {"ppo": ppo, "relaxed_actor_critic": relaxed_actor_critic}[agent]
    with pytest.raises(EnvironmentFault, match="the door is jammed"):
        module.train(config(agent, raising), Silent())


def test_evaluation_names_it_too():
    class Still:
        model = None

        def act(self, observations, mask=None, seed=None):
            return np.zeros(len(observations), int)

    with pytest.raises(EnvironmentFault, match=r"Faulty-v0 \(environment 0\).*the door is jammed, in step 3, action 0"):
        evaluate(Still(), config("ppo", raising))


class Unmade(Faulty):
    """Cannot be made."""

    def __init__(self):
        raise RuntimeError("no licence")


def test_an_environment_that_cannot_be_made(tmp_path, capsys):
    gym.register("Unmade-v0", Unmade)
    try:
        words = ["agents/configs/cartpole.yaml", "env.id=Unmade-v0", "--run-dir", str(tmp_path / "run")]
        assert train.main(words) == 1
    finally:
        del gym.registry["Unmade-v0"]
    shown = capsys.readouterr().err
    assert "Expected Unmade-v0 to work. Received: RuntimeError: no licence, while it was made." in shown
    assert not (tmp_path / "run").exists()


def sleeping(outcome):
    time.sleep(60)
    return outcome


def locked(outcome):
    """Hangs where no signal reaches Python."""
    lock = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(lock)
    return outcome


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(hanging, "TICK", 0.02)
    # What answers may take its time on a busy machine.
    monkeypatch.setattr(hanging, "GRACE", 30.0)


def hung(fault, mode, seconds):
    config = EnvConfig(id="Faulty-v0", num_envs=2, vectorization_mode=mode)
    envs = config.make(fault=fault)
    envs.unwrapped.step_seconds = seconds  # Not of making it, which takes longer on a busy machine.
    began = time.monotonic()
    with pytest.raises(EnvironmentFault) as error:
        GymnasiumCollector(envs, spaces.factorise(Faulty.action_space), seed=0).collect(
            lambda features, mask: np.array([1, 2], np.int32), 5
        )
    assert time.monotonic() - began < 30
    assert not [process for process in getattr(envs, "processes", ()) if process.is_alive()]
    return str(error.value)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_one_that_hangs_is_named_with_where_it_hangs(quick, mode):
    message = hung(sleeping, mode, seconds=1.0)
    rule = r"A call took longer than the 1 s of env.step_seconds. Expected Faulty-v0 \(environment [01]\) to answer."
    assert re.match(rf"{rule} Received: nothing, in step 3, action [12]. It hung here:", message)
    assert "in sleeping" in message
    assert "hanging.py" not in message


def test_a_process_that_hangs_outside_of_python_is_ended(quick, monkeypatch):
    monkeypatch.setattr(hanging, "GRACE", 0.2)
    message = hung(locked, "async", seconds=1.0)
    assert (
        "Expected Faulty-v0 to answer. Received: nothing, environment 0, 1, in step 3 of all, actions [1, 2]" in message
    )


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_run_that_is_to_stop_waits_for_no_call_for_long(quick, mode):
    threading.Timer(0.5, hanging.hurry, [0.5]).start()
    try:
        message = hung(sleeping, mode, seconds=None)
    finally:
        hanging.hurry(None)
    assert message.startswith(
        "A call took longer than the 0.5 s for which a stop waits. Expected Faulty-v0 (environment"
    )


def test_this_process_outside_of_python_is_for_the_program_to_end(quick, monkeypatch):
    monkeypatch.setattr(hanging, "GRACE", 0.2)
    said = queue.Queue()
    monkeypatch.setattr(hanging, "end_process", said.put)
    lock = ctypes.create_string_buffer(64)
    library = ctypes.CDLL(None)
    library.pthread_mutex_lock(lock)

    def free():
        said.put(said.get(timeout=20))
        library.pthread_mutex_unlock(lock)

    thread = threading.Thread(target=free)
    thread.start()
    with pytest.raises(hanging.Overdue), hanging.Watch(None, 0.2):
        library.pthread_mutex_lock(lock)
    thread.join()
    assert said.get() == "A call took longer than the 0.2 s of env.step_seconds."


def test_slow_calls_one_after_another_are_no_hanging_one(quick):
    hanging.hurry(0.5)
    try:
        for _ in range(6):
            with hanging.Watch(None, 0.5) as watch:
                time.sleep(0.2)
            assert not watch.reason
    finally:
        hanging.hurry(None)


class Unending(Faulty):
    """Is never made."""

    def __init__(self):
        time.sleep(60)


def test_one_that_is_never_made(quick):
    gym.register("Unending-v0", Unending)
    try:
        with pytest.raises(EnvironmentFault, match=r"Expected Unending-v0 to answer.*while it was made"):
            EnvConfig(id="Unending-v0", step_seconds=1).make()
    finally:
        del gym.registry["Unending-v0"]


def test_processes_for_an_environment_written_in_tensorflow_are_refused():
    with pytest.raises(ValueError, match=r"written in TensorFlow.*Received: vectorization_mode='async'.*Leave"):
        EnvConfig(id="rlsample/CartPole-v1", num_envs=2, vectorization_mode="async").make()


@pytest.mark.parametrize("agent", ["ppo", "relaxed_actor_critic"])
@pytest.mark.parametrize("place", [0, 1], ids=["observation", "reward"])
def test_nothing_learned_is_lost_where_an_environment_gives_what_is_not_finite(agent, place, tmp_path):
    count = itertools.count()

    def late(outcome):
        value = np.nan if next(count) >= 20 else 1.0
        outcome[place] = np.full(2, value, np.float32) if place == 0 else value
        return outcome

    module = {"ppo": ppo, "relaxed_actor_critic": relaxed_actor_critic}[agent]
    small = {"ppo": {"num_steps": 16, "num_minibatches": 1}, "relaxed_actor_critic": {"steps_per_round": 16}}[agent]
    asked = config(agent, late, agent={"name": agent, "jit_compile": False, **small}, total_steps=2000)
    with Run(tmp_path / "run", asked, progress=False) as run:
        said = "Expected .*finite.*environment=.*Faulty-v0 gave it in step [0-9]+ of all, actions "
        with pytest.raises(UnusableStepError, match=said) as fault:
            module.train(asked, run)
    assert isinstance(fault.value, ValueError)
    assert (run.saved_step or 0) > 0


def test_a_mask_without_a_legal_action_is_a_fault_too():
    def stuck(outcome):
        outcome[4] = {"action_mask": np.zeros(3, np.int8)}
        return outcome

    with pytest.raises(UnusableStepError, match=r"legal.*Faulty-v0 gave it in step 3 of all, actions \[1, 2\]"):
        collected(stuck)
