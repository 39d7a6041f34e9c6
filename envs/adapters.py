"""The two faces that Gymnasium knows of an in-graph environment: `GymEnv` and `GymVectorEnv`.

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

from envs import actions
from envs.functional import FunctionalEnv
from rlsample import checks


class GymEnv(gym.Env):
    """One in-graph environment as a `gymnasium.Env`.

    Time limits are left to Gymnasium's `TimeLimit` wrapper, which `gym.make` adds. Where the environment has illegal
    actions, `info["action_mask"]` says which are legal, in the form that `action_space.sample(mask=...)` takes.

    Args:
        functional: the in-graph environment.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: an unknown render mode.
    """

    def __init__(self, functional: FunctionalEnv, render_mode: str | None = None):
        """See the class."""
        self.functional = functional
        # Copies, since a space carries its own random state.
        self.action_space = copy.deepcopy(functional.action_space)
        self.observation_space = copy.deepcopy(functional.observation_space)
        self.metadata = dict(functional.metadata)
        self.render_mode = _check_render_mode(render_mode)
        self._core = _Core(functional, 1)

    @property
    def state(self) -> Any:
        """The state without the batch axis, NumPy; None before the first reset. Set it to continue from there."""
        return self._core.numpy_state(lambda leaf: leaf[0])

    @state.setter
    def state(self, value: Any) -> None:
        self._core.set_state(value, lambda leaf: leaf[np.newaxis])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; Gymnasium's contract. No options are known."""
        super().reset(seed=seed)
        observation, mask = self._core.reset(self.np_random, options)
        return observation[0], self._info(mask)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one step; Gymnasium's contract.

        Raises:
            ValueError: the action is not in the action space, or the state has become NaN or infinite.
            gymnasium.error.ResetNeeded: there is no state yet.
        """
        factors = actions.to_factors(self.action_space, action)
        observation, reward, terminated, mask = self._core.step(factors, np.zeros(1, np.bool_))
        return observation[0], float(reward[0]), bool(terminated[0]), False, self._info(mask)

    def render(self) -> np.ndarray | None:
        """Draws the current state: uint8 `[height, width, 3]`, or None if no render mode was asked for."""
        return None if self.render_mode is None else self.functional.render_image(self.state)[1]

    def _info(self, mask: np.ndarray | None) -> dict[str, Any]:
        return {} if mask is None else {"action_mask": actions.mask_to_space(self.action_space, mask[0])}


class GymVectorEnv(gym.vector.VectorEnv):
    """B in-graph environments as a native `gymnasium.vector.VectorEnv` with NEXT_STEP autoreset.

    The step after an episode's end ignores the action, gives reward 0 and the first observation of the next episode.
    All environments draw from one seed, so `reset(seed=3)` starts others than Gymnasium's `SyncVectorEnv` does.

    Args:
        functional: the in-graph environment.
        num_envs: B.
        max_episode_steps: truncates after this many steps; None or 0 for never.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: a count below 1 or an unknown render mode.
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
        self._core = _Core(functional, num_envs)
        self._elapsed = np.zeros(num_envs, np.int64)
        self._done = np.zeros(num_envs, np.bool_)

    @property
    def state(self) -> Any:
        """The states with B in front, NumPy; None before the first reset. Set them to continue from there."""
        return self._core.numpy_state(np.copy)

    @state.setter
    def state(self, value: Any) -> None:
        self._core.set_state(value, lambda leaf: leaf)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode in each environment; Gymnasium's contract. No options are known."""
        super().reset(seed=seed)
        self._elapsed[:] = 0
        self._done[:] = False
        observation, mask = self._core.reset(self.np_random, options)
        return observation, self._info(mask)

    def step(self, actions_: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes one step in each environment; Gymnasium's contract under NEXT_STEP autoreset.

        Raises:
            ValueError: an action is not in the action space, or a state has become NaN or infinite.
            gymnasium.error.ResetNeeded: there is no state yet.
        """
        factors = actions.to_factors(self.single_action_space, actions_, self.num_envs)
        observation, reward, terminated, mask = self._core.step(factors, self._done)
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


def make_env(functional: str, render_mode: str | None = None, **arguments: Any) -> GymEnv:
    """Builds the `Env` of a class given as "module:Class"; `arguments` go to the class."""
    return GymEnv(_build(functional, arguments), render_mode)


def make_vector_env(
    functional: str,
    num_envs: int = 1,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    **arguments: Any,
) -> GymVectorEnv:
    """Builds the `VectorEnv` of a class given as "module:Class"; `arguments` go to the class."""
    return GymVectorEnv(_build(functional, arguments), num_envs, max_episode_steps, render_mode)


def _build(functional: str, arguments: dict[str, Any]) -> FunctionalEnv:
    """Returns the same object for the same arguments: it has no state, and its compiled programs are then shared."""
    try:
        return _build_cached(functional, tuple(sorted(arguments.items())))
    except TypeError:  # an argument that cannot be hashed, or one that the class does not know: the class will say
        return load_env_creator(functional)(**arguments)


@functools.lru_cache(maxsize=64, typed=True)
def _build_cached(functional: str, arguments: tuple[tuple[str, Any], ...]) -> FunctionalEnv:
    return load_env_creator(functional)(**dict(arguments))


class _Programs:
    """The two programs that step a batch of environments: `reset(seed)` and `step(state, action, done, seed)`."""

    def __init__(self, functional: FunctionalEnv, num_envs: int):
        self._functional = functional
        self._num_envs = num_envs
        seed = tf.TensorSpec([2], tf.int32)
        self.reset = tf.function(self._reset, autograph=False).get_concrete_function(seed)
        self.state_spec: Any = self.reset.structured_outputs[0]
        factors = (
            [num_envs]
            if isinstance(functional.action_space, gym.spaces.Discrete)
            else [num_envs, len(functional.sizes)]
        )
        # A concrete function skips the signature look-up, and a small XLA program has no cost per operation.
        self.step = tf.function(self._step, autograph=False, jit_compile=True).get_concrete_function(
            self.state_spec, tf.TensorSpec(factors, tf.int32), tf.TensorSpec([num_envs], tf.bool), seed
        )

    def _mask(self, state: Any) -> tf.Tensor | None:
        mask = self._functional.action_mask(state)
        factors = len(self._functional.sizes)
        return None if mask is None else tf.reshape(mask, [self._num_envs, factors, max(self._functional.sizes)])

    def _reset(self, seed: tf.Tensor) -> tuple[Any, ...]:
        state = self._functional.initial(seed, self._num_envs)
        return state, self._functional.observation(state), self._mask(state)

    def _step(self, state: Any, action: tf.Tensor, done: tf.Tensor, seed: tf.Tensor) -> tuple[Any, ...]:
        step = self._functional.step(state, action, seed)
        # Environments that had ended are reset in place of this step: the NEXT_STEP contract.
        state = self._functional.reset_where(done, step.state, seed)
        reward = tf.where(done, tf.zeros_like(step.reward), step.reward)
        return state, self._functional.observation(state), reward, step.terminated & ~done, self._mask(state)


_compile = functools.lru_cache(maxsize=64)(_Programs)


class _Core:
    """State and seeds of a batch of environments; NumPy in, NumPy out."""

    def __init__(self, functional: FunctionalEnv, num_envs: int):
        self.programs = _compile(functional, num_envs)
        self.state: Any = None
        self.seed = np.zeros(2, np.int32)  # drawn at reset, then counted up: each step its own

    def reset(self, generator: np.random.Generator, options: dict[str, Any] | None) -> tuple[Any, np.ndarray | None]:
        if options:
            raise checks.invalid("no reset options", options=options, hint="Pass arguments to gym.make instead.")
        self.seed = generator.integers(2**31, size=2, dtype=np.int32)
        self.state, observation, mask = self.programs.reset(tf.constant(self.seed))
        return _to_numpy(observation), _to_numpy(mask)

    def step(self, factors: np.ndarray, done: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray | None]:
        if self.state is None:
            raise gym.error.ResetNeeded("Call reset (or set the state) before step.")
        self.seed[1] = (int(self.seed[1]) + 1) % 2**31
        inputs = tf.constant(factors), tf.constant(done), tf.constant(self.seed)
        state, *outputs = self.programs.step(self.state, *inputs)
        observation, reward, terminated, mask = map(_to_numpy, outputs)
        if not np.isfinite(reward).all():
            rows = np.flatnonzero(~np.isfinite(reward)).tolist()
            raise checks.invalid("finite states and rewards", rows=rows, reward=reward[rows])
        self.state = state
        return observation, reward, terminated, mask

    def numpy_state(self, pick: Callable[[np.ndarray], np.ndarray]) -> Any:
        return None if self.state is None else tf.nest.map_structure(lambda leaf: pick(leaf.numpy()).copy(), self.state)

    def set_state(self, value: Any, lift: Callable[[np.ndarray], np.ndarray]) -> None:
        """Takes NumPy values of the structure, shapes and dtypes that `initial` gives; casts between floats."""

        def one(spec: tf.TensorSpec, leaf: Any) -> tf.Tensor:
            array = lift(np.asarray(leaf, spec.dtype.as_numpy_dtype))
            if array.shape != tuple(spec.shape) or (spec.dtype.is_floating and not np.isfinite(array).all()):
                raise checks.invalid(f"a finite state of shape {tuple(spec.shape)}, batch axis first", state=array)
            return tf.constant(array)

        spec = self.programs.state_spec
        if tf.nest.is_nested(spec):
            self.state = type(spec)(*(one(leaf_spec, leaf) for leaf_spec, leaf in zip(spec, value, strict=True)))
        else:
            self.state = one(spec, value)


def _to_numpy(value: Any) -> Any:
    # A copy, because the caller keeps what it gets and .numpy() may share memory with a tensor.
    return None if value is None else value.numpy().copy()


def _check_render_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "rgb_array"):
        raise checks.invalid("render_mode to be None or 'rgb_array'", render_mode=render_mode)
    return render_mode
