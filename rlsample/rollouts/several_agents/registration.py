"""Giving a parallel environment of PettingZoo an id, under which Gymnasium and configurations name it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym


def register(
    id: str, parallel_env: str | Callable[..., Any], max_episode_steps: int | None = None, **kwargs: Any
) -> None:
    """Registers what makes an environment of several agents with Gymnasium; twice does no harm.

        register("mine/Tag-v0", "mpe2.simple_tag_v3:parallel_env", max_episode_steps=25, continuous_actions=False)

    Args:
        id: as Gymnasium has it.
        parallel_env: what makes a `pettingzoo.ParallelEnv`, or its place as "module:name"; imported when an environment
            is made.
        max_episode_steps: steps after which an episode is truncated; None leaves it to the environment.
        **kwargs: of `parallel_env`; those of a configuration's `env.kwargs` win.

    Examples:
        >>> from envs.coordination import Coordination
        >>> from rlsample.in_graph.pettingzoo_face import ParallelEnv
        >>> from rlsample.rollouts.several_agents.registration import register
        >>> register("mine/Coordination-v0", lambda: ParallelEnv(Coordination()), max_episode_steps=10)
        >>> gym.make("mine/Coordination-v0").action_space
        Dict('agent_0': Discrete(3), 'agent_1': Discrete(3))
        >>> del gym.registry["mine/Coordination-v0"]
    """
    if id not in gym.registry:
        # Bound here, and not in the kwargs: a configuration must not decide what is imported.
        entry_point = functools.partial(_make, parallel_env)
        gym.register(id, entry_point, max_episode_steps=max_episode_steps, kwargs=kwargs)


def _make(parallel_env: str | Callable[..., Any], /, **kwargs: Any) -> gym.Env:
    # Loads TensorFlow, which naming an environment must not.
    from rlsample.rollouts.several_agents.pettingzoo_environments import FromPettingZoo

    make: Any = gym.envs.registration.load_env_creator(parallel_env) if isinstance(parallel_env, str) else parallel_env
    return FromPettingZoo(make(**kwargs))
