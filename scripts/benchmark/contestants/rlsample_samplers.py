"""Our side of the sampler benchmark: any sampler, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import ops, samplers


def prepare(sampler: str | dict[str, Any], shape: list[int], draws: int, **_: Any) -> Callable[[], None]:
    """One call makes `draws` draws, each followed by a small step along its gradient."""
    drawer = samplers.create(sampler)
    logits = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    upstream = tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)
    seed = tf.constant([0, 1])

    def draw(logits: tf.Tensor, seed: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            one_hot = drawer(logits, seed).one_hot
        return one_hot, tape.gradient(one_hot, logits, output_gradients=upstream)

    def many(logits: tf.Tensor, seed: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        seeds = ops.split(seed, draws)

        def once(index: tf.Tensor, logits: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, ...]:
            one_hot, gradient = draw(logits, seeds[index], upstream)
            return index + 1, logits + 1e-3 * gradient, count + one_hot

        start = tf.constant(0), logits, tf.zeros_like(logits)
        return tf.while_loop(lambda index, *_: index < draws, once, start)[1:]

    function = tf.function(many if draws > 1 else draw, jit_compile=True, autograph=False)
    concrete = function.get_concrete_function(logits, seed, upstream)

    def run() -> None:
        # Reading a tensor waits for it.
        tf.nest.map_structure(np.asarray, concrete(logits, seed, upstream))

    run()
    return run
