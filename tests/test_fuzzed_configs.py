"""Files and words made at random: each is a configuration, or is answered by one clear message."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from tests.helpers_configs import CASES, said_to

EXAMPLES = 100


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(case=CASES)
def test_a_configuration_or_a_message(case):
    with tempfile.TemporaryDirectory() as folder:
        said_to(case, Path(folder))
