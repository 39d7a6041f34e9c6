"""Prints the table of faults at the end: what each does to a run, and how many are survived, clear, unclear, silent."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.reliability.commands import Outcome


def pytest_addoption(parser):
    group = parser.getgroup("reliability")
    group.addoption("--kills", type=int, default=5, help="how often the run is killed that goes on again and again")
    group.addoption("--configs", type=int, default=1000, help="configurations made at random")


@pytest.fixture
def row(record_property):
    """Takes how a fault ended, with a detail for the table, and fails with what was said if that is not good."""

    def record(outcome, detail="", said=""):
        record_property("outcome", str(outcome))
        record_property("detail", detail)
        assert outcome in (Outcome.SURVIVES, Outcome.CLEAR), f"{detail}\n{said}"

    return record


def pytest_terminal_summary(terminalreporter):
    rows = []
    for kind in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(kind, []):
            if "reliability" not in report.nodeid or (kind != "error" and report.when != "call"):
                continue
            found = dict(report.user_properties)
            good = kind == "passed"
            outcome = found.get("outcome", Outcome.UNCLEAR) if good or "outcome" in found else Outcome.UNCLEAR
            if not good and outcome in (Outcome.SURVIVES, Outcome.CLEAR):
                outcome = Outcome.UNCLEAR  # Something that was asked of it afterwards did not hold.
            name = report.nodeid.split("::")[-1].removeprefix("test_").replace("_", " ")
            rows.append((str(outcome), name, found.get("detail", "")))
    if not rows:
        return
    terminalreporter.section("faults")
    for outcome, name, detail in sorted(rows):
        terminalreporter.write_line(f"{outcome:>9}  {name}{f': {detail}' if detail else ''}")
    counts = Counter(outcome for outcome, _, _ in rows)
    line = ", ".join(f"{counts[str(outcome)]} {outcome}" for outcome in Outcome)
    terminalreporter.write_line(f"{len(rows)} faults: {line}")
