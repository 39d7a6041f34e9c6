"""Judging a policy in the environment of a configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from rlsample.rollouts.evaluation import Evaluation, SupportsAct, play_episodes
from rlsample.runs.config import RunConfig
from rlsample.streams import Streams

MAX_EVALUATION_ENVS = 32
MAX_EPISODE_STEPS = 10_000
"""Of an environment that has no limit of its own: an episode of a bad policy may never end by itself."""


def evaluate(
    policy: SupportsAct,
    config: RunConfig,
    *,
    episodes: int | None = None,
    seed: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Evaluation:
    """Evaluates a policy in the environment of its configuration.

    Args:
        policy: what acts.
        config: the configuration, which says what is not given here.
        episodes: how many to play.
        seed: of the first environment; by default from the run's, and not one that it was trained with.
        should_stop: as of `play_episodes`.
        **options: passed on to `gymnasium.make_vec`.

    Returns:
        As `rlsample.rollouts.evaluation.play_episodes`.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> from types import SimpleNamespace
        >>> config = runs.load_config("cartpole", agents=known_agents())
        >>> right = SimpleNamespace(model=None, act=lambda seen, mask=None, seed=None: np.ones(len(seen), int))
        >>> outcome = runs.evaluate(right, config, episodes=10)
        >>> outcome.episodes, 8 <= outcome.mean_return <= 11
        (10, True)
    """
    episodes = episodes or config.evaluation.episodes
    options = {"num_envs": min(episodes, MAX_EVALUATION_ENVS)} | options
    limit = config.evaluation.max_episode_steps
    unlimited = limit is None and config.env.own_limit() is None
    limit = MAX_EPISODE_STEPS if unlimited else limit
    envs = config.env.make(max_episode_steps=limit, **options)
    try:
        outcome = play_episodes(
            policy,
            envs,
            episodes,
            Streams(config.seed).integer("evaluation environments") if seed is None else seed,
            deterministic=config.evaluation.deterministic,
            should_stop=should_stop,
        )
    finally:
        envs.close()
    if unlimited and outcome.truncated_episodes and outcome.max_length >= (limit or 0):
        cut = (
            f"{outcome.truncated_episodes} of {outcome.episodes} episodes were cut, after {limit:,} steps at the latest"
        )
        hint = "evaluation.max_episode_steps sets another limit."
        warnings.warn(f"{cut}: {config.env.id} has none of its own. {hint}", RuntimeWarning, stacklevel=2)
    return outcome
