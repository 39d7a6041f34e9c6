"""Ten thousand configurations made at random."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.helpers_configs import CASES, said_to
from tests.reliability.commands import Outcome

pytestmark = pytest.mark.reliability


def test_configurations_made_at_random(request, row):
    count = request.config.getoption("--configs", default=1000)
    said = Counter()

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=CASES)
    def try_it(case):
        with tempfile.TemporaryDirectory() as folder:
            said[said_to(case, Path(folder)) == "accepted"] += 1

    try_it()
    row(Outcome.CLEAR, f"{said[True]:,} accepted, {said[False]:,} refused by a message")
