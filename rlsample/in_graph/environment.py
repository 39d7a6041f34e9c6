"""The in-graph environment: a Gymnasium `FuncEnv` written in TensorFlow, batched, without hidden state.

One object has three faces. Its own methods are pure functions of tensors, for use inside a compiled program. In
`rlsample.in_graph.gymnasium_faces`, `GymEnv` makes it a `gymnasium.Env` and `GymVectorEnv` a native `VectorEnv`; both
keep it as `env.unwrapped.functional`. A whole rollout in one XLA program:

    env = CartPole()
    state = env.initial(seed, num_envs=64)
    for step in tf.range(128):
        action = policy(env.observation(state))                    # int32 [B], or one-hot float [B, K]
        step_seed = ops.fold_in(seed, step)
        state, observation, reward, terminated = env.step(state, action, step_seed)
        state = env.reset_where(terminated, state, step_seed)      # `observation` is still the final one

Shapes: B environments, F action factors, K categories (the largest of the factors; smaller ones are padded).
State: a tensor, or a NamedTuple of tensors, each with B in front.
Action: integer `[B]` (`[B, F]` where the space has several factors) that counts from 0 whatever `start` the space has,
or a one-hot or relaxed float `[B, K]` (`[B, F, K]`). A float action acts as the mix of what its categories do, linear
in their weights, so a corner of the simplex is the integer action exactly and gradients flow from rewards and later
states back to the action.
Seed: stateless int32 `[2]`. Time limits are left to the caller: `max_episode_steps` says what the limit is.

Nothing can be raised inside XLA. An action out of range, or a NaN anywhere in state or action, makes the reward NaN.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium.experimental.functional import FuncEnv

from rlsample import checks, ops
from rlsample.in_graph import actions
from rlsample.spaces import factorise

DTYPES = ("float32", "float64")


class Step(NamedTuple):
    """What `FunctionalEnv.step` returns: next state, its observation `[B, ...]`, reward float `[B]`, bool `[B]`.

    Examples:
        >>> from envs.bandit import Bandit
        >>> env = Bandit(means=[0.0, 1.0])
        >>> step = env.step(env.initial((0, 1), num_envs=3), tf.constant([0, 1, 1]), (0, 2))
        >>> step.reward.numpy(), step.terminated.numpy()
        (array([0., 1., 1.], dtype=float32), array([ True,  True,  True]))
    """

    state: Any
    observation: tf.Tensor
    reward: tf.Tensor
    terminated: tf.Tensor


class FunctionalEnv(FuncEnv, abc.ABC):
    """Base of the environments here. A subclass sets the two spaces and writes five pure functions.

    Attributes:
        observation_space: of one environment, as Gymnasium has it.
        action_space: of one environment; any space made of Discrete, MultiDiscrete and MultiBinary.
        factors: the action space as categorical factors (`rlsample.spaces`): sizes, F, K and padding mask.
        max_episode_steps: steps after which an episode is to be truncated.
        differentiable: whether rewards or states depend smoothly on a relaxed action.
        dtype: of states, observations and rewards; float32, or float64 to check gradients with.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> env, action = CartPole(), tf.Variable([[0.5, 0.5]])
        >>> state = env.initial((0, 1))
        >>> with tf.GradientTape() as tape:
        ...     step = env.step(state, action, (0, 2))
        ...     speed = step.observation[:, 1]
        >>> print(tape.gradient(speed, action).numpy())  # pushed left, pushed right
        [[-0.195  0.195]]
    """

    observation_space: gym.Space
    action_space: gym.Space
    max_episode_steps: int
    differentiable: bool = True
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  Gymnasium's own form

    def __init__(self, action_space: gym.Space, observation_space: gym.Space, dtype: str = "float32"):
        """Sets the spaces; see the class.

        Raises:
            ValueError: another dtype.
        """
        super().__init__()
        if dtype not in DTYPES:  # A dtype of TensorFlow is equal to its name.
            raise checks.invalid(f"dtype to be one of {', '.join(DTYPES)}", dtype=dtype)
        self.action_space = action_space
        self.observation_space = observation_space
        self.factors = factorise(action_space)
        self.dtype = tf.as_dtype(dtype)

    @abc.abstractmethod
    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> Any:
        """Draws starting states.

        Args:
            seed: int32 `[2]`.
            num_envs: B, a Python number.

        Returns:
            a state with B in front of each of its tensors.
        """

    @abc.abstractmethod
    def transition(self, state: Any, action: tf.Tensor, seed: tf.Tensor | None = None) -> Any:
        """Returns the state that follows; `seed` is needed only where the dynamics draw."""

    @abc.abstractmethod
    def observation(self, state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns what the agent sees of a state: float `[B, ...]`."""

    @abc.abstractmethod
    def reward(self, state: Any, action: tf.Tensor, next_state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the reward of a transition: float `[B]`."""

    @abc.abstractmethod
    def terminal(self, state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether a state ends its episode: bool `[B]`. Time limits are not part of it."""

    def action_mask(self, state: Any) -> tf.Tensor | None:
        """Returns the legal actions of a state, bool `[B, K]` or `[B, F, K]`, or None where all are always legal."""
        return None

    def render_image(self, state: Any, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws one state (NumPy, without the batch axis): `(render_state, uint8 [height, width, 3])`.

        Raises:
            NotImplementedError: an environment that does not draw itself, which none has to.
        """
        raise NotImplementedError(f"{type(self).__name__} draws no picture: it has no render_image of its own.")

    def render_init(self, **options: Any) -> None:
        """Does nothing: pictures are drawn from the state alone."""

    def render_close(self, render_state: Any = None) -> None:
        """Does nothing: pictures are drawn from the state alone."""

    def step(self, state: Any, action: tf.Tensor, seed: tf.Tensor) -> Step:
        """Takes one step in each environment, without resetting any.

        Args:
            state: from `initial`, `step` or `reset_where`.
            action: integer `[B]` or `[B, F]`, or float `[B, K]` or `[B, F, K]`.
            seed: int32 `[2]`, another at each step.

        Returns:
            `Step(state, observation, reward, terminated)`. The reward is NaN where the action was out of range or
            anything was NaN or infinite.

        Raises:
            ValueError: the action has the wrong rank or number of categories.
        """
        action = actions.check_shape(action, self.factors)
        next_state = self.transition(state, action, ops.fold_in(seed, 0))
        reward = self.reward(state, action, next_state, ops.fold_in(seed, 1))
        sound = actions.is_valid(action, self.factors) & _is_finite(next_state)
        reward = tf.where(sound, reward, tf.constant(np.nan, self.dtype))
        return Step(next_state, self.observation(next_state), reward, self.terminal(next_state))

    def reset_where(self, done: tf.Tensor, state: Any, seed: tf.Tensor) -> Any:
        """Replaces the states of the environments that are `done` (bool `[B]`) by new starting states.

        The starting states are drawn from a child of `seed`, so the seed of the step can be passed again.
        """
        fresh = self.initial(ops.fold_in(seed, 2), done.shape[0])
        return select(done, fresh, state)

    def action_weights(self, action: tf.Tensor) -> tf.Tensor:
        """Returns the weight of each category in an action: float `[B, K]` or `[B, F, K]`, one-hot for integers.

        An integer out of range gives NaN.

        Raises:
            ValueError: the action has the wrong rank or number of categories.
        """
        return actions.weights(action, self.factors, self.dtype)

    def _uniform(self, num_envs: int, size: int, low: float, high: float, seed: tf.Tensor) -> tf.Tensor:
        return low + (high - low) * tf.cast(ops.uniform([num_envs, size], seed), self.dtype)


def select(condition: tf.Tensor, chosen: Any, otherwise: Any) -> Any:
    """Returns, for each environment, the state `chosen` where the bool `[B]` condition holds, else `otherwise`.

    Examples:
        >>> from rlsample.in_graph.environment import select
        >>> state = {"place": tf.constant([[1.0], [2.0]])}
        >>> fresh = {"place": tf.zeros([2, 1])}
        >>> print(select(tf.constant([True, False]), fresh, state)["place"].numpy())
        [[0.]
         [2.]]
    """

    def one(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reshape(condition, [-1] + [1] * (a.shape.rank - 1)), a, b)

    return tf.nest.map_structure(one, chosen, otherwise)


def draw_index(count: Any, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    """Draws integers uniformly from 0 to count - 1: int32 of `shape`, to which `count` broadcasts.

    Examples:
        >>> from rlsample.in_graph.environment import draw_index
        >>> draw_index(6, [8], (0, 1)).numpy()
        array([5, 5, 1, 5, 4, 2, 4, 5], dtype=int32)
    """
    index = tf.cast(ops.uniform(shape, seed) * tf.cast(count, tf.float32), tf.int32)
    return tf.minimum(index, tf.cast(count, tf.int32) - 1)  # rounding can carry the product up to the count itself


def check_bounds(low: float, high: float) -> tuple[float, float]:
    """Returns the bounds of a uniform start; raises ValueError unless they are finite and ordered.

    Examples:
        >>> from rlsample.in_graph.environment import check_bounds
        >>> check_bounds(-0.05, 0.05)
        (-0.05, 0.05)
        >>> check_bounds(1.0, -1.0)
        Traceback (most recent call last):
            ...
        ValueError: Expected finite bounds with low <= high. Received: low=1.0, high=-1.0.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise checks.invalid("finite bounds with low <= high", low=low, high=high)
    return float(low), float(high)


def _is_finite(state: Any) -> tf.Tensor:
    """Whether all floats of each environment's state are finite: bool `[B]`, or True if it holds none."""
    floats = [leaf for leaf in tf.nest.flatten(state) if leaf.dtype.is_floating]
    finite = [tf.reduce_all(tf.math.is_finite(leaf), axis=list(range(1, leaf.shape.rank))) for leaf in floats]
    return tf.reduce_all(tf.stack(finite), axis=0) if finite else tf.constant(True)
