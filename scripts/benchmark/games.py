"""Games of several agents: steps of those written in TensorFlow, and of the packages that are like them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from scripts.benchmark.contest import Contestant, Entry, take_turns
from scripts.benchmark.options import Options
from scripts.benchmark.tables import Table, ratio

FIELD = {"rows": 8, "columns": 8, "agents": 2, "foods": 2}
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "foraging": (
        {"env": "rlsample/Foraging-v0", "kwargs": FIELD},
        {"package": "lbforaging", "env": "Foraging-8x8-2p-2f-coop-v3"},
    ),
    "speaker_listener": (
        {"env": "rlsample/SpeakerListener-v0"},
        {"package": "mpe2.simple_speaker_listener_v4", "env": "simple_speaker_listener_v4"},
    ),
}
"""Ours, and the package's of the same kind."""


def run(options: Options) -> Iterator[Table]:
    """One table: steps per second of all environments together, and ours over the package's."""
    num_envs, ours_steps, their_steps = (2, 1, 8) if options.tiny else (1024, 2**20, 2**12)
    rows = []
    for name, (ours, theirs) in PAIRS.items():
        if options.only and name not in options.only:
            continue
        with contextlib.ExitStack() as stack:
            processes = [stack.enter_context(Contestant(each)) for each in ("in_graph_games", "package_games")]
            entries = [
                Entry(ours["env"], processes[0], num_envs=num_envs, steps=ours_steps, **ours),
                Entry(theirs["env"], processes[1], steps=their_steps, **theirs),
            ]
            take_turns(entries, options.rounds, warm=False)
            speeds = [entry.facts.get("steps", float("nan")) / min(entry.seconds, default=1.0) for entry in entries]
        for entry, speed, envs in zip(entries, speeds, (num_envs, 1), strict=True):
            shown = f"absent: {entry.absent}" if entry.absent else f"{speed:,.0f}"
            rows.append([f"{entry.label}, {envs:,} at once", shown, ratio(speed, speeds[1])])
    title = "Games of several agents, uniform actions: stepped in a compiled program, and by the package"
    yield Table("games", title, ["", "steps/s", "of the package's"], rows)
