"""PPO beside its peers: steps per second, images, memory, a population, seconds to a threshold; memory and traces."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from scripts.benchmark.contest import Contestant, Entry, take_turns
from scripts.benchmark.options import Options
from scripts.benchmark.tables import Table, ratio

IN_GRAPH, GYMNASIUM = "rlsample/CartPole-v1", "CartPole-v1"
POSITIONS = [0, 2]
"""What CartPole shows without its velocities."""


class Competitor(NamedTuple):
    """One row of a table.

    Attributes:
        label: what the table calls it.
        module: of its worker.
        case: what its worker prepares.
        peer: whether it runs with the peers' interpreter.
    """

    label: str
    module: str
    case: dict[str, Any]
    peer: bool = False


def run(options: Options) -> Iterator[Table]:
    """A table a question; `--only` names some of them."""
    questions = {
        "compiled": _compiled,
        "networks": _networks,
        "growth": _growth,
        "population": _population,
        "gymnasium": _gymnasium,
        "threshold": _threshold,
    }
    for name, question in questions.items():
        if not options.only or name in options.only:
            yield from question(options)


def _ours(label: str, env: str, num_envs: int, steps: int, **case: Any) -> Competitor:
    return Competitor(label, "rlsample_training", {"env": env, "num_envs": num_envs, "steps": steps, **case})


def _compiled(options: Options) -> Iterator[Table]:
    for num_envs, steps in ((2, 1),) if options.tiny else ((4, 2**18), (64, 2**19), (2048, 2**20)):
        case = {"num_envs": num_envs, "steps": steps}
        rows = [
            _ours("rlsample", IN_GRAPH, num_envs, steps),
            Competitor("rejax", "rejax_training", case, peer=True),
            *([Competitor("PureJaxRL", "purejaxrl_training", case, peer=True)] if options.purejaxrl else []),
        ]
        title = f"PPO, CartPole stepped in the program, {num_envs} environments, 128 steps a rollout"
        yield speeds(f"compiled-{num_envs}", title, rows, options)


def _networks(options: Options) -> Iterator[Table]:
    """Wider layers, convolutions and a memory, beside PureJaxRL's program with the same."""
    num_envs = 4 if options.tiny else 64
    many, some, few = (1, 1, 1) if options.tiny else (2**17, 2**15, 2**14)

    def table(name: str, title: str, ours: Competitor, **theirs: Any) -> Table:
        case = {"num_envs": num_envs, "steps": ours.case["steps"]}
        peer = Competitor("PureJaxRL", "purejaxrl_training", case | theirs, peer=True)
        title = f"PPO, {title}, {num_envs} environments, 128 steps a rollout"
        return speeds(name, title, [ours, *([peer] if options.purejaxrl else [])], options)

    wide = (256, 256)
    row = _ours("rlsample", IN_GRAPH, num_envs, many, network={"hidden_sizes": wide})
    yield table("network-wide", "CartPole, two layers of 256", row, hidden_sizes=wide)
    planes = {"name": "convolutional", "filters": [16], "kernel_sizes": [3], "strides": [1], "hidden_sizes": [64]}
    row = _ours("rlsample", "rlsample/Breakout-v0", num_envs, few, network=planes)
    title = "Breakout on 10 x 10 cells, a convolution of 16 filters and a layer of 64"
    yield table("network-convolution", title, row, env="Breakout-MinAtar", hidden_sizes=(64,), filters=16)
    memory = {
        "name": "recurrent",
        "units": 128,
        "encoder": {"name": "mlp", "hidden_sizes": [128], "activation": "relu"},
    }
    hidden = [{"name": "SelectEntries", "entries": POSITIONS}]
    row = _ours("rlsample", IN_GRAPH, num_envs, some, network=memory, wrappers=hidden)
    yield table("network-memory", "CartPole without velocities, a GRU of 128 units", row, entries=POSITIONS)


def _growth(options: Options) -> Iterator[Table]:
    """How our own cost grows: with environments, hidden layers, and categories of the action."""
    steps, few = (1, 1) if options.tiny else (2**18, None)
    envs = [_ours(f"environments: {count}", IN_GRAPH, count, steps) for count in (1, 4, 16, 64, 256, 1024, 4096)]
    yield speeds("growth-envs", "PPO, CartPole stepped in the program", envs[:few], options)
    sizes = {"2 of 64": (64, 64), "2 of 128": (128, 128), "2 of 256": (256, 256), "3 of 64": (64, 64, 64)}
    hidden = [
        _ours(f"hidden layers: {name}", IN_GRAPH, 64, steps, network={"hidden_sizes": size})
        for name, size in sizes.items()
    ]
    yield speeds("growth-hidden", "PPO, CartPole stepped in the program, 64 environments", hidden[:few], options)
    actions = [
        _ours(f"categories: {count}", "rlsample/Identity-v0", 64, steps, kwargs={"num_actions": count})
        for count in (2, 16, 128, 1024)
    ]
    title = "PPO, copying one of K symbols, 64 environments (the observation has K entries as well)"
    yield speeds("growth-actions", title, actions[:few], options)


