"""Made-up rollouts."""

from __future__ import annotations

import numpy as np

T, B = 13, 5


def episodes(seed=0, length=T, dtype=np.float32):
    """Rewards, values, next_values, terminated, truncated of a made-up rollout; ends are frequent."""
    generator = np.random.default_rng(seed)
    rewards, values, next_values = generator.normal(size=(3, length, B)).astype(dtype)
    terminated = generator.random((length, B)) < 0.2
    truncated = (generator.random((length, B)) < 0.2) & ~terminated
    return rewards, values, next_values, terminated, truncated
