"""PureJaxRL's PPO, from a clone, jitted whole; with the network of the row where it has another one built in."""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import purejaxrl_networks

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


def prepare(
    num_envs: int,
    steps: int,
    env: str = "CartPole-v1",
    hidden_sizes: tuple[int, ...] | None = None,
    filters: int | None = None,
    entries: list[int] | None = None,
) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps, with its own settings for CartPole.

    Args:
        num_envs: environments side by side.
        steps: of all of them.
        env: gymnax's name.
        hidden_sizes: of the dense layers; by default its own, two of 64.
        filters: of a convolution of 3 x 3 in front of them; by default there is none.
        entries: of the observation that are shown; with them it is its recurrent PPO, 128 units.
    """
    rows = 128 * num_envs
    steps = max(1, steps // rows) * rows
    sys.path.insert(0, os.path.join(os.environ["PUREJAXRL"], "purejaxrl"))
    _stand_in("brax", envs=None)
    _stand_in("brax.envs.wrappers.training", EpisodeWrapper=object, AutoResetWrapper=object)
    _stand_in("navix")
    program: Any = importlib.import_module("ppo" if entries is None else "ppo_rnn")
    if entries is not None:
        program.ScannedRNN = purejaxrl_networks.TwoMemories
        program.ActorCriticRNN = purejaxrl_networks.RecurrentActorCritic
        program.FlattenObservationWrapper = purejaxrl_networks.showing(program.FlattenObservationWrapper, entries)
    if hidden_sizes is not None:
        program.ActorCritic = purejaxrl_networks.actor_critic(hidden_sizes, filters)
    if filters is not None:
        program.FlattenObservationWrapper = lambda env: env
    settings = SETTINGS | {"ENV_NAME": env, "NUM_ENVS": num_envs, "TOTAL_TIMESTEPS": steps}
    train = jax.jit(program.make_train(settings))
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
