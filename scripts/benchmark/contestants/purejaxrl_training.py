"""PureJaxRL's PPO, from a clone, jitted whole."""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import jax

SETTINGS = {
    "LR": 2.5e-4,
    "NUM_STEPS": 128,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ACTIVATION": "tanh",
    "ENV_NAME": "CartPole-v1",
    "ANNEAL_LR": True,
}


def prepare(num_envs: int, steps: int, **_: Any) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps, with its own settings for CartPole."""
    rows = 128 * num_envs
    steps = max(1, steps // rows) * rows
    sys.path.insert(0, os.path.join(os.environ["PUREJAXRL"], "purejaxrl"))
    _stand_in("brax", envs=None)
    _stand_in("brax.envs.wrappers.training", EpisodeWrapper=object, AutoResetWrapper=object)
    _stand_in("navix")
    make_train = importlib.import_module("ppo").make_train
    train = jax.jit(make_train(SETTINGS | {"NUM_ENVS": num_envs, "TOTAL_TIMESTEPS": steps}))
    key = jax.random.PRNGKey(0)

    def run() -> dict[str, float]:
        jax.block_until_ready(train(key))
        return {"steps": steps}

    run()
    return run


def _stand_in(name: str, **members: Any) -> None:
    """Takes the place of a package that its wrappers import for environments other than CartPole."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    vars(sys.modules[name]).update(members)
