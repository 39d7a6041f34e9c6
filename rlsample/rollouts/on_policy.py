"""The quickest loop that an environment allows, for learners that learn from rollouts of their own policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from rlsample import checks
from rlsample.learning.population import members_of
from rlsample.rollouts.gymnasium_loop import GymnasiumLoop
from rlsample.rollouts.in_graph_collector import in_graph_env
from rlsample.rollouts.in_graph_loop import InGraphLoop, collect_and_learn


def on_policy_loop(
    envs: gym.vector.VectorEnv,
    learner: Any,
    num_steps: int,
    metrics: Sequence[str],
    population: int = 1,
    **options: Any,
) -> InGraphLoop | GymnasiumLoop:
    """Makes the loop.

    Args:
        envs: S * E environments, those of the first member first.
        learner: a `learning.population.Learner` of one network, with a `policy` and `publish(state)`.
        num_steps: T, steps of each environment in a rollout.
        metrics: names of what the learner measures.
        population: S, members to train side by side.
        **options: seed, set_temperature, jit_compile, hint: as of `InGraphLoop`.

    Raises:
        ValueError: a population in an environment that is not in-graph.
    """
    members = members_of(learner, population)
    if in_graph_env(envs) is not None:
        options |= {"steps_per_turn": num_steps * envs.num_envs // population, "num_members": population}
        turn = collect_and_learn(members, num_steps)
        return InGraphLoop(envs, turn, members.start(0), metrics=metrics, **options)
    if population > 1:
        hint = "Such as rlsample/CartPole-v1."
        raise checks.invalid("an in-graph environment for a population", env=str(envs), hint=hint)
    return GymnasiumLoop(envs, learner, members.start(0), num_steps=num_steps, **options)
