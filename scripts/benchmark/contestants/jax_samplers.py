"""JAX's side of the sampler benchmark: the straight-through Gumbel-softmax, jitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def draw(logits: jax.Array, key: jax.Array, upstream: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A hard draw and the gradient of its product with `upstream`."""

    def forward(logits: jax.Array) -> jax.Array:
        perturbed = logits + jax.random.gumbel(key, logits.shape)
        soft = jax.nn.softmax(perturbed)
        hard = jax.nn.one_hot(jnp.argmax(perturbed, -1), logits.shape[-1])
        return hard + soft - jax.lax.stop_gradient(soft)

    one_hot, pull_back = jax.vjp(forward, logits)
    return one_hot, pull_back(upstream)[0]


def prepare(shape: list[int], draws: int, **_: Any) -> Callable[[], None]:
    """One call makes `draws` draws, each followed by a small step along its gradient."""
    key = jax.random.key(0)
    logits = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    upstream = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)

    @jax.jit
    def many(logits: jax.Array, key: jax.Array, upstream: jax.Array) -> tuple[jax.Array, jax.Array]:
        def once(carry: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            logits, count = carry
            one_hot, gradient = draw(logits, key, upstream)
            return (logits + 1e-3 * gradient, count + one_hot), None

        keys = jax.random.split(key, draws)
        return jax.lax.scan(once, (logits, jnp.zeros_like(logits)), keys)[0]

    function = many if draws > 1 else jax.jit(draw)

    def run() -> None:
        jax.block_until_ready(function(logits, key, upstream))

    run()
    return run
