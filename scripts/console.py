"""What a command needs of its terminal: output that cannot end a run, an end by signal before there is a run."""

from __future__ import annotations

import io
import os
import signal
import sys
import types
from typing import Any


def protect_output() -> None:
    """Keeps what is written from ending a run: a closed pipe swallows it, a narrow encoding gets question marks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            setattr(sys, name, _Swallowing(stream))


def end_at_once_by_signal() -> None:
    """Makes Ctrl-C and SIGTERM end the process at once, for as long as there is nothing to keep.

    Not by an exception: libraries that are being imported or are compiling have been seen to swallow one.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, frame: types.FrameType | None) -> None:
    os.write(2, b"\nStopped at once.\n")
    os._exit(128 + number)


class _Swallowing:
    """A text stream that goes on in silence once nobody reads it."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes if somebody reads."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            return self._close(len(text))

    def flush(self) -> None:
        """Flushes if somebody reads."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._close(0)

    def _close(self, count: int) -> int:
        # The descriptor itself: the interpreter flushes it once more at its end.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
