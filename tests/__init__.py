"""Tests run side by side: NumPy's own threads would wait for each other."""

import os

# Before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
