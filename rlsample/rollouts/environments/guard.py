"""One environment that is held to Gymnasium's contract."""

from __future__ import annotations

import multiprocessing
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np

from rlsample.rollouts.environments.faults import EnvironmentFault, failure
from rlsample.rollouts.environments.hanging import Overdue

_NUMBERS = "biuf"
"""The kinds of NumPy dtypes that are numbers."""


class Guard(gym.Wrapper):
    """Names an environment whose `reset` or `step` fails, or gives what its observation space does not hold.

    A reward or a flag in an array of one element, a Python list as observation and the like are taken as what they
    mean.

    Args:
        env: the environment.
        env_id: its id.
        count: says, at each call, how many environments were made before; the index of this one. In a worker process of
            Gymnasium's the process's name says it.

    Examples:
        >>> from rlsample.rollouts.environments.guard import Guard
        >>> class Lists(gym.Wrapper):
        ...     def step(self, action):
        ...         observation, *outcome = self.env.step(action)
        ...         return observation.tolist(), *outcome
        >>> env = Guard(Lists(gym.make("CartPole-v1")), "mine/Lists-v0", count=lambda: 0)
        >>> observation, info = env.reset(seed=0)
        >>> env.step(1)[0].dtype
        dtype('float32')
    """

    def __init__(self, env: gym.Env, env_id: str, count: Callable[[], int]) -> None:
        super().__init__(env)
        worker = re.search(r"-(\d+)$", multiprocessing.current_process().name)
        index = int(worker[1]) if worker and multiprocessing.parent_process() is not None else count()
        self._name, self._steps = f"{env_id} (environment {index})", 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract.

        Raises:
            EnvironmentFault: the environment failed, or broke a promise.
        """
        when = f"in a reset after {self._steps} steps"
        try:
            outcome = self.env.reset(seed=seed, options=options)
        except (Exception, Overdue) as error:
            raise EnvironmentFault(failure(self._name, when, error)) from error
        observation, info = self._parts(outcome, 2, "observation, info", when)
        return self._fitting(observation, when), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Gymnasium's contract; errors as of `reset`."""
        self._steps += 1
        when = f"in step {self._steps}, action {action}"
        try:
            outcome = self.env.step(action)
        except (Exception, Overdue) as error:
            raise EnvironmentFault(failure(self._name, when, error)) from error
        names = "observation, reward, terminated, truncated, info"
        observation, reward, terminated, truncated, info = self._parts(outcome, 5, names, when)
        if type(reward) is not float:
            reward = self._scalar("reward", reward, when)
        flags = (self._scalar(*flag, when) for flag in (("terminated", terminated), ("truncated", truncated)))
        return self._fitting(observation, when), reward, *map(bool, flags), info

    def _parts(self, outcome: Any, count: int, names: str, when: str) -> Any:
        if not isinstance(outcome, tuple) or len(outcome) != count or not isinstance(outcome[-1], dict):
            received = f"{len(outcome)} values" if isinstance(outcome, tuple) else type(outcome).__name__
            raise self._broken(f"a tuple ({names}), info a dictionary", received, when)
        return outcome

    def _scalar(self, name: str, value: Any, when: str) -> float:
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in _NUMBERS:
            raise self._broken(f"{name} to be one number", repr(value), when)
        return float(array.reshape(()))

    def _fitting(self, observation: Any, when: str) -> Any:
        try:
            return fitting(self.observation_space, observation)
        except _Misfit as misfit:
            path, space, value = misfit.args
            raise self._broken(
                f"observation{path} to be of {space}, as the space says", _described(value), when
            ) from None

    def _broken(self, rule: str, received: str, when: str) -> EnvironmentFault:
        return EnvironmentFault(
            f"Expected {self._name} to keep to Gymnasium's contract: {rule}. Received: {received}, {when}."
        )


class _Misfit(Exception):  # noqa: N818 (never seen outside)
    """Path, space and value of the part of an observation that does not fit."""


def fitting(space: gym.Space, value: Any, path: str = "") -> Any:
    """The observation as its space has it: lists as arrays, arrays of one element as integers.

    Raises:
        _Misfit: it cannot be meant.

    Examples:
        >>> from rlsample.rollouts.environments.guard import fitting
        >>> space = gym.spaces.Dict({"place": gym.spaces.Discrete(5), "speed": gym.spaces.Box(-1.0, 1.0, (2,))})
        >>> fitting(space, {"place": np.array([3]), "speed": [0.5, 0.25]})
        {'place': 3, 'speed': array([0.5 , 0.25], dtype=float32)}
    """
    match space:
        case gym.spaces.Dict():
            if not isinstance(value, Mapping) or not space.spaces.keys() <= value.keys():
                raise _Misfit(path, space, value)
            return {key: fitting(part, value[key], f"{path}[{key!r}]") for key, part in space.spaces.items()}
        case gym.spaces.Tuple():
            if not isinstance(value, Sequence) or len(value) != len(space.spaces):
                raise _Misfit(path, space, value)
            pairs = enumerate(zip(space.spaces, value, strict=True))
            return tuple(fitting(*pair, f"{path}[{index}]") for index, pair in pairs)
        case gym.spaces.Discrete():
            if isinstance(value, (int, np.integer)):
                return value
            array = np.asarray(value)
            if array.size != 1 or array.dtype.kind not in _NUMBERS or array.reshape(()) != int(array.reshape(())):
                raise _Misfit(path, space, value)
            return int(array.reshape(()))
        case gym.spaces.Box() | gym.spaces.MultiDiscrete() | gym.spaces.MultiBinary():
            if isinstance(value, np.ndarray) and value.shape == space.shape and value.dtype.kind in _NUMBERS:
                return value
            try:
                array = np.asarray(value)
            except ValueError:  # A ragged list.
                raise _Misfit(path, space, value) from None
            if array.shape != space.shape or array.dtype.kind not in _NUMBERS:
                raise _Misfit(path, space, value)
            return array.astype(space.dtype)
    return value


def hanging_in(thread: threading.Thread) -> str:
    """The message for a thread that hangs: in which environment, and where in it, as far as its stack tells.

    Examples:
        >>> import threading
        >>> from rlsample.rollouts.environments.guard import hanging_in
        >>> hanging_in(threading.current_thread()).splitlines()[0]
        'It hangs here:'
    """
    frames = [frame for frame, _ in traceback.walk_stack(sys._current_frames()[thread.ident or 0])]
    for depth, frame in enumerate(frames):
        guard, when = frame.f_locals.get("self"), frame.f_locals.get("when")
        if isinstance(guard, Guard) and when is not None:
            below = "".join(traceback.format_stack(frames[0], limit=depth))
            return f"Expected {guard._name} to answer. Received: nothing, {when}. It hangs here:\n\n{below}"
    return f"It hangs here:\n\n{''.join(traceback.format_stack(frames[0]))}"


def _described(value: Any) -> str:
    array = value if isinstance(value, np.ndarray) else None
    return repr(value)[:200] if array is None else f"an array of shape {array.shape} and dtype {array.dtype}"
