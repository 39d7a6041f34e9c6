"""How good a policy is: the mean return of complete episodes, played without noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks, ops, spaces
from rlsample.rollouts.environments import faults
from rlsample.rollouts.environments.masks import MaskReader
from rlsample.rollouts.in_numpy.policy import quickest_policy
from rlsample.rollouts.recurrent.policy import Remembering

Autoreset = gymnasium.vector.AutoresetMode


class SupportsAct(Protocol):
    """A policy, as evaluation and runs need it; what an agent's `train` and `make_policy` return.

    Attributes:
        model: its weights, built; enough to act.

    Examples:
        >>> from types import SimpleNamespace
        >>> right = SimpleNamespace(model=None, act=lambda seen, mask=None, seed=None: np.ones(len(seen), int))
        >>> right.act(np.zeros([3, 4]))
        array([1, 1, 1])
    """

    model: keras.Model

    def act(self, observations: Any, mask: Any = None, seed: Any = None) -> Any:
        """Chooses legal actions.

        Args:
            observations: a batch of `B`, as the vector environment gives it.
            mask: bool `[B, K]`, for several factors `[B, F, K]`, True = legal; None if everything is.
            seed: stateless, int32 `[2]`, to draw; None for the most probable ones.

        Returns:
            A batch of `B` actions, as the vector environment's `step` takes them.
        """


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The returns of complete episodes.

    Attributes:
        mean_return: their mean.
        std_return: their standard deviation (over the episodes, not of the mean).
        episodes: how many there were.
        returns: each of them.
        truncated_episodes: how many ended because their time was up.
        max_length: steps of the longest.

    Examples:
        >>> from rlsample.rollouts.evaluation import Evaluation
        >>> Evaluation(mean_return=15.0, std_return=5.0, episodes=2, returns=(10.0, 20.0)).truncated_episodes
        0
    """

    mean_return: float
    std_return: float
    episodes: int
    returns: tuple[float, ...]
    truncated_episodes: int = 0
    max_length: int = 0


class EvaluationStopped(Exception):  # noqa: N818 (nothing went wrong)
    """An evaluation was given up because its run is to stop.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.rollouts.evaluation import EvaluationStopped, play_episodes
        >>> right = SimpleNamespace(model=None, act=lambda seen, mask=None, seed=None: np.ones(len(seen), int))
        >>> try:
        ...     play_episodes(right, gym.make_vec("CartPole-v1", num_envs=2), 4, seed=0, should_stop=lambda: True)
        ... except EvaluationStopped:
        ...     print("given up")
        given up
    """


def play_episodes(
    policy: SupportsAct,
    envs: gymnasium.vector.VectorEnv,
    episodes: int,
    seed: int,
    *,
    deterministic: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Plays complete episodes and returns how they went.

    How many episodes each environment contributes is fixed beforehand: taking the first ones to finish, whichever
    they are, would favour the short ones.

    Args:
        policy: what acts.
        envs: a vector environment that resets its environments itself. Stays open.
        episodes: how many to play.
        seed: of the environments, and of the actions if they are drawn.
        deterministic: whether to act without noise. Otherwise the policy's `act` is given a seed.
        should_stop: asked after every step; whether to give up.

    Returns:
        Their returns, ordered by environment.

    Raises:
        ValueError: no episodes are asked for, or the environments do not reset themselves.
        EvaluationStopped: it was given up.
        EnvironmentFault: an environment failed, or broke Gymnasium's contract.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.rollouts.evaluation import play_episodes
        >>> right = SimpleNamespace(model=None, act=lambda seen, mask=None, seed=None: np.ones(len(seen), int))
        >>> outcome = play_episodes(right, gym.make_vec("CartPole-v1", num_envs=2), episodes=4, seed=0)
        >>> outcome.mean_return, outcome.returns
        (9.5, (10.0, 10.0, 10.0, 8.0))
    """
    checks.check_count("episodes", episodes)
    quota = episodes // envs.num_envs + (np.arange(envs.num_envs) < episodes % envs.num_envs)
    finished: list[list[float]] = [[] for _ in quota]
    running, length, longest = np.zeros(envs.num_envs), np.zeros(envs.num_envs, int), 0
    ended = np.zeros(envs.num_envs, dtype=bool)
    autoreset = envs.metadata.get("autoreset_mode", Autoreset.NEXT_STEP)
    if autoreset == Autoreset.DISABLED:
        raise checks.invalid("environments that reset themselves", autoreset_mode=autoreset)
    masks = MaskReader(envs, spaces.factorise(envs.single_action_space))
    action_seed, cut = tf.constant([seed, 0], tf.int32), 0
    acting: SupportsAct = quickest_policy(policy)
    observations, info = faults.reset(envs, seed)
    while any(len(returns) < wanted for returns, wanted in zip(finished, quota, strict=True)):
        # In NEXT_STEP mode the step after the end only resets: its action is ignored and it belongs to no episode.
        idle = ended if autoreset == Autoreset.NEXT_STEP else np.zeros_like(ended)
        mask = masks.read(observations, info, ~idle)
        if deterministic:
            actions = acting.act(observations, mask)
        else:
            action_seed = ops.fold_in(action_seed, 1)
            actions = acting.act(observations, mask, seed=action_seed)
        observations, rewards, terminated, truncated, info = faults.step(envs, actions)
        if should_stop():
            raise EvaluationStopped
        running += np.where(idle, 0.0, rewards)
        length += ~idle
        ended = (terminated | truncated) & ~idle
        if isinstance(acting, Remembering):
            acting.forget(idle if autoreset == Autoreset.NEXT_STEP else ended)
        for index in np.flatnonzero(ended):
            if len(finished[index]) < quota[index]:
                cut += int(truncated[index] and not terminated[index])
                longest = max(longest, int(length[index]))
            finished[index].append(float(running[index]))
        running[ended], length[ended] = 0.0, 0
    returns = [value for values, wanted in zip(finished, quota, strict=True) for value in values[:wanted]]
    return Evaluation(float(np.mean(returns)), float(np.std(returns)), episodes, tuple(returns), cut, longest)
