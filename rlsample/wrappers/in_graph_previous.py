"""The action before and what it earned, in the graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import ops
from rlsample.in_graph.environment import FunctionalEnv
from rlsample.wrappers.in_graph_wrapper import InGraphWrapper
from rlsample.wrappers.previous_action_and_reward import with_previous


class After(NamedTuple):
    """States of B environments.

    Attributes:
        inner: the environments' own.
        action: weights of the action before, float `[B, K]` or `[B, F, K]`; zeros where an episode begins.
        reward: what it earned, float `[B]`; 0 there.

    Examples:
        >>> from rlsample.wrappers.in_graph_previous import After
        >>> After(inner=tf.zeros([2, 4]), action=tf.zeros([2, 3]), reward=tf.zeros([2])).reward.shape
        TensorShape([2])
    """

    inner: Any
    action: tf.Tensor
    reward: tf.Tensor


class InGraphPrevious(InGraphWrapper):
    """See `PreviousActionAndReward`; a relaxed action is shown as it was, with its gradient.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.wrappers.in_graph_previous import InGraphPrevious
        >>> env = InGraphPrevious(CartPole())
        >>> step = env.step(env.initial((0, 1)), tf.constant([1]), (0, 2))
        >>> print(step.observation["previous_action"].numpy(), step.observation["previous_reward"].numpy())
        [[0. 1.]] [[1.]]
    """

    def __init__(self, env: FunctionalEnv) -> None:
        """See the class."""
        super().__init__(env, with_previous(env.observation_space, env.factors, env.dtype.as_numpy_dtype))

    def inner(self, state: After) -> Any:
        """The state of the environment inside."""
        return state.inner

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> After:
        """Starting states, before which nothing was done."""
        nothing = tf.zeros([num_envs, *self.factors.event_shape], self.dtype)
        return After(self.env.initial(seed, num_envs), nothing, tf.zeros([num_envs], self.dtype))

    def transition(self, state: After, action: tf.Tensor, seed: tf.Tensor | None = None) -> After:
        """Moves on; the reward is drawn here, since it is going to be seen."""
        inner = self.env.transition(state.inner, action, seed)
        reward_seed = None if seed is None else ops.fold_in(seed, 1)
        reward = self.env.reward(state.inner, action, inner, reward_seed)
        return After(inner, self.action_weights(action), reward)

    def observation(self, state: After, seed: tf.Tensor | None = None) -> dict[str, Any]:
        """Observation, action before and its reward, as the space names them."""
        return {
            "observation": self.env.observation(state.inner, seed),
            "previous_action": state.action,
            "previous_reward": state.reward[:, None],
        }

    def reward(self, state: After, action: tf.Tensor, next_state: After, seed: tf.Tensor | None = None) -> tf.Tensor:
        """What `transition` has drawn: float `[B]`."""
        return next_state.reward
