"""Stepping Gymnasium vector environments: every transition right, whatever the autoreset mode."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import tree as nest

from rlsample import checks
from rlsample.rollouts.environments import faults
from rlsample.rollouts.environments.bounds import Bounds
from rlsample.rollouts.environments.masks import MaskReader, without_mask
from rlsample.rollouts.environments.observations import bounds, read, stacked
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.snapshot import Resumable, Snapshot, arrays_of, tree_from
from rlsample.rollouts.transition import Transition
from rlsample.spaces import Factors

Autoreset = gym.vector.AutoresetMode

ENDLESS = 10_000
"""An episode of more steps may never end by itself."""


def episode_metrics(returns: list[float], lengths: list[int], unfinished: int) -> dict[str, float]:
    """What is logged of episodes that ended, where some did, and of those under way.

    Examples:
        >>> from rlsample.rollouts.gymnasium_collector import episode_metrics
        >>> metrics = episode_metrics(returns=[10.0, 20.0], lengths=[10, 20], unfinished=7)
        >>> metrics["charts/episodic_return"], metrics["charts/unfinished_length"]
        (15.0, 7.0)
    """
    metrics = {"charts/unfinished_length": float(unfinished)}
    if returns:
        metrics["charts/episodes"] = float(len(returns))
        metrics["charts/episodic_return"] = float(np.mean(returns))
        metrics["charts/episodic_length"] = float(np.mean(lengths))
    return metrics


class GymnasiumCollector:
    """A vector environment with its current observations, masks and running returns.

    Attributes:
        observation: what is seen now, from `observations.read`: a tree of arrays `[B, ...]`.
        mask: bool `[B, K]` or `[B, F, K]`, what is legal now.
        starts: bool `[B]`, whether an episode begins with that observation.
        returns: undiscounted returns of the episodes that ended since `pop_episodes` was last called.
        lengths: their lengths.
        info: what the environments said besides, at the last step or reset.

    Examples:
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> from rlsample.rollouts.in_numpy.actor import uniform_actions
        >>> envs, noise = gym.make_vec("CartPole-v1", num_envs=8), np.random.default_rng(0)
        >>> collector = GymnasiumCollector(envs, spaces.factorise(envs.single_action_space), seed=0)
        >>> transitions = collector.collect(lambda observation, mask: uniform_actions(noise, mask), num_steps=50)
        >>> transitions.reward.shape, int((~transitions.valid).sum()), len(collector.returns)
        ((50, 8), 11, 11)
    """

    def __init__(self, envs: gym.vector.VectorEnv, factors: Factors, seed: int) -> None:
        self.envs, self.factors = envs, factors
        self.autoreset = Autoreset(envs.metadata.get("autoreset_mode", Autoreset.NEXT_STEP))
        if self.autoreset is Autoreset.DISABLED:
            raise checks.invalid(
                "environments that reset themselves", autoreset_mode=self.autoreset, hint="Use NEXT_STEP or SAME_STEP."
            )
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self._return = np.zeros(envs.num_envs)
        self._length = np.zeros(envs.num_envs, int)
        self._resetting = np.zeros(envs.num_envs, bool)
        self._warned = False
        everything = factors.mask(None, batch=envs.num_envs)
        shape = (envs.num_envs, *factors.event_shape)
        self._everything = np.ones(shape, bool) if everything is None else everything.copy()
        self._everything.flags.writeable = False
        self._space, self._masks = without_mask(envs.single_observation_space), MaskReader(envs, factors)
        self._bounds = Bounds(bounds(self._space))
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        """Begins an episode in each environment."""
        observations, info = faults.reset(self.envs, seed)
        self.info: dict[str, Any] = info
        self.starts = np.ones(self.envs.num_envs, bool)
        with faults.given_by(self.envs):
            self.observation = read(self._space, observations)
            self.mask = self._read_mask(observations, info, self.starts)

    def collect(self, act: NumpyAct, num_steps: int) -> Transition:
        """Takes T steps in every environment: arrays `[T, B, ...]`.

        Rows in which an environment ignored the action to reset itself are not `valid`.

        Args:
            act: chooses actions.
            num_steps: T.
        """
        return stacked([self.step(act(self.observation, self.mask)) for _ in range(num_steps)])

    def step(self, action: np.ndarray) -> Transition:
        """Takes one action per environment, given as factor indices.

        Raises:
            UnusableStepError: NaN or inf in a reward or an observation, a reward too large to learn from, or nothing
                legal; names the environment, before anything learns from it.
            EnvironmentFault: an environment failed, or broke Gymnasium's contract.
        """
        actions = self.factors.to_env(action)
        observations, rewards, terminated, truncated, info = faults.step(self.envs, actions)
        self.info, done = info, terminated | truncated
        with faults.given_by(self.envs, actions):
            following = read(self._space, observations)
            self._bounds.check(nest.flatten(following), rewards)
            # With SAME_STEP the info is already the next episode's; otherwise a finished one has nothing legal to say.
            following_mask = self._read_mask(observations, info, ~done | (self.autoreset is Autoreset.SAME_STEP))
        rewards = np.asarray(rewards, np.float32)
        transition = Transition(
            observation=self.observation,
            mask=self.mask,
            action=np.asarray(action, np.int32),
            reward=rewards,
            next_observation=self._final(following, info, done),
            next_mask=self._next_mask(following_mask, observations, info, terminated, truncated),
            terminated=terminated,
            truncated=truncated,
            valid=~self._resetting,
        )
        self._count(rewards, done & transition.valid, transition.valid)
        self.starts = done if self.autoreset is Autoreset.SAME_STEP else self._resetting
        self._resetting = done if self.autoreset is Autoreset.NEXT_STEP else np.zeros_like(done)
        self.observation, self.mask = following, following_mask
        return transition

    def snapshot(self) -> Snapshot:
        """Where the episodes under way stand, if the environments can tell: those written in TensorFlow can."""
        envs = self.envs.unwrapped
        if not isinstance(envs, Resumable):
            return Snapshot({}, {})
        own = self.observation, self.mask, self._return, self._length, self._resetting, self.starts
        return Snapshot(arrays_of("collector", own) | arrays_of("environments", envs.snapshot()), {})

    def restore(self, snapshot: Snapshot, seed: int) -> bool:
        """Goes on with the episodes of a snapshot; where there are none, begins new ones from the seed.

        Returns:
            Whether they go on.
        """
        envs = self.envs.unwrapped
        goes_on = isinstance(envs, Resumable)
        if goes_on:
            own = self.observation, self.mask, self._return, self._length, self._resetting, self.starts
            self.observation, self.mask, self._return, self._length, self._resetting, self.starts = tree_from(
                snapshot.arrays, "collector", own
            )
            envs.restore(tree_from(snapshot.arrays, "environments", envs.snapshot()))
        else:
            self._begin(seed)
        return goes_on

    def pop_episodes(self) -> dict[str, float]:
        """Metrics of the episodes that ended since the last call, where some did, and of those under way."""
        return episode_metrics(*self.take_episodes())

    def take_episodes(self) -> tuple[list[float], list[int], int]:
        """Returns and lengths of the episodes that ended since the last call; steps so far of the longest one left."""
        returns, lengths = self.returns, self.lengths
        self.returns, self.lengths = [], []
        return returns, lengths, int(self._length.max())

    def _final(self, following: Any, info: dict[str, Any], done: np.ndarray) -> Any:
        # With SAME_STEP the observation is already the next episode's; what the action led to is in the info.
        if self.autoreset is not Autoreset.SAME_STEP or not done.any():
            return following
        space, ended = self._space, np.flatnonzero(done)
        batch = gym.vector.utils.create_empty_array(space, len(ended))
        last = read(space, gym.vector.utils.concatenate(space, [info["final_obs"][i] for i in ended], batch))

        def replaced(rows: np.ndarray, new: np.ndarray) -> np.ndarray:
            final = rows.copy()
            final[ended] = new
            return final

        return nest.map_structure(replaced, following, last)

    def _count(self, rewards: np.ndarray, ended: np.ndarray, valid: np.ndarray) -> None:
        self._return += rewards * valid
        self._length += valid
        if not self._warned and self._length.max() > ENDLESS:
            self._warned = True
            hint = "For example env.kwargs.max_episode_steps=200 cuts them."
            warnings.warn(
                f"The episode of environment {self._length.argmax()} has not ended in {ENDLESS:,} steps, and counts in "
                f"no return before it does. {hint} This is said once.",
                RuntimeWarning,
                stacklevel=3,
            )
        if not ended.any():
            return
        for index in np.flatnonzero(ended):
            self.returns.append(float(self._return[index]))
            self.lengths.append(int(self._length[index]))
        self._return[ended] = 0.0
        self._length[ended] = 0

    def _next_mask(
        self,
        following_mask: np.ndarray,
        observations: Any,
        info: dict[str, Any],
        terminated: np.ndarray,
        truncated: np.ndarray,
    ) -> np.ndarray:
        """What is legal in the state each action led to: where only the time was up, that state's own mask."""
        mask, cut = self._everything_where(terminated | truncated, following_mask), truncated & ~terminated
        if not cut.any():
            return mask
        try:
            same_step = self.autoreset is Autoreset.SAME_STEP
            own = self._masks.read_final(info, cut) if same_step else self._masks.read(observations, info, cut)
        except ValueError:  # Nothing is legal there: the next state is then as free as any.
            return mask
        return mask if own is None else np.where(cut.reshape(-1, *[1] * (own.ndim - 1)), own, mask)

    def _everything_where(self, done: np.ndarray, following_mask: np.ndarray) -> np.ndarray:
        if following_mask is self._everything or not done.any():
            return following_mask
        return np.where(done.reshape(-1, *[1] * (following_mask.ndim - 1)), self._everything, following_mask)

    def _read_mask(self, observations: Any, info: dict[str, Any], speaking: np.ndarray) -> np.ndarray:
        mask = self._masks.read(observations, info, speaking)
        return self._everything if mask is None else mask
