"""Networks and observations of the table's rows for PureJaxRL, whose programs have theirs built in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import constant, orthogonal


def actor_critic(hidden_sizes: Sequence[int], filters: int | None) -> Any:
    """A policy and a critic of their own, as its `ActorCritic`, with other layers."""

    class ActorCritic(nn.Module):
        """(observations `[B, ...]`) -> (distribution, values `[B]`)."""

        action_dim: int
        activation: str

        @nn.compact
        def __call__(self, observation: jax.Array) -> tuple[Any, jax.Array]:
            """See the class."""
            logits = self._outputs(observation, self.action_dim, 0.01)
            return distrax.Categorical(logits=logits), jnp.squeeze(self._outputs(observation, 1, 1.0), -1)

        def _outputs(self, features: jax.Array, units: int, gain: float) -> jax.Array:
            activation, hidden = nn.tanh, orthogonal(np.sqrt(2))
            if filters is not None:
                activation = nn.relu
                # Observations without B, as its first call has them, too.
                planes = features.reshape(-1, *features.shape[-3:])
                planes = activation(nn.Conv(filters, (3, 3), padding="VALID", kernel_init=hidden)(planes))
                features = planes.reshape(*features.shape[:-3], -1)
            for size in hidden_sizes:
                features = activation(nn.Dense(size, kernel_init=hidden, bias_init=constant(0.0))(features))
            return nn.Dense(units, kernel_init=orthogonal(gain), bias_init=constant(0.0))(features)

    return ActorCritic


def showing(wrapper: Any, entries: Sequence[int]) -> Any:
    """Its wrapper that flattens observations, showing some entries alone."""
    shown = jnp.array(entries)

    class Showing(wrapper):
        """An environment that shows some entries of its observations."""

        def observation_space(self, params: Any) -> Any:
            """See gymnax; only the shape is asked for."""
            space = super().observation_space(params)
            space.shape = (len(entries),)
            return space

        def reset(self, key: jax.Array, params: Any = None) -> tuple[jax.Array, Any]:
            """See gymnax."""
            observation, state = super().reset(key, params)
            return observation[shown], state

        def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any = None) -> tuple[Any, ...]:
            """See gymnax."""
            observation, *rest = super().step(key, state, action, params)
            return observation[shown], *rest

    return Showing
