"""Games of several agents stepped by the packages that have them, by uniform actions, drawn beforehand."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import gymnasium as gym
import numpy as np


def prepare(package: str, env: str, steps: int) -> Callable[[], dict[str, int]]:
    """One call takes so many steps: of an id of Gymnasium's, or of the parallel environment of a module."""
    imported = importlib.import_module(package)
    parallel = hasattr(imported, "parallel_env")
    game = imported.parallel_env(continuous_actions=False) if parallel else gym.make(env, disable_env_checker=True)
    spaces = [game.action_space(name) for name in game.possible_agents] if parallel else list(game.action_space)
    drawn = np.random.default_rng(0).integers([int(space.n) for space in spaces], size=(steps, len(spaces)))
    rows = [dict(zip(game.possible_agents, row, strict=True)) if parallel else tuple(row) for row in drawn.tolist()]

    def run() -> dict[str, int]:
        game.reset(seed=0)
        for row in rows:
            _, _, terminated, truncated, _ = game.step(row)
            over = not game.agents if parallel else np.all(terminated) or truncated
            if over:
                game.reset()
        return {"steps": steps}

    run()
    return run
