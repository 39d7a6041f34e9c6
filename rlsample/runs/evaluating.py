"""Judging a policy in the environment of a configuration."""

from __future__ import annotations

from typing import Any

from rlsample.rollouts.evaluation import Evaluation, SupportsAct, play_episodes
from rlsample.runs.config import RunConfig
from rlsample.streams import Streams

MAX_EVALUATION_ENVS = 32


def evaluate(
    policy: SupportsAct,
    config: RunConfig,
    *,
    episodes: int | None = None,
    seed: int | None = None,
    **options: Any,
) -> Evaluation:
    """Evaluates a policy in the environment of its configuration.

    Args:
        policy: what acts.
        config: the configuration, which says what is not given here.
        episodes: how many to play.
        seed: of the first environment; by default from the run's, and not one that it was trained with.
        **options: passed on to `gymnasium.make_vec`.

    Returns:
        As `rlsample.rollouts.evaluation.play_episodes`.
    """
    episodes = episodes or config.evaluation.episodes
    envs = config.env.make(**({"num_envs": min(episodes, MAX_EVALUATION_ENVS)} | options))
    try:
        return play_episodes(
            policy,
            envs,
            episodes,
            Streams(config.seed).integer("evaluation environments") if seed is None else seed,
            deterministic=config.evaluation.deterministic,
        )
    finally:
        envs.close()
