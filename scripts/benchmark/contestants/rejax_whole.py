"""rejax's training as one jitted program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def whole(algorithm: Any, steps: int) -> Callable[[], dict[str, float]]:
    """One call trains an algorithm for its `steps` steps; it is compiled before this returns."""
    # Nothing but training is timed.
    train = jax.jit(algorithm.replace(eval_callback=lambda *_: ()).train)
    key = jax.random.key(0)

    def run() -> dict[str, float]:
        jax.block_until_ready(train(key))
        return {"steps": steps}

    run()
    return run