def _population(options: Options) -> Iterator[Table]:
    sizes, steps = ((1, 2), 1) if options.tiny else ((1, 4, 16, 64), 2**17)
    rows = [_ours(f"{size} at once", IN_GRAPH, 4, steps // size, population=size) for size in sizes]
    yield speeds("population", "PPO, several seeds in one program, 4 environments each", rows, options)


def _gymnasium(options: Options) -> Iterator[Table]:
    steps = 1 if options.tiny else 2**14
    rows = [_ours("rlsample, 4 environments", GYMNASIUM, 2 if options.tiny else 4, steps)]
    rows += [] if options.tiny else [_ours("rlsample, 64 environments", GYMNASIUM, 64, 2**17)]
    rows += [Competitor("Stable-Baselines3, 8 environments (zoo)", "sb3_training", {"steps": steps}, peer=True)]
    if options.cleanrl:
        rows += [Competitor("CleanRL, 4 environments", "cleanrl_training", {"steps": steps}, peer=True)]
    yield speeds("gymnasium", "PPO, Gymnasium's CartPole stepped by Python", rows, options)


def speeds(name: str, title: str, competitors: list[Competitor], options: Options) -> Table:
    """Steps per second of each, the first one's over the others', memory, and traces after the first call."""
    with contextlib.ExitStack() as stack:
        entries = [Entry(each.label, stack.enter_context(_process(each, options)), **each.case) for each in competitors]
        take_turns(entries, 1, warm=False)
        traced = [entry.facts.get("traces", 0) for entry in entries]
        for entry in entries:
            entry.seconds.clear()  # that was the warm-up
        take_turns(entries, max(1, options.rounds // 3), warm=False)
        first = _steps_per_second(entries[0])
        rows = []
        for entry, before in zip(entries, traced, strict=True):
            speed = _steps_per_second(entry)
            traces = f"{entry.facts['traces'] - before:.0f}" if "traces" in entry.facts else "-"
            shown = f"absent: {entry.absent}" if entry.absent else f"{speed:,.0f}"
            rows.append([entry.label, shown, ratio(first, speed), f"{entry.peak_mb:,.0f}", traces])
    return Table(name, title, ["", "steps/s", "first row over this", "peak MiB", "traces after warm-up"], rows)


def _process(competitor: Competitor, options: Options) -> Contestant:
    clones = {"PUREJAXRL": options.purejaxrl, "CLEANRL": options.cleanrl}
    environment = {name: str(path.resolve()) for name, path in clones.items() if path}
    python = options.peer_python if competitor.peer else sys.executable
    return Contestant(competitor.module, python, environment)


def _steps_per_second(entry: Entry) -> float:
    """What the contestant says itself, or its steps over its median time."""
    return entry.facts.get("steps_per_second", entry.facts.get("steps", float("nan")) / entry.median)


def _threshold(options: Options) -> Iterator[Table]:
    """Seconds from the start of the process; each turn is another seed."""
    scripts = {"rlsample": "rlsample_threshold.py"}
    peers = {} if options.tiny else {"Stable-Baselines3 (zoo)": "sb3_threshold.py", "rejax": "rejax_threshold.py"}
    with contextlib.ExitStack() as stack:
        entries = []
        for label, script in (scripts | peers).items():
            python = options.peer_python if label in peers else sys.executable
            process = stack.enter_context(Contestant("fresh_process", python))
            entries.append(Entry(label, process, script=script))
        steps: dict[str, list[float]] = {entry.label: [] for entry in entries}
        for _ in range(1 if options.tiny else max(5, options.rounds // 3)):
            for entry in entries:
                take_turns([entry], 1, warm=False)
                steps[entry.label].append(entry.facts.get("steps_to_threshold", float("nan")))
        rows = []
        for entry in entries:
            seconds = f"absent: {entry.absent}" if entry.absent else f"{entry.median:.1f}"
            counted = "-" if entry.absent else f"{statistics.median(steps[entry.label]):,.0f}"
            rows.append([entry.label, seconds, ratio(entries[0].median, entry.median), counted])
    title = "PPO, from the start of the process to a mean return of 475 over 20 episodes of CartPole"
    yield Table("threshold", title, ["", "seconds", "first row over this", "environment steps"], rows)
