"""The stateful stepping beneath both Gymnasium faces: two compiled programs, a state and a counted seed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.in_graph.environment import FunctionalEnv


class _Programs:
    """The two programs that step a batch of environments: `reset(seed)` and `step(state, action, done, seed)`."""

    def __init__(self, functional: FunctionalEnv, num_envs: int):
        self._functional = functional
        self._num_envs = num_envs
        self.dtype = functional.dtype.as_numpy_dtype
        seed = tf.TensorSpec([2], tf.int32)
        self.reset = tf.function(self._reset, autograph=False).get_concrete_function(seed)
        self.state_spec: Any = self.reset.structured_outputs[0]
        self.step = self._compile_step(tf.TensorSpec([num_envs, *functional.factors.action_shape], tf.int32))

    @functools.cached_property
    def step_weights(self) -> Any:
        """`step` for one-hot or relaxed actions, compiled when the first one comes."""
        return self._compile_step(
            tf.TensorSpec([self._num_envs, *self._functional.factors.event_shape], self._functional.dtype)
        )

    def _compile_step(self, action: tf.TensorSpec) -> Any:
        # A concrete function skips the signature look-up, and a small XLA program has no cost per operation.
        return tf.function(self._step, autograph=False, jit_compile=True).get_concrete_function(
            self.state_spec, action, tf.TensorSpec([self._num_envs], tf.bool), tf.TensorSpec([2], tf.int32)
        )

    def _mask(self, state: Any) -> tf.Tensor | None:
        mask = self._functional.action_mask(state)
        factors = self._functional.factors
        shape = [self._num_envs, factors.num_factors, factors.num_categories]
        return None if mask is None else tf.reshape(mask, shape)

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


class Stepper:
    """State and seeds of a batch of environments; NumPy in, NumPy out.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.in_graph.stepping import Stepper
        >>> stepper = Stepper(CartPole(), num_envs=8)
        >>> observation, mask = stepper.reset(np.random.default_rng(0), None)
        >>> observation, reward, terminated, mask = stepper.step(np.zeros(8, np.int64), done=np.zeros(8, bool))
        >>> observation.shape, reward.sum(), mask
        ((8, 4), np.float32(8.0), None)
    """

    def __init__(self, functional: FunctionalEnv, num_envs: int):
        self.factors = functional.factors
        self.programs = _compile(functional, num_envs)
        self.state: Any = None
        self.seed = np.zeros(2, np.int32)  # drawn at reset, then counted up: each step its own

    def reset(self, generator: np.random.Generator, options: dict[str, Any] | None) -> tuple[Any, np.ndarray | None]:
        """Draws starting states and a seed: `(observation, mask)`, batch axis first."""
        if options:
            raise checks.invalid("no reset options", options=options, hint="Pass arguments to gym.make instead.")
        self.seed = generator.integers(2**31, size=2, dtype=np.int32)
        self.state, observation, mask = self.programs.reset(tf.constant(self.seed))
        return _to_numpy(observation), _to_numpy(mask)

    def step(
        self, action: Any, done: np.ndarray, *, lift: bool = False
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray | None]:
        """Takes one step: `(observation, reward, terminated, mask)`, batch axis first.

        Args:
            action: as the environment takes it, or one-hot or relaxed floats `[B, K]` or `[B, F, K]`; a batch unless
                `lift` says that it is a single one.
            done: bool `[B]`, the environments to reset instead.
            lift: see `action`.

        Raises:
            ValueError: the action is not in the space, or the step gives NaN or infinity; the state stays as it was.
            gymnasium.error.ResetNeeded: there is no state yet.
        """
        if self.state is None:
            raise gym.error.ResetNeeded("Call reset (or set the state) before step.")
        values, event = self._read(action)
        batch = () if lift else done.shape
        if values.shape != (*batch, *event):
            raise checks.invalid(f"action to have batch shape {batch}", action=action)
        self.seed[1] = (int(self.seed[1]) + 1) % 2**31
        program = self.programs.step if values.dtype == np.int32 else self.programs.step_weights
        inputs = tf.constant(values[np.newaxis] if lift else values), tf.constant(done), tf.constant(self.seed)
        state, *outputs = program(self.state, *inputs)
        observation, reward, terminated, mask = map(_to_numpy, outputs)
        if not np.isfinite(reward).all():
            rows = np.flatnonzero(~np.isfinite(reward)).tolist()
            raise checks.invalid("finite states and rewards", rows=rows, reward=reward[rows])
        self.state = state
        return observation, reward, terminated, mask

    def _read(self, action: Any) -> tuple[np.ndarray, tuple[int, ...]]:
        """Factor indices int32 or weights of categories, and the shape that one action of that kind has."""
        if isinstance(action, (tuple, dict)) or not np.issubdtype(np.asarray(action).dtype, np.floating):
            return self.factors.from_env(action), self.factors.action_shape
        event = self.factors.event_shape
        weights = np.asarray(action, self.programs.dtype)
        if weights.shape[-len(event) :] != event:
            kinds = f"action to be of the action space, or floats of shape {('...', *event)}"
            raise checks.invalid(kinds, shape=weights.shape)
        return weights, event

    def numpy_state(self, pick: Callable[[np.ndarray], np.ndarray]) -> Any:
        """Returns what `pick` takes from each array of the state, copied; None before the first reset."""
        return None if self.state is None else tf.nest.map_structure(lambda leaf: pick(leaf.numpy()).copy(), self.state)

    def set_state(self, value: Any, lift: Callable[[np.ndarray], np.ndarray]) -> None:
        """Takes NumPy values of the structure, shapes and dtypes that `initial` gives; casts between floats."""

        def one(spec: tf.TensorSpec, leaf: Any) -> tf.Tensor:
            array = lift(np.asarray(leaf, spec.dtype.as_numpy_dtype))
            if array.shape != tuple(spec.shape) or (spec.dtype.is_floating and not np.isfinite(array).all()):
                raise checks.invalid(f"a finite state of shape {tuple(spec.shape)}, batch axis first", state=array)
            return tf.constant(array)

        def read(spec: Any, value: Any) -> Any:
            if isinstance(spec, dict):
                return {key: read(part, value[key]) for key, part in spec.items()}
            if isinstance(spec, tuple):
                return type(spec)(*(read(part, leaf) for part, leaf in zip(spec, value, strict=True)))
            return one(spec, value)

        self.state = read(self.programs.state_spec, value)


def _to_numpy(tree: Any) -> Any:
    # Copies, because the caller keeps what it gets and .numpy() may share memory with a tensor.
    return tf.nest.map_structure(lambda leaf: None if leaf is None else leaf.numpy().copy(), tree)
