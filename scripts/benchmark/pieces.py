"""What is benchmarked besides the samplers: the cross-entropies, the softmax's product, eager calls, a head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scripts.benchmark.contest import Contestant, Entry, take_turns
from scripts.benchmark.options import Options
from scripts.benchmark.tables import Table, milliseconds, ratio

VOCABULARY = 100_000


def run(options: Options) -> Iterator[Table]:
    """A table of ratios to the same done without us, and one of the softmax's product over many categories."""
    rows, categories = (4, 3) if options.tiny else (256, 1024)
    with Contestant("rlsample_pieces") as contestant:
        lines = []
        for label, calls, case in _cases(rows, categories):
            if options.only and case["piece"] not in options.only:
                continue
            ours, theirs = (Entry(f"{label}, {ours}", contestant, ours=ours, **case) for ours in (True, False))
            take_turns([ours, theirs], options.rounds, 1 if options.tiny else calls)
            numbers = [milliseconds(ours.median), milliseconds(theirs.median), ratio(ours.median, theirs.median)]
            lines.append([label, *numbers] if not ours.absent else [label, ours.absent, "", ""])
        if lines:
            yield Table("pieces", "The same with and without the library", ["", "ms", "ms without", "ratio"], lines)
    if not options.only or "softmax_vjp" in options.only:
        yield _products(options)


def _cases(rows: int, categories: int) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Label, calls a turn and case of each pair."""
    for sparse, kind in ((False, "cross-entropy"), (True, "sparse cross-entropy")):
        for compiled, how in ((True, "XLA"), (False, "graph")):
            case = {"piece": "cross_entropy", "shape": (rows, categories), "sparse": sparse, "compiled": compiled}
            yield f"{kind} [{rows}, {categories}], forward and backward, {how}, against tf.nn", 20, case
    for sampler in ("straight_through_gumbel_softmax", "straight_through"):
        case = {"piece": "eager_sampler", "sampler": sampler, "shape": (rows, 4)}
        yield f"{sampler} [{rows}, 4], eager, against its operations in line", 50, case
    for compiled, how in ((False, "eager"), (True, "XLA")):
        case = {"piece": "act", "num_envs": 8, "compiled": compiled}
        yield f"head acting for 8 environments, {how}, against Dense and the operations in line", 50, case


def _products(options: Options) -> Table:
    """Time and memory of p * (g - <p, g>), and of building the Jacobian, in a process each."""
    lines = []
    for ours, categories in ((True, VOCABULARY), (True, VOCABULARY // 10), (False, VOCABULARY // 10)):
        size = categories // 1000 if options.tiny else categories
        with Contestant("rlsample_pieces") as contestant:
            empty = Entry("empty", contestant, piece="softmax_vjp", ours=ours, categories=2).peak_mb
            entry = Entry("product", contestant, piece="softmax_vjp", ours=ours, categories=size)
            take_turns([entry], options.rounds)
        how = "ops.softmax_vjp" if ours else "ops.softmax_jacobian, then a product"
        lines.append([f"{how}, K = {size:,}", milliseconds(entry.median), f"{entry.peak_mb - empty:,.0f}"])
    return Table("products", "A softmax's Jacobian times a vector", ["", "ms", "MiB of memory"], lines)
