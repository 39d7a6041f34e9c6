"""JAX's side of the Nature torso: forward, backward and a step, in its loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import orthogonal


class Torso(nn.Module):
    """Mnih et al. (2015)."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Images `[B, H, W, C]` -> features `[B, 512]`."""
        hidden = orthogonal(np.sqrt(2))
        for filters, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            layer = nn.Conv(filters, (kernel, kernel), (stride, stride), padding="VALID", kernel_init=hidden)
            images = nn.relu(layer(images))
        return nn.relu(nn.Dense(512, kernel_init=hidden)(images.reshape(images.shape[0], -1)))


def prepare(rows: int, size: int, steps: int, **_: Any) -> Callable[[], None]:
    """One call makes `steps` steps of gradient descent on images `[rows, size, size, 4]`."""
    images = jnp.asarray(np.random.default_rng(0).random((rows, size, size, 4)), jnp.float32)
    torso = Torso()
    weights = torso.init(jax.random.key(0), images)

    def loss(weights: Any) -> jax.Array:
        return jnp.mean(jnp.square(torso.apply(weights, images)))

    @jax.jit
    def descend(weights: Any) -> Any:
        def once(weights: Any, _: None) -> tuple[Any, None]:
            slope = jax.grad(loss)(weights)
            return jax.tree.map(lambda weight, change: weight - 1e-3 * change, weights, slope), None

        return jax.lax.scan(once, weights, None, steps)[0]

    def run() -> None:
        jax.block_until_ready(descend(weights))

    run()
    return run
