"""An in-graph environment as Gymnasium has it: `GymEnv` for one, `GymVectorEnv` for a batch.

Both run one compiled step function, keep the state as tensors, and leave the mathematics to `env.functional`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from rlsample import checks
from rlsample.in_graph import actions
from rlsample.in_graph.environment import FunctionalEnv
from rlsample.in_graph.stepping import Stepper


class GymEnv(gym.Env):
    """One in-graph environment as a `gymnasium.Env`.

    Time limits are left to Gymnasium's `TimeLimit` wrapper, which `gym.make` adds. Where the environment has illegal
    actions, `info["action_mask"]` says which are legal, in the form that `action_space.sample(mask=...)` takes.

    Args:
        functional: the in-graph environment.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: an unknown render mode.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.in_graph.gymnasium_faces import GymEnv
        >>> env = GymEnv(CartPole())
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(1)
        >>> observation.shape, float(reward), bool(terminated)
        ((4,), 1.0, False)
    """

    def __init__(self, functional: FunctionalEnv, render_mode: str | None = None):
        """See the class."""
        self.functional = functional
        # Copies, since a space carries its own random state.
        self.action_space = copy.deepcopy(functional.action_space)
        self.observation_space = copy.deepcopy(functional.observation_space)
        self.metadata = dict(functional.metadata)
        self.render_mode = _check_render_mode(render_mode)
        self.stepper = Stepper(functional, 1)

    @property
    def state(self) -> Any:
        """The state without the batch axis, NumPy; None before the first reset. Set it to continue from there."""
        return self.stepper.numpy_state(lambda leaf: leaf[0])

    @state.setter
    def state(self, value: Any) -> None:
        self.stepper.set_state(value, lambda leaf: leaf[np.newaxis])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; Gymnasium's contract. No options are known."""
        super().reset(seed=seed)
        observation, mask = self.stepper.reset(self.np_random, options)
        return _first(observation), self._info(mask)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one step; Gymnasium's contract, and one-hot or relaxed actions, float `[K]` or `[F, K]`.

        Gradients do not pass through Gymnasium's interface: they do through `functional`.

        Raises:
            ValueError: the action is neither of the action space nor of that shape, or the state has become NaN or
                infinite.
            gymnasium.error.ResetNeeded: there is no state yet.
        """
        observation, reward, terminated, mask = self.stepper.step(action, np.zeros(1, np.bool_), lift=True)
        return _first(observation), float(reward[0]), bool(terminated[0]), False, self._info(mask)

    def render(self) -> np.ndarray | None:
        """Draws the current state: uint8 `[height, width, 3]`, or None if no render mode was asked for."""
        return None if self.render_mode is None else self.functional.render_image(self.state)[1]

    def _info(self, mask: np.ndarray | None) -> dict[str, Any]:
        return {} if mask is None else {"action_mask": actions.mask_to_space(self.action_space, mask[0])}


class GymVectorEnv(gym.vector.VectorEnv):
    """B in-graph environments as a native `gymnasium.vector.VectorEnv` with NEXT_STEP autoreset.

    The step after an episode's end ignores the action, gives reward 0 and the first observation of the next episode.
    All environments draw from one seed, so `reset(seed=3)` gives other starting states than it does with Gymnasium's
    `SyncVectorEnv`.

    Args:
        functional: the in-graph environment.
        num_envs: B.
        max_episode_steps: truncates after this many steps; None or 0 for never.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: a count below 1 or an unknown render mode.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.in_graph.gymnasium_faces import GymVectorEnv
        >>> envs = GymVectorEnv(CartPole(), num_envs=8, max_episode_steps=500)
        >>> observations, infos = envs.reset(seed=0)
        >>> observations, rewards, terminated, truncated, infos = envs.step(np.ones(8, np.int64))
        >>> observations.shape, rewards.sum()
        ((8, 4), np.float32(8.0))
    """

    def __init__(
        self,
        functional: FunctionalEnv,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        """See the class."""
        self.functional = functional
        self.num_envs = checks.check_count("num_envs", num_envs)
        self.max_episode_steps = max_episode_steps
        self.metadata = functional.metadata | {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.render_mode = _check_render_mode(render_mode)
        self.single_action_space = copy.deepcopy(functional.action_space)
        self.single_observation_space = copy.deepcopy(functional.observation_space)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.stepper = Stepper(functional, num_envs)
        self._elapsed = np.zeros(num_envs, np.int64)
        self._done = np.zeros(num_envs, np.bool_)

    @property
    def state(self) -> Any:
        """The states with B in front, NumPy; None before the first reset. Set them to continue from there."""
        return self.stepper.numpy_state(np.copy)

    @state.setter
    def state(self, value: Any) -> None:
        self.stepper.set_state(value, lambda leaf: leaf)

    def snapshot(self) -> dict[str, Any]:
        """All that decides what the steps to come give: `restore` goes on from there. NumPy arrays in a tree."""
        seed, elapsed, done = self.stepper.seed.copy(), self._elapsed.copy(), self._done.copy()
        return {"state": self.state, "seed": seed, "elapsed": elapsed, "done": done}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes on from a `snapshot`."""
        self.state = snapshot["state"]
        self.stepper.seed = np.array(snapshot["seed"])
        self._elapsed, self._done = np.array(snapshot["elapsed"]), np.array(snapshot["done"])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode in each environment; Gymnasium's contract. No options are known."""
        super().reset(seed=seed)
        self._elapsed[:] = 0
        self._done[:] = False
        observation, mask = self.stepper.reset(self.np_random, options)
        return observation, self._info(mask)

    def step(self, actions_: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes one step in each environment; Gymnasium's contract under NEXT_STEP autoreset.

        One-hot or relaxed actions, float `[B, K]` or `[B, F, K]`, are taken too; gradients pass through `functional`.

        Raises:
            ValueError: an action is neither of the action space nor of that shape, or a state has become NaN or
                infinite.
            gymnasium.error.ResetNeeded: there is no state yet.
        """
        observation, reward, terminated, mask = self.stepper.step(actions_, self._done)
        self._elapsed = np.where(self._done, 0, self._elapsed + 1)
        truncated = self._elapsed >= (self.max_episode_steps or np.inf)
        self._done = terminated | truncated
        return observation, reward, terminated, truncated, self._info(mask)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Draws each state: B times uint8 `[height, width, 3]`, or None if no render mode was asked for."""
        if self.render_mode is None:
            return None
        states = self.state
        rows = (tf.nest.map_structure(lambda leaf, row=row: leaf[row], states) for row in range(self.num_envs))
        return tuple(self.functional.render_image(state)[1] for state in rows)

    def _info(self, mask: np.ndarray | None) -> dict[str, Any]:
        if mask is None:
            return {}
        if isinstance(self.single_action_space, gym.spaces.Discrete):
            return {"action_mask": mask[:, 0].astype(np.int8), "_action_mask": np.ones(self.num_envs, np.bool_)}
        info: dict[str, Any] = {}
        for row in range(self.num_envs):
            nested = actions.mask_to_space(self.single_action_space, mask[row])
            info = self._add_info(info, {"action_mask": nested}, row)
        return info


Wrap = Callable[[FunctionalEnv], FunctionalEnv]
"""Puts wrappers around an environment; those that compare equal share compiled programs."""


def make_env(functional: str, render_mode: str | None = None, wrap: Wrap | None = None, **arguments: Any) -> GymEnv:
    """Builds the `Env` of a class given as "module:Class"; `arguments` go to the class, what `wrap` makes of it counts.

    Examples:
        >>> from rlsample.in_graph.gymnasium_faces import make_env
        >>> make_env("envs.bandit:Bandit", means=[0.0, 1.0]).action_space
        Discrete(2)
    """
    return GymEnv(_build(functional, wrap, arguments), render_mode)


def make_vector_env(
    functional: str,
    num_envs: int = 1,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    wrap: Wrap | None = None,
    **arguments: Any,
) -> GymVectorEnv:
    """Builds the `VectorEnv` of a class given as "module:Class"; as `make_env`.

    Examples:
        >>> from rlsample.in_graph.gymnasium_faces import make_vector_env
        >>> make_vector_env("envs.bandit:Bandit", num_envs=8).action_space
        MultiDiscrete([5 5 5 5 5 5 5 5])
    """
    return GymVectorEnv(_build(functional, wrap, arguments), num_envs, max_episode_steps, render_mode)


def _build(functional: str, wrap: Wrap | None, arguments: dict[str, Any]) -> FunctionalEnv:
    """Returns the same object for the same arguments: it has no state, and its compiled programs are then shared."""
    try:
        return _build_cached(functional, wrap, tuple(sorted(arguments.items())))
    except TypeError:  # an argument that cannot be hashed, or one that the class does not know and refuses
        return _build_anew(functional, wrap, arguments)


@functools.lru_cache(maxsize=64, typed=True)
def _build_cached(functional: str, wrap: Wrap | None, arguments: tuple[tuple[str, Any], ...]) -> FunctionalEnv:
    return _build_anew(functional, wrap, dict(arguments))


def _build_anew(functional: str, wrap: Wrap | None, arguments: dict[str, Any]) -> FunctionalEnv:
    env = load_env_creator(functional)(**arguments)
    return env if wrap is None else wrap(env)


def _first(observation: Any) -> Any:
    return tf.nest.map_structure(lambda part: part[0], observation)


def _check_render_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "rgb_array"):
        raise checks.invalid("render_mode to be None or 'rgb_array'", render_mode=render_mode)
    return render_mode
