"""A wheel in an environment that holds nothing else, used in an empty folder outside of the clone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from .commands import Failed, run

TRAINING = ["train", "cartpole", "total_steps=600", "tracking.wandb=disabled", "evaluation.episodes=1"]

ROUNDS = 3
"""Times that each import is timed, the quickest of which counts."""

SLOWEST = 1.1
"""Of the seconds that `import tensorflow` takes."""


class Fresh:
    """An environment of one Python with one wheel in it.

    Args:
        folder: an empty folder for both.
        python: the interpreter.
        wheel: what is installed.
        constraints: versions that pip keeps to.
    """

    def __init__(self, folder: Path, python: str, wheel: Path, constraints: Path) -> None:
        self.binaries, self.work = folder / "environment" / "bin", folder / "work"
        self.work.mkdir()
        self._run([python, "-m", "venv", str(self.binaries.parent)])
        pip = [*self._python("-m", "pip"), "--quiet", "--disable-pip-version-check"]
        self._run([*pip, "install", "--constraint", str(constraints), str(wheel)])
        self._run([*pip, "check"])

    def try_out(self) -> Iterator[str]:
        """Does what a person would do first; yields what went well.

        Raises:
            Failed: something did not.
        """
        said = self._run(self._python("-c", "import rlsample"))
        if said:
            raise Failed(f"Expected `import rlsample` to be silent. Received: {said}")
        share = self._seconds("import rlsample") / self._seconds("import tensorflow")
        if share > SLOWEST:
            rule = f"`import rlsample` in at most {SLOWEST} of the time of `import tensorflow`"
            raise Failed(f"Expected {rule}. Received: {share:.2f}.")
        yield f"`import rlsample` is silent and takes {share:.2f} of the time of `import tensorflow`"
        command = str(self.binaries / "rlsample")
        self._run([command, "doctor"])
        yield "`rlsample doctor` finds nothing amiss"
        self._run([command, *TRAINING, "--run-dir", "runs/cartpole"])
        if not (self.work / "runs" / "cartpole" / "evaluation.json").is_file():
            raise Failed("Expected an evaluation.json of the run. Received: none.")
        yield f"`rlsample {' '.join(TRAINING)}` trains and evaluates"

    def _python(self, *words: str) -> list[str]:
        return [str(self.binaries / "python"), *words]

    def _seconds(self, statement: str) -> float:
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            self._run(self._python("-c", statement))
            times.append(time.perf_counter() - start)
        return min(times)

    def _run(self, command: list[str]) -> str:
        return run(command, self.work)
