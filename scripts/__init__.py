"""Command-line entry points, run as `python -m scripts.<name>` from the root of the clone."""

import os


def _import_tensorflow_quietly() -> None:
    # TensorFlow writes lines about the machine to the error stream before its own log level counts. They would bury
    # what a command has to say; what goes wrong in the import is raised, and shown, as ever.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


_import_tensorflow_quietly()
