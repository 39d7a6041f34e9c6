"""What proximal policy optimization of several agents does otherwise with networks that remember.

Each agent's policy remembers what it alone saw, and so do own critics; a joint critic remembers what everybody saw.
While an agent is not there its memory goes on, from the zeros that it then sees. All else is of `recurrent_ppo`, with
the axis of agents that `multi_agent_ppo` has.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from . import multi_agent_ppo, recurrent_ppo


class Learner(multi_agent_ppo.Learner, recurrent_ppo.Learner):
    """Policies and critics, all with a memory: differs from PPO's learners in what both of its bases do."""

    def logits_and_memory(self, parameters: Any, observation: Any, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Joint observations `[E, ...]` and what is remembered `[E, N * S]` -> logits `[E, N, K]`, and what then is."""
        return super().logits_and_memory(parameters, tf.reshape(observation, [observation.shape[0], -1]), state)
