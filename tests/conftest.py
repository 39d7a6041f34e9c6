"""What every test begins with."""

import logging
import random
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample.runs.agents import imported


@pytest.fixture(autouse=True, scope="module")
def fixed_generators():
    """TensorFlow's and Keras's own generators, once a file: to seed TensorFlow is to throw away all of its kernels.

    A test that draws from them and needs its draws to be the same seeds them itself, by `keras.utils.set_random_seed`.
    """
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def fixed_seeds(fixed_generators):
    """Keras's initialisers draw from Python's generator: a test must not depend on which others ran before it."""
    random.seed(0)
    np.random.seed(0)


class NotRead(logging.Handler):
    """What AutoGraph does not understand it only logs: that is a failure, unless it is of a test's own lambda."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        assert "AutoGraph could not transform" not in message or "<lambda>" in message, message


tf.get_logger().addHandler(NotRead())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks as slow what `thinned` leaves out: see the markers in pyproject.toml."""
    counts: Counter[str] = Counter()
    for item in items:
        thinned = item.get_closest_marker("thinned")
        if thinned is None or item.get_closest_marker("slow"):
            continue
        test = item.nodeid.partition("[")[0]
        if counts[test] % thinned.args[0]:
            item.add_marker(pytest.mark.slow)
        counts[test] += 1


@pytest.fixture(autouse=True)
def nothing_imported():
    """Modules that one test imports from a folder of its own are nothing that another's runners should import."""
    imported.clear()
    yield
    imported.clear()
