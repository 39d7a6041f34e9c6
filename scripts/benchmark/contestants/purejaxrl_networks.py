"""Networks and observations of the table's rows for PureJaxRL, whose programs have theirs built in."""

from __future__ import annotations

import functools
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


class Recurrence(nn.Module):
    """Its `ScannedRNN`, as the flax of today spells it: a GRUCell is told its units first."""

    @functools.partial(nn.scan, variable_broadcast="params", in_axes=0, out_axes=0, split_rngs={"params": False})
    @nn.compact
    def __call__(self, state: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """(state `[B, H]`, (features `[B, H]`, whether an episode starts `[B]`)) -> (state, state)."""
        features, starts = inputs
        return nn.GRUCell(features.shape[-1])(jnp.where(starts[:, np.newaxis], 0.0, state), features)


class TwoMemories:
    """Stands for its `ScannedRNN`, which its program asks for the first state: a policy's and a critic's."""

    @staticmethod
    def initialize_carry(rows: int, units: int) -> jax.Array:
        """Nothing remembered: `[B, 2 H]`."""
        return jnp.zeros([rows, 2 * units])


class RecurrentActorCritic(nn.Module):
    """A policy and a critic of their own, as its `ActorCriticRNN`, each a layer and a GRU of as many units."""

    action_dim: int
    config: dict[str, Any]

    @nn.compact
    def __call__(self, state: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Any, jax.Array]:
        """(state `[B, 2 H]`, (observations `[T, B, D]`, starts `[T, B]`)) -> (state, distribution, values `[T, B]`)."""
        policy, critic = jnp.split(state, 2, axis=-1)
        policy, logits = self._outputs(policy, *inputs, self.action_dim, 0.01)
        critic, values = self._outputs(critic, *inputs, 1, 1.0)
        return jnp.concatenate([policy, critic], -1), distrax.Categorical(logits=logits), jnp.squeeze(values, -1)

    def _outputs(self, state: Any, observation: Any, starts: Any, units: int, gain: float) -> tuple[Any, Any]:
        layer = nn.Dense(state.shape[-1], kernel_init=orthogonal(np.sqrt(2)), bias_init=constant(0.0))
        state, features = Recurrence()(state, (nn.relu(layer(observation)), starts))
        return state, nn.Dense(units, kernel_init=orthogonal(gain), bias_init=constant(0.0))(features)


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
