"""RaggedDict: a nested action space whose factors differ in size, offset and legal choices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import ops
from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv

from .multi_discrete import draw_targets, flatten_factors, shade_factors


class RaggedState(NamedTuple):
    """The choices to be made, one-hot float `[B, F, K]`, and the legal ones, bool `[B, F, K]`.

    Examples:
        >>> from envs.ragged_dict import RaggedDict
        >>> state = RaggedDict().initial((0, 1), num_envs=2)
        >>> [part.shape.as_list() for part in state]
        [[2, 5, 5], [2, 5, 5]]
    """

    target: tf.Tensor
    legal: tf.Tensor


class RaggedDict(FunctionalEnv):
    """Set controls as shown while some choices are blocked: a Dict of all discrete spaces, masked.

    ## Description
    Each step names a choice for each control and blocks some of the other choices. The next step does not depend on the
    action. A policy that ignores the mask loses reward.

    ## Action Space
    `Dict(gear=Discrete(3, start=1), pedals=MultiBinary(2), steer=MultiDiscrete([5, 2]))`: five factors of 3, 2, 2, 5
    and 2 choices. A relaxed action, padded to `[B, 5, 5]`, is rewarded in proportion to its weights.

    ## Observation Space
    `Box` of shape (14,): the choices to be made, one-hot, one factor after the other.

    ## Starting State
    Choices drawn uniformly; each other choice is legal with probability 1/2. The same at each step.

    ## Rewards
    The mean over the factors of 1 for the choice named, 0 for another legal one, -1 for an illegal one.

    ## Episode End
    Never terminated. Truncated after 32 steps.

    ## Information
    `action_mask`: a Dict of masks in the form that `action_space.sample(mask=...)` takes: int8 of shape (3,) for the
    gear, codes 0, 1, 2 (must be 0, must be 1, free) for each pedal, a tuple of int8 masks for steering.

    ## Arguments
    `dtype`.

    ## References
    Huang and Ontañón (2022), A closer look at invalid action masking in policy gradient algorithms, for masks.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.ragged_dict import RaggedDict
        >>> env = RaggedDict()
        >>> state = env.initial((0, 1), num_envs=8)
        >>> head = heads.for_space(env.action_space)
        >>> sample = head.sample(head(env.observation(state)), seed=(0, 2), mask=env.action_mask(state))
        >>> step = env.step(state, sample.action, (0, 3))
        >>> bool(tf.reduce_all(step.reward >= 0))  # nothing illegal was drawn
        True
    """

    max_episode_steps = 32

    def __init__(self, dtype: str = "float32"):
        """See the class."""
        space = spaces.Dict(
            gear=spaces.Discrete(3, start=1), pedals=spaces.MultiBinary(2), steer=spaces.MultiDiscrete([5, 2])
        )
        super().__init__(space, spaces.Box(0.0, 1.0, (14,), np.dtype(dtype)), dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> RaggedState:
        """Draws the choices and what is legal."""
        target = draw_targets(self.factors.sizes, num_envs, ops.fold_in(seed, 0), self.dtype)
        exists = tf.sequence_mask(self.factors.sizes, self.factors.num_categories)
        free = ops.uniform(target.shape, ops.fold_in(seed, 1)) < 0.5
        return RaggedState(target, (free & exists) | (target > 0))

    def transition(self, state: RaggedState, action: tf.Tensor, seed: tf.Tensor | None = None) -> RaggedState:
        """Draws the next choices, whatever the action."""
        return self.initial(seed, state.target.shape[0])

    def observation(self, state: RaggedState, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the choices to be made, without padding: float `[B, 14]`."""
        return flatten_factors(state.target, self.factors.sizes)

    def reward(
        self, state: RaggedState, action: tf.Tensor, next_state: RaggedState, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the mean score of the factors: float `[B]`."""
        score = state.target - tf.cast(~state.legal, self.dtype)
        return tf.reduce_sum(self.action_weights(action) * score, axis=[1, 2]) / self.factors.num_factors

    def terminal(self, state: RaggedState, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns False: bool `[B]`."""
        return tf.zeros_like(state.legal[:, 0, 0])

    def action_mask(self, state: RaggedState) -> tf.Tensor:
        """Returns the legal choices: bool `[B, F, K]`, False in the padding."""
        return state.legal

    def render_image(self, state: RaggedState, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws a row for each factor, what is named in blue, blocked in black: uint8 `[160, 160, 3]`."""
        colours = shade_factors(state.target, self.factors.sizes)
        exists = np.arange(self.factors.num_categories) < np.array(self.factors.sizes)[:, np.newaxis]
        colours[exists & ~state.legal] = raster.BLACK
        return render_state, raster.cells(colours)
