"""The action before and what it earned, beside the observation."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rlsample.spaces import Factors, factorise


class PreviousActionAndReward(gym.Wrapper):
    """Shows the action before, as one-hots, and its reward, beside the observation; zeros where an episode begins.

    The observation becomes a Dict of `observation`, `previous_action` (float32 `[K]`, or `[F, K]` of several factors)
    and `previous_reward` (float32 `[1]`). With them a memory can tell what an action does.

    Args:
        env: whose actions are discrete.

    Raises:
        ValueError: actions that are not.

    Source: Wang et al. (2016), Learning to reinforcement learn, arXiv 1611.05763; Duan et al. (2016), RL^2, arXiv
    1611.02779.

    Examples:
        >>> from rlsample.wrappers import PreviousActionAndReward
        >>> env = PreviousActionAndReward(gym.make("CartPole-v1"))
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(1)
        >>> observation["previous_action"], observation["previous_reward"]
        (array([0., 1.], dtype=float32), array([1.], dtype=float32))
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._factors = factorise(env.action_space)
        self.observation_space = with_previous(env.observation_space, self._factors)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._beside(observation, np.zeros(self._factors.event_shape, np.float32), 0.0), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Gymnasium's contract."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        index = np.asarray(self._factors.from_env(action))
        one_hot = index[..., np.newaxis] == np.arange(self._factors.num_categories)
        seen = self._beside(observation, one_hot.astype(np.float32), float(reward))
        return seen, reward, terminated, truncated, info

    def _beside(self, observation: Any, action: np.ndarray, reward: float) -> dict[str, Any]:
        return {
            "observation": observation,
            "previous_action": action,
            "previous_reward": np.array([reward], np.float32),
        }


def with_previous(space: gym.Space, factors: Factors, dtype: Any = np.float32) -> gym.spaces.Dict:
    """The space of observations with the action and the reward before.

    Examples:
        >>> from rlsample.wrappers.previous_action_and_reward import with_previous
        >>> space = with_previous(gym.spaces.Discrete(16), spaces.factorise(gym.spaces.Discrete(4)))
        >>> {name: part.shape for name, part in space.items()}
        {'observation': (), 'previous_action': (4,), 'previous_reward': (1,)}
    """
    action = gym.spaces.Box(0.0, 1.0, factors.event_shape, dtype)
    reward = gym.spaces.Box(-np.inf, np.inf, (1,), dtype)
    return gym.spaces.Dict({"observation": space, "previous_action": action, "previous_reward": reward})
