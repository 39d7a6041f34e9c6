"""What is legal, from wherever an environment says so.

    info["action_mask"]             Gymnasium's toy text, and the environments of this library
    observation["action_mask"]      PettingZoo and RLlib: an entry of a Dict observation; it is no feature. In what each
                                    of several agents sees, the action is a Dict or Tuple of theirs
    env.action_masks()              sb3-contrib: a method, of the environment or of a wrapper around it
    ActionMasks(env, function)      a function of your own

The first of them that is there counts. Each takes every form that `Factors.mask` reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample.spaces import Factors

KEY = "action_mask"
METHOD = "action_masks"


def without_mask(space: gym.Space) -> gym.Space:
    """The space of what there is to learn from: a Dict observation without its entry `action_mask`, and so each in it.

    Examples:
        >>> from rlsample.rollouts.environments.masks import without_mask
        >>> mask, board = gym.spaces.MultiBinary(9), gym.spaces.Box(0.0, 1.0, (3, 3))
        >>> without_mask(gym.spaces.Dict({"action_mask": mask, "board": board}))
        Dict('board': Box(0.0, 1.0, (3, 3), float32))
    """
    match space:
        case gym.spaces.Dict():
            kept = {key: without_mask(part) for key, part in space.spaces.items() if key != KEY}
            return gym.spaces.Dict(kept, sort_keys=False)  # In the order of the other, be it sorted or not.
        case gym.spaces.Tuple():
            return gym.spaces.Tuple([without_mask(part) for part in space.spaces])
    return space


def unmasked(observation: Any) -> Any:
    """An observation as `without_mask` has its space.

    Examples:
        >>> from rlsample.rollouts.environments.masks import unmasked
        >>> unmasked({"left": {"action_mask": np.array([1, 0]), "place": 3}, "right": (4, 5)})
        {'left': {'place': 3}, 'right': (4, 5)}
    """
    if isinstance(observation, dict):
        return {key: unmasked(part) for key, part in observation.items() if key != KEY}
    return tuple(map(unmasked, observation)) if isinstance(observation, tuple) else observation


def observed_mask(observations: Any) -> Any:
    """The entry `action_mask` of Dict observations, or a tree of those inside of them; None if there is none.

    Examples:
        >>> from rlsample.rollouts.environments.masks import observed_mask
        >>> observed_mask({"board": np.zeros(9), "action_mask": np.array([1, 0, 1])})
        array([1, 0, 1])
        >>> observed_mask({"left": {"action_mask": np.array([1, 0])}, "right": np.zeros(9)})
        {'left': array([1, 0]), 'right': None}
    """
    if isinstance(observations, dict):
        if KEY in observations:
            return observations[KEY]
        inner: Any = {key: observed_mask(part) for key, part in observations.items()}
        return inner if any(part is not None for part in inner.values()) else None
    if isinstance(observations, tuple):
        inner = tuple(observed_mask(part) for part in observations)
        return inner if any(part is not None for part in inner) else None
    return None


class MaskReader:
    """Reads the masks of a vector environment, after each of its steps.

    Args:
        envs: the vector environment.
        factors: of its action space.

    Examples:
        >>> from rlsample.rollouts.environments.masks import MaskReader
        >>> envs = gym.make_vec("Taxi-v4", num_envs=2)
        >>> reader = MaskReader(envs, spaces.factorise(envs.single_action_space))
        >>> observations, info = envs.reset(seed=0)
        >>> reader.read(observations, info, speaking=np.array([True, False]))
        array([[ True,  True, False, False, False, False],
               [ True,  True,  True,  True,  True,  True]])
    """

    def __init__(self, envs: gym.vector.VectorEnv, factors: Factors) -> None:
        self._envs, self._factors = envs, factors
        self._in_observation = without_mask(envs.single_observation_space) != envs.single_observation_space
        self._has_method = not self._in_observation and _has_method(envs)

    def read(self, observations: Any, info: dict[str, Any], speaking: np.ndarray) -> np.ndarray | None:
        """What is legal now: bool `[B, K]` or `[B, F, K]`, or None where nobody says anything.

        Args:
            observations: as `reset` or `step` returned them.
            info: likewise.
            speaking: bool `[B]`, environments whose mask counts; in the others everything is legal.

        Raises:
            ValueError: a mask of no known form, or one that leaves nothing.
        """
        if KEY in info:
            present = speaking & np.asarray(info.get(f"_{KEY}", True), bool)
            return self._factors.mask(info[KEY], batch=len(speaking), present=present)
        if self._in_observation:
            return self._factors.mask(observed_mask(observations), batch=len(speaking), present=speaking)
        if self._has_method:
            return self._factors.mask(self._call(), batch=len(speaking), present=speaking)
        return None

    def read_final(self, info: dict[str, Any], cut: np.ndarray) -> np.ndarray | None:
        """What is legal in final states that are only in the info, as SAME_STEP environments have it; see `read`."""
        final = info.get("final_info", {})
        if KEY in final:
            return self.read(None, final, cut)
        if self._in_observation and "final_obs" in info:
            observed = [observed_mask(obs) if at else None for obs, at in zip(info["final_obs"], cut, strict=True)]
            return self._factors.mask(_rows(observed), batch=len(cut), present=cut)
        return None

    def _call(self) -> Any:
        unwrapped = self._envs.unwrapped
        if hasattr(unwrapped, METHOD):
            return getattr(unwrapped, METHOD)()
        return _rows(unwrapped.call(METHOD))


class ObservedMasks(gym.Wrapper):
    """Puts the entry `action_mask` of Dict observations into the info, where wrappers around it leave it as it is.

    Args:
        env: the environment.

    Examples:
        >>> from rlsample.rollouts.environments.masks import ObservedMasks
        >>> class Masked(gym.ObservationWrapper):
        ...     observation_space = gym.spaces.Dict(x=gym.spaces.Discrete(9), action_mask=gym.spaces.MultiBinary(2))
        ...     def observation(self, observation):
        ...         return {"x": 4, "action_mask": np.array([1, 0], np.int8)}
        >>> ObservedMasks(Masked(gym.make("CartPole-v1"))).reset(seed=0)
        ({'x': 4}, {'action_mask': array([1, 0], dtype=int8)})
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observation_space = without_mask(env.observation_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract."""
        observation, info = self.env.reset(seed=seed, options=options)
        return unmasked(observation), {KEY: observed_mask(observation)} | info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Gymnasium's contract."""
        observation, *outcome, info = self.env.step(action)
        return unmasked(observation), *outcome, {KEY: observed_mask(observation)} | info


def mask_in_info(env: gym.Env) -> gym.Env:
    """An environment within `ObservedMasks`, if it has masks in what is observed.

    Examples:
        >>> from rlsample.rollouts.environments.masks import mask_in_info
        >>> mask_in_info(gym.make("CartPole-v1")).observation_space.shape
        (4,)
    """
    return env if without_mask(env.observation_space) == env.observation_space else ObservedMasks(env)


class ActionMasks(gym.Wrapper):
    """Puts what a function says of the environment into `info["action_mask"]`.

    Args:
        env: the environment.
        function: env -> mask, in any form that `Factors.mask` reads.

    Examples:
        >>> from rlsample.rollouts.environments.masks import ActionMasks
        >>> env = ActionMasks(gym.make("CartPole-v1"), lambda env: [True, env.unwrapped.state[0] < 2.0])
        >>> observation, info = env.reset(seed=0)
        >>> [bool(legal) for legal in info["action_mask"]]
        [True, True]
    """

    def __init__(self, env: gym.Env, function: Callable[[gym.Env], Any]) -> None:
        super().__init__(env)
        self._function = function

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, info | {KEY: self._function(self.env)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Gymnasium's contract."""
        *outcome, info = self.env.step(action)
        return *outcome, info | {KEY: self._function(self.env)}


def _rows(masks: Any) -> np.ndarray:
    """An object array of one mask per environment."""
    rows = np.empty(len(masks), object)
    for index, mask in enumerate(masks):
        rows[index] = mask
    return rows


def _has_method(envs: gym.vector.VectorEnv) -> bool:
    unwrapped = envs.unwrapped
    if hasattr(unwrapped, METHOD):
        return True
    if isinstance(unwrapped, gym.vector.SyncVectorEnv):
        return unwrapped.envs[0].has_wrapper_attr(METHOD)
    if isinstance(unwrapped, gym.vector.AsyncVectorEnv):
        # Asking a worker for what it may not have would end it: look at one made here.
        probe = unwrapped.env_fns[0]()
        found = probe.has_wrapper_attr(METHOD)
        probe.close()
        return found
    return False
