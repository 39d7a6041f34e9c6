"""An environment that breaks its promises is named: which one, at which step, after which action, what came instead."""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample.rollouts.environments.hanging import Overdue, Watch


class EnvironmentFault(RuntimeError):  # noqa: N818 (an environment has faults)
    """An environment did not do what its spaces and Gymnasium's contract promise; the message names it.

    Examples:
        >>> from rlsample.rollouts.environments.faults import EnvironmentFault
        >>> from rlsample.rollouts.environments.guard import Guard
        >>> class Silent(gym.Wrapper):
        ...     def step(self, action):
        ...         return None
        >>> env = Guard(Silent(gym.make("CartPole-v1")), "mine/Silent-v0", count=lambda: 0)
        >>> observation, info = env.reset(seed=0)
        >>> try:
        ...     env.step(1)
        ... except EnvironmentFault as fault:
        ...     print(str(fault).partition("Received: ")[2])
        NoneType, in step 1, action 1.
    """


class UnusableStepError(EnvironmentFault, ValueError):
    """What an environment gave is of the right kind, but nothing can be learned from it: NaN, or nothing legal.

    Examples:
        >>> from rlsample.rollouts.environments import faults
        >>> issubclass(faults.UnusableStepError, ValueError)
        True
    """


@contextlib.contextmanager
def given_by(envs: gym.vector.VectorEnv, actions: Any = None) -> Iterator[None]:
    """Says of a ValueError about what an environment gave which one it was, when, and after which actions.

    Args:
        envs: where it came from; the step is that of `step`.
        actions: those of the step; None at the first reset.

    Raises:
        UnusableStepError: in the place of any ValueError.

    Examples:
        >>> from rlsample.rollouts.environments import faults
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2)
        >>> try:
        ...     with faults.given_by(envs):
        ...         raise ValueError("Expected finite observations. Received: environment=1, value=nan.")
        ... except faults.UnusableStepError as error:
        ...     print(error)
        Expected finite observations. Received: environment=1, value=nan. CartPole-v1 gave it in the first reset.
    """
    try:
        yield
    except ValueError as error:
        when = "in the first reset" if actions is None else _when(envs.unwrapped, actions)
        raise UnusableStepError(f"{error} {_id(envs.unwrapped)} gave it {when}.") from error


def step(envs: gym.vector.VectorEnv, actions: Any) -> Any:
    """`envs.step`, its failures named.

    It may take as long as the attribute `step_seconds` of `envs.unwrapped` says, where `EnvConfig.make` leaves it.

    Raises:
        EnvironmentFault: an environment failed, broke a promise, did not come back, or its process ended.

    Examples:
        >>> from rlsample.rollouts.environments import faults
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        >>> observations, info = faults.reset(envs, seed=0)
        >>> try:
        ...     faults.step(envs, np.array([0, 7]))
        ... except faults.EnvironmentFault as fault:
        ...     print(str(fault).partition("Received: ")[2].splitlines()[0])
        AssertionError: np.int64(7) (<class 'numpy.int64'>) invalid, in step 1 of all, actions [0, 7].
    """
    own = envs.unwrapped
    own.steps_taken = getattr(own, "steps_taken", 0) + 1
    return _named(envs, lambda: _when(own, actions), lambda: envs.step(actions))


def _when(envs: Any, actions: Any) -> str:
    each = actions.tolist() if isinstance(actions, np.ndarray) else actions
    return f"in step {envs.steps_taken} of all, actions {each}"


def reset(envs: gym.vector.VectorEnv, seed: int | None) -> Any:
    """`envs.reset`, its failures named; errors as of `step`.

    Examples:
        >>> from rlsample.rollouts.environments import faults
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2)
        >>> observations, info = faults.reset(envs, seed=0)
        >>> observations.shape
        (2, 4)
    """
    return _named(envs, lambda: "in the first reset", lambda: envs.reset(seed=seed))


