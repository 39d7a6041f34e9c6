"""Every pathwise sampler, forward and backward, beside JAX's and PyTorch's straight-through Gumbel-softmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rlsample.samplers import SAMPLERS
from scripts.benchmark.contest import Contestant, Entry, take_turns
from scripts.benchmark.options import Options
from scripts.benchmark.tables import Table, milliseconds, ratio


class Size(NamedTuple):
    """A shape of logits, and how to time it.

    Attributes:
        shape: rows and categories.
        draws: how many in one compiled call.
        calls: timed calls a turn.
    """

    shape: tuple[int, int]
    draws: int
    calls: int


SIZES = (
    Size((256, 4), 100, 5),
    Size((4096, 18), 100, 1),
    Size((256, 1024), 1, 20),
    Size((32, 50257), 1, 5),
)
TINY = (Size((8, 3), 2, 1),)
JAX, TORCH = "JAX jit: straight-through Gumbel-softmax", "PyTorch eager: gumbel_softmax(hard=True)"


def run(options: Options) -> Iterator[Table]:
    """One table a size."""
    names = [name for name, sampler in sorted(SAMPLERS.items()) if sampler.pathwise]
    names = [name for name in names if not options.only or name in options.only]
    with (
        Contestant("rlsample_samplers") as ours,
        Contestant("jax_samplers", options.peer_python) as jax,
        Contestant("torch_samplers", options.peer_python) as torch,
    ):
        for size in TINY if options.tiny else SIZES:
            case = {"shape": size.shape, "draws": size.draws}
            peers = [Entry(JAX, jax, **case), Entry(TORCH, torch, **case)]
            entries = peers + [Entry(name, ours, sampler=name, **case) for name in names]
            take_turns(entries, options.rounds, size.calls)
            single = _single_calls(size, ours, names, jax, options) if size.draws > 1 else []
            yield _table(size, entries, single)
            for entry in entries + single:
                entry.forget()


def _single_calls(size: Size, ours: Contestant, names: list[str], jax: Contestant, options: Options) -> list[Entry]:
    """One draw a call: what calling from Python adds. Keyed by label."""
    case = {"shape": size.shape, "draws": 1}
    entries = [Entry(JAX, jax, **case), *(Entry(name, ours, sampler=name, **case) for name in names)]
    take_turns(entries, options.rounds, 20)
    return entries


def _table(size: Size, entries: list[Entry], single: list[Entry]) -> Table:
    rows, categories = size.shape
    jax, torch = entries[0].median, entries[1].median
    alone = {entry.label: entry.median for entry in single}
    columns = ["", "ms a draw", "of JAX's", "times faster than PyTorch"] + (
        ["ms in a call of its own"] if alone else []
    )
    lines = []
    for entry in entries:
        line = [entry.label, milliseconds(entry.median / size.draws), ratio(entry.median, jax)]
        line.append(ratio(torch, entry.median))
        if entry.absent:
            line[1] = f"absent: {entry.absent}"
        if alone:
            line.append(milliseconds(alone.get(entry.label, float("nan"))))
        lines.append(line)
    how = f"compiled loop of {size.draws} draws" if size.draws > 1 else "one compiled call"
    return Table(
        f"samplers-{rows}x{categories}", f"Forward and backward at [{rows}, {categories}], {how}", columns, lines
    )
