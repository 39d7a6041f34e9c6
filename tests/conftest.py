"""What every test begins with."""

import random

import keras
import numpy as np
import pytest

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


@pytest.fixture(autouse=True)
def nothing_imported():
    """Modules that one test imports from a folder of its own are nothing that another's runners should import."""
    imported.clear()
    yield
    imported.clear()
