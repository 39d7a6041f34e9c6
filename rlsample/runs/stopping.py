"""Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends at once."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Callable
from typing import Any

SECONDS_OF_PATIENCE = 10.0
"""How long after it was asked to stop a run says why it has not."""


class StopSignals:
    """Listens to both signals between `open` and `close`; in a thread other than the main one it hears nothing.

    Args:
        ask: called with the number of the first signal.
    """

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask = ask
        self._handlers: dict[int, Any] = {}
        self._patience: threading.Timer | None = None

    def open(self) -> None:
        """Begins to listen."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {each: signal.signal(each, self._hear) for each in (signal.SIGINT, signal.SIGTERM)}

    def close(self) -> None:
        """Gives the signals back to whoever had them before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        if self._patience is not None:
            self._patience.cancel()

    def _hear(self, number: int, frame: types.FrameType | None) -> None:
        if self._patience is not None:
            self.close()
            signal.raise_signal(number)
            return
        self._patience = threading.Timer(SECONDS_OF_PATIENCE, _excuse)
        self._patience.daemon = True
        self._patience.start()
        self._ask(number)
        print("\nStopping after this update; what was learned will be saved. Once more to stop at once.", flush=True)


def _excuse() -> None:
    waiting = "Still waiting for what is under way: compiling, an update, a step of an environment that hangs."
    print(f"{waiting} Once more to stop at once; the latest checkpoint is kept.", flush=True)
