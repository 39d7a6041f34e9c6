"""A contestant's process: prepares cases, and runs one and reports the seconds whenever the parent says so.

    python worker.py MODULE

MODULE, beside this file, has `prepare(**case)`, which compiles, warms up, and returns a function that does the work
once, comes back when it is finished, and may return a dict of facts about it. Commands and answers are JSON, one a
line. Only the standard library is imported here, so that the Python of any contestant can run it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(prepare: Callable[..., Callable[[], Any]]) -> None:
    """Answers commands until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever a library prints must not pass for an answer.
    os.dup2(2, 1)
    prepared: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if "case" in command:
                prepared[command["name"]] = prepare(**command["case"])
            elif "calls" in command:
                answer = measure(prepared[command["name"]], command["calls"])
            else:
                del prepared[command["name"]]
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), file=answers, flush=True)


def measure(run: Callable[[], Any], calls: int) -> dict[str, Any]:
    """Seconds of each of `calls` runs, and what the last one returned if it is a dict."""
    seconds, returned = [], None
    for _ in range(calls):
        start = time.perf_counter()
        returned = run()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "facts": returned if isinstance(returned, dict) else {}}


def main(module: str) -> None:
    """Serves the module's `prepare`; says so to the parent if the module cannot be imported."""
    try:
        prepare = importlib.import_module(module).prepare
    except ImportError as error:
        message = f"not installed ({error.name})"

        def prepare(**_: Any) -> Callable[[], None]:
            raise ImportError(message)

    serve(prepare)


if __name__ == "__main__":
    main(sys.argv[1])
