"""Games of several agents stepped inside of a compiled program, by uniform actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import tensorflow as tf

import envs  # noqa: F401 (registers them)
from rlsample import ops
from rlsample.rollouts.in_graph_collector import InGraphCollector, in_graph_env

STEPS = 64
"""Of each environment, in one call of the program."""


def prepare(env: str, num_envs: int, steps: int, kwargs: dict[str, Any] | None = None) -> Callable[[], dict[str, int]]:
    """One call takes about so many steps, over all environments."""
    vector = gym.make_vec(env, num_envs=num_envs, **(kwargs or {}))
    game: Any = in_graph_env(vector)
    collector = InGraphCollector(game, num_envs, vector.unwrapped.max_episode_steps)
    sizes = tf.constant(game.factors.sizes, tf.float32)

    def act(observation: Any, mask: Any, seed: Any) -> tf.Tensor:
        return tf.cast(ops.uniform([num_envs, len(game.factors.sizes)], seed) * sizes, tf.int32)

    @tf.function(jit_compile=True, autograph=False)
    def play(running: Any, seed: tf.Tensor) -> Any:
        transitions, running, _ = collector.collect(act, running, STEPS, seed)
        return running, tf.reduce_sum(transitions.reward) + tf.reduce_sum(transitions.observation)

    running, calls = collector.start(tf.constant([0, 1])), max(1, steps // (STEPS * num_envs))

    def run() -> dict[str, int]:
        nonlocal running
        for call in range(calls):
            running, total = play(running, tf.constant([2, call]))
        total.numpy()
        return {"steps": calls * STEPS * num_envs}

    run()
    return run
