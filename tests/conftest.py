"""What every test begins with."""

import keras
import pytest


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Keras's initialisers draw from Python's generator: a test must not depend on which others ran before it."""
    keras.utils.set_random_seed(0)
