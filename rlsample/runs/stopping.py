"""Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
import types
from collections.abc import Callable
from typing import Any

from rlsample.rollouts.environments import hanging

SECONDS_OF_PATIENCE = 10.0
"""How long after it was asked to stop a run says why it has not."""

SECONDS_FOR_A_CALL = 5.0
"""How long a call of environments may take once a run is to stop."""

SECONDS_TO_END = 1.0
"""How long the main thread has to end at the second signal, before it is not waited for."""


class StopSignals:
    """Listens to both signals between `open` and `close`; in a thread other than the main one it hears nothing.

    Python hears signals in its main thread, and only when that is not busy in code of another language. So a second
    thread counts them too, which can speak and act whatever the main one does.

    Args:
        ask: called with the number of the first signal, by both threads.
    """

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask = ask
        self._handlers: dict[int, Any] = {}
        self._asked = threading.Event()
        self._closed = threading.Event()
        self._listener: threading.Thread | None = None

    def open(self) -> None:
        """Begins to listen."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._handlers = {each: signal.signal(each, self._hear) for each in (signal.SIGINT, signal.SIGTERM)}
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._earlier = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._listener = threading.Thread(target=self._listen, args=(reading,), name="signals", daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Gives the signals back to whoever had them before."""
        if self._listener is None:
            return
        signal.set_wakeup_fd(self._earlier)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._closed.set()
        os.write(self._writing, b"\0")  # Its end alone would not be seen: environments' processes hold it too.
        self._listener.join(timeout=SECONDS_TO_END)
        os.close(self._writing)
        self._listener = None
        hanging.hurry(None)

    def _hear(self, number: int, frame: types.FrameType | None) -> None:
        if self._asked.is_set():
            self.close()
            signal.raise_signal(number)
            return
        self._asked.set()
        self._ask(number)

    def _listen(self, reading: int) -> None:
        heard = 0
        with os.fdopen(reading, "rb", buffering=0) as file:
            while (number := file.read(1)[0]) or not self._closed.is_set():
                if number not in self._handlers:
                    continue
                heard += 1
                if heard == 1:
                    self._ask(number)
                    hanging.hurry(SECONDS_FOR_A_CALL)
                    _say("Stopping after this update; what was learned will be saved. Once more to stop at once.")
                    threading.Thread(target=self._excuse, daemon=True).start()
                elif not self._closed.wait(SECONDS_TO_END):
                    _say("Stopped at once.")
                    os._exit(128 + number)

    def _excuse(self) -> None:
        if not self._closed.wait(SECONDS_OF_PATIENCE):
            waiting = "Still waiting for what is under way: compiling, an update, an evaluation."
            _say(f"{waiting} Once more to stop at once; the latest checkpoint is kept.")


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)
