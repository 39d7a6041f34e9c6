"""PyTorch's side of the sampler benchmark: `torch.nn.functional.gumbel_softmax(hard=True)`, eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def prepare(shape: list[int], draws: int, **_: Any) -> Callable[[], None]:
    """One call makes `draws` draws, each followed by its backward pass."""
    logits = torch.tensor(np.random.default_rng(0).normal(size=shape), dtype=torch.float32, requires_grad=True)
    upstream = torch.tensor(np.random.default_rng(1).normal(size=shape), dtype=torch.float32)

    def run() -> None:
        for _ in range(draws):
            logits.grad = None
            torch.nn.functional.gumbel_softmax(logits, hard=True).backward(upstream)

    run()
    return run
