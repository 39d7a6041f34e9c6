"""The convolutions of Mnih et al. (2015), forward and backward in a compiled loop, beside JAX and TensorFlow itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from scripts.benchmark.contest import Contestant, Entry, take_turns
from scripts.benchmark.options import Options
from scripts.benchmark.tables import Table, milliseconds, ratio


def run(options: Options) -> Iterator[Table]:
    """Milliseconds a step of gradient descent, the first row's over each."""
    rows, size, steps = (2, 36, 1) if options.tiny else (32, 84, 4)
    case = {"rows": rows, "size": size, "steps": steps}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Contestant("rlsample_torso"))
        jax = stack.enter_context(Contestant("jax_torso", options.peer_python))
        entries = [
            Entry("rlsample", ours, **case),
            Entry("TensorFlow's gradient, XLA", ours, convolution="plain", **case),
            Entry("JAX jit", jax, **case),
        ]
        take_turns(entries, max(1, options.rounds // 3), warm=False)
        lines = []
        for entry in entries:
            shown = f"absent: {entry.absent}" if entry.absent else milliseconds(entry.median / steps)
            lines.append([entry.label, shown, ratio(entry.median, entries[0].median)])
    title = f"Forward and backward of 32, 64 and 64 filters on [{rows}, {size}, {size}, 4], in a compiled loop"
    yield Table("torso", title, ["", "ms a step", "of the first row's"], lines)
