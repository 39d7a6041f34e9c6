"""Calls of environments that do not come back: interrupted after a time, so that they can be named.

    with Watch(envs, seconds=600.0) as watch:
        envs.step(actions)

A thread looks at what is under way. What takes too long gets a signal, which raises `Overdue` where it hangs, in this
process or in one of an environment's own. A process that stays silent all the same, in code of another language, is
killed; where it is this process, only its end is left, and `end_process` decides about it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any, NamedTuple

TICK = 0.25
"""Seconds between two looks."""

GRACE = 3.0
"""Seconds that an interrupted call has to end, before its process is ended."""

_SIGNAL = getattr(signal, "SIGALRM", None)


class Overdue(BaseException):
    """Raised inside a call that takes too long. No `Exception`, which an environment may catch and go on.

    Examples:
        >>> from rlsample.rollouts.environments.hanging import Overdue
        >>> issubclass(Overdue, Exception)
        False
    """


class Watch:
    """A call of environments, from entering to leaving.

    Args:
        envs: a vector environment; None while it is made.
        seconds: how long it may take; None for ever, unless somebody is in a `hurry`.

    Attributes:
        reason: why it was interrupted, a sentence; empty if it was not.
        ended: indices of the environments whose processes were killed for it.

    Examples:
        >>> import time
        >>> from rlsample.rollouts.environments.hanging import Overdue, Watch
        >>> watch = Watch(None, seconds=0.1)
        >>> try:
        ...     with watch:
        ...         time.sleep(60)
        ... except Overdue:
        ...     print(watch.reason)
        A call took longer than the 0.1 s of env.step_seconds.
    """

    def __init__(self, envs: Any, seconds: float | None) -> None:
        self.reason, self.ended = "", list[int]()
        self._envs, self._seconds = envs, seconds
        self._tried, self._next_at = 0, 0.0

    def __enter__(self) -> Watch:
        """Begins to watch."""
        _start()
        self._began, self._thread = time.monotonic(), threading.current_thread()
        _under_way[id(self)] = self
        return self

    def __exit__(self, *error: object) -> None:
        """Watches no more."""
        _under_way.pop(id(self), None)

    @property
    def interrupts(self) -> bool:
        """Whether it is to be interrupted in the thread that asks."""
        return bool(self.reason) and self._thread is threading.current_thread()

    def look(self, now: float) -> None:
        """Takes the next means if it is time to."""
        if not self.reason:
            if self._seconds is not None and now >= self._began + self._seconds:
                self.reason = f"A call took longer than the {self._seconds:g} s of env.step_seconds."
            elif _hurry is not None and now >= max(self._began, _hurry.since) + _hurry.seconds:
                self.reason = f"A call took longer than the {_hurry.seconds:g} s for which a stop waits."
            else:
                return
        means = (self._interrupt, self._end)
        if now >= self._next_at and self._tried < len(means):
            self._tried, self._next_at = self._tried + 1, now + GRACE
            means[self._tried - 1]()

    def _interrupt(self) -> None:
        silent = self._silent()
        for process in silent.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, _SIGNAL) if _SIGNAL else process.kill()
        if not silent and _SIGNAL and self._thread is threading.main_thread():
            signal.pthread_kill(self._thread.ident or 0, _SIGNAL)

    def _end(self) -> None:
        silent = self._silent()
        self.ended = list(silent)
        for process in silent.values():
            process.kill()
        if not hasattr(self._envs, "processes"):
            end_process(self.reason)

    def _silent(self) -> dict[int, Any]:
        """The environments' own processes that have not answered, by index."""
        pipes, processes = (getattr(self._envs, name, ()) for name in ("parent_pipes", "processes"))
        pairs = enumerate(zip(pipes, processes, strict=True))
        return {index: process for index, (pipe, process) in pairs if not pipe.poll()}


class Hurry(NamedTuple):
    """How long each call may take from some moment on.

    Examples:
        >>> from rlsample.rollouts.environments.hanging import Hurry
        >>> Hurry(since=100.0, seconds=10.0).seconds
        10.0
    """

    since: float
    seconds: float


def hurry(seconds: float | None) -> None:
    """Gives every call that is under way or comes only so many seconds from now on; None takes that back.

    Examples:
        >>> import time
        >>> from rlsample.rollouts.environments.hanging import Overdue, Watch, hurry
        >>> hurry(0.1)
        >>> try:
        ...     with Watch(None, seconds=None):
        ...         time.sleep(60)
        ... except Overdue:
        ...     print("interrupted")
        interrupted
        >>> hurry(None)
    """
    global _hurry
    _hurry = None if seconds is None else Hurry(time.monotonic(), seconds)


def let_be_interrupted() -> None:
    """Makes a process of an environment's own raise `Overdue` when it is told to.

    Examples:
        >>> import signal
        >>> from rlsample.rollouts.environments.hanging import Overdue, let_be_interrupted
        >>> before = signal.getsignal(signal.SIGALRM)
        >>> let_be_interrupted()
        >>> try:
        ...     signal.raise_signal(signal.SIGALRM)
        ... except Overdue:
        ...     print("interrupted")
        interrupted
        >>> handler = signal.signal(signal.SIGALRM, before)
    """
    signal.set_wakeup_fd(-1)
    if _SIGNAL:
        signal.signal(_SIGNAL, _raise)


def say_that_it_cannot_be_interrupted(reason: str) -> None:
    """Tells a person what no program can mend from inside.

    Examples:
        >>> import contextlib, sys
        >>> from rlsample.rollouts.environments.hanging import say_that_it_cannot_be_interrupted
        >>> with contextlib.redirect_stderr(sys.stdout):
        ...     say_that_it_cannot_be_interrupted("A call took longer than 600 s.")
        A call took longer than 600 s. It cannot be interrupted, for it hangs outside of Python: end the process.
    """
    print(f"{reason} It cannot be interrupted, for it hangs outside of Python: end the process.", file=sys.stderr)


end_process: Callable[[str], None] = say_that_it_cannot_be_interrupted
"""Called in another thread with the reason when this process hangs outside of Python; a program may end it."""

_under_way: dict[int, Watch] = {}
_hurry: Hurry | None = None
_watched_in = 0
_listening = False


def _start() -> None:
    """Starts the thread that looks, and lets the main thread be interrupted, unless somebody else has that signal."""
    global _watched_in, _listening
    if _watched_in != os.getpid():  # A process that was forked has no threads but its own.
        _watched_in = os.getpid()
        threading.Thread(target=_watch, name="hanging environments", daemon=True).start()
    if not _listening and threading.current_thread() is threading.main_thread():
        _listening = True
        if _SIGNAL and signal.getsignal(_SIGNAL) is signal.SIG_DFL:
            signal.signal(_SIGNAL, _raise_if_asked)


def _watch() -> None:
    while True:
        time.sleep(TICK)
        for watch in list(_under_way.values()):
            watch.look(time.monotonic())


def _raise(number: int, frame: types.FrameType | None) -> None:
    raise Overdue


def _raise_if_asked(number: int, frame: types.FrameType | None) -> None:
    if any(watch.interrupts for watch in list(_under_way.values())):
        raise Overdue
