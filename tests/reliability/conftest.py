"""Prints the fault table at the end."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter):
    rows = []
    for kind, word in (("passed", "as expected"), ("failed", "NOT AS EXPECTED"), ("error", "NOT TRIED")):
        for report in terminalreporter.stats.get(kind, []):
            if "reliability" in report.nodeid and getattr(report, "when", "call") == "call":
                name = report.nodeid.split("::")[-1].removeprefix("test_").replace("_", " ")
                rows.append(f"{word:>16}  {name}")
    if rows:
        terminalreporter.section("faults")
        for row in sorted(rows):
            terminalreporter.write_line(row)
        good = sum("as expected" in row and "NOT" not in row for row in rows)
        terminalreporter.write_line(f"{good} of {len(rows)} faults end as expected")