def made(env_id: str, seconds: float | None, make: Callable[[], Any]) -> Any:
    """What `make` makes of environments, within some seconds.

    Raises:
        EnvironmentFault: it did not come back. Other errors are left as they are.

    Examples:
        >>> from rlsample.rollouts.environments import faults
        >>> faults.made("CartPole-v1", 60.0, lambda: gym.make_vec("CartPole-v1", num_envs=2)).num_envs
        2
    """
    before, watch = multiprocessing.active_children(), Watch(None, seconds)
    try:
        with watch:
            return make()
    except Overdue as error:
        for process in set(multiprocessing.active_children()).difference(before):
            process.kill()
        raise EnvironmentFault(f"{watch.reason} {failure(env_id, 'while it was made', error)}") from error


def _named(envs: gym.vector.VectorEnv, when: Callable[[], str], call: Callable[[], Any]) -> Any:
    own = envs.unwrapped
    watch = Watch(own, getattr(own, "step_seconds", None))
    try:
        # Those in TensorFlow do not hang, but compile.
        with contextlib.nullcontext() if hasattr(own, "functional") else watch:
            return call()
    except EnvironmentFault as error:
        if not watch.reason:
            raise
        _end_processes(own)
        raise EnvironmentFault(f"{watch.reason} {error}") from error
    except (EOFError, ConnectionError) as error:
        raise EnvironmentFault(_lost(own, when(), watch, str(error))) from error
    except (Exception, Overdue) as error:
        raise EnvironmentFault(f"{watch.reason} {failure(_id(own), when(), error)}".strip()) from error


def _lost(envs: Any, when: str, watch: Watch, otherwise: str) -> str:
    """The message for processes that ended: by themselves, or by the watch."""
    codes = _end_processes(envs)
    if watch.ended:
        rule = f"{watch.reason} Expected {_id(envs)} to answer."
        return f"{rule} Received: nothing, environment {', '.join(map(str, watch.ended))}, {when}. It was ended."
    ends = ", ".join(f"that of environment {i} ended with exit code {code}" for i, code in codes.items())
    hint = "A negative code is the signal that ended it; -9 is often for lack of memory."
    rule = f"Expected the processes of {_id(envs)} to live as long as the run."
    return f"{rule} Received: {ends or otherwise}, {when}. {hint}"


def _end_processes(envs: Any) -> dict[int, int]:
    """Ends the processes of a vector environment that has lost some; returns the exit codes of those by index.

    Gymnasium's own `close` would wait for the answers of the lost ones, and fail.
    """
    processes = list(getattr(envs, "processes", ()))
    for process in processes:
        process.join(timeout=0.2)
    codes = {index: process.exitcode for index, process in enumerate(processes) if process.exitcode is not None}
    for process in processes:
        process.kill()
        process.join(timeout=1.0)
    envs.closed = True
    return codes


def _id(envs: Any) -> str:
    spec = getattr(envs, "spec", None)
    return spec.id if spec is not None else type(envs).__name__


def failure(name: str, when: str, error: BaseException) -> str:
    """The message for an exception of the environment's own, or for where it hung, with the traceback below.

    Examples:
        >>> from rlsample.rollouts.environments.faults import failure
        >>> failure("mine/Maze-v0 (environment 3)", "in step 12, action 1", IndexError("no such room")).splitlines()[0]
        'Expected mine/Maze-v0 (environment 3) to work. Received: IndexError: no such room, in step 12, action 1.'
    """
    # The first frame is ours, and so is the last where it hung: the handler that interrupted it.
    below = error.__traceback__.tb_next if error.__traceback__ else None
    if isinstance(error, Overdue):
        trace = "".join(traceback.format_tb(below)[:-1])
        return f"Expected {name} to answer. Received: nothing, {when}. It hung here:\n\n{trace}"
    trace = "".join(traceback.format_exception(type(error), error, below))
    return f"Expected {name} to work. Received: {type(error).__name__}: {error}, {when}.\n\n{trace}"
