"""Command-line entry points, run as `python -m scripts.<name>` from the root of the clone."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from .console import end_at_once_by_signal

# Read by TensorFlow when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Read by NumPy's OpenBLAS when it is loaded. Policies that act in NumPy multiply small matrices, where a second thread
# wins little; on a busy machine each product waits for that thread: in one case measured for 48 ms in place of 0.024.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Keeps the error stream closed while TensorFlow is imported, whenever that is.

    It writes lines about the machine there before its own log level counts. They would bury what a command has to say;
    what goes wrong in the import is raised, and shown, as ever.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds TensorFlow as it would be found without."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def quietly(module: ModuleType) -> None:
                with _closed_errors():
                    execute(module)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _closed_errors() -> Iterator[None]:
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


sys.meta_path.insert(0, _QuietTensorFlow())

if sys.argv[:1] == ["-m"]:  # This is the program, and not a library that somebody imports.
    end_at_once_by_signal()
