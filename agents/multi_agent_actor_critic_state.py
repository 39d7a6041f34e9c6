"""What the multi-agent actor-critic learns, and what it learns from."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample.learning.adam import AdamState
from rlsample.learning.normalization import Statistics


class Batch(NamedTuple):
    """A minibatch of transitions of N agents."""

    observation: Any  # float32 [B, D]; with a memory `sequences.Steps` of so many rows
    mask: Any  # bool [B, N, K]
    action: Any  # int32 [B, N]
    probs: Any  # float32 [B, N, K], of the policies that acted
    reward: Any  # float32 [B, N]
    next_observation: Any  # float32 [B, D], or `sequences.Following`
    next_mask: Any  # bool [B, N, K]
    terminated: Any  # bool [B, N]
    present: Any  # bool [B, N]


class State(NamedTuple):
    """All that is learned; weights are float32 vectors, those of critics `[agent][critic]`."""

    actors: tf.Tensor
    target_actors: tf.Tensor  # their running average: what critics look ahead with, and what is evaluated
    critics: list[list[tf.Tensor]]
    target_critics: list[list[tf.Tensor]]
    actor_adam: AdamState
    critic_adam: AdamState
    rewards: Statistics
