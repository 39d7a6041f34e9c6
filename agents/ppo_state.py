"""What proximal policy optimization carries from one rollout to the next, and what it learns from."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample.learning.adam import AdamState


class State(NamedTuple):
    """All that one member of PPO learns, and the rates it learns at."""

    policy: tf.Tensor  # float32 [P], the policy's weights
    critic: tf.Tensor  # float32 [Q], the critic's
    adam: AdamState
    learning_rate: tf.Tensor  # scalar
    entropy_coefficient: tf.Tensor  # scalar
    memory: Any = ()  # float32 [E, S] twice, what policy and critic remember; nothing without a memory


class Minibatch(NamedTuple):
    """Rows to learn from, `[n, ...]` each; None where there is nothing to say, as in `Rollout`."""

    observation: Any
    action: Any
    log_prob: Any
    value: Any
    advantage: Any
    target: Any
    weight: Any = None  # of steps that an earlier policy may have taken
    mask: Any = None
    valid: Any = None
    starts: Any = None  # with a memory n is of environments, all else [n, T, ...]
    memory: Any = None  # before the first step, as in State
