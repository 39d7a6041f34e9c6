"""rejax's PPO, from nothing to a deterministic mean of 475 on CartPole: python rejax_threshold.py SEED."""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import rejax
from rejax.evaluate import evaluate

STEPS, BETWEEN, NUM_ENVS, NUM_STEPS = 100_000, 2048, 8, 32


def main(seed: int) -> None:
    """Trains and evaluates in turns; prints what it came to."""
    algorithm = rejax.get_algo("ppo").create(
        env="CartPole-v1",
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": (64, 64)},
        num_envs=NUM_ENVS,
        num_steps=NUM_STEPS,
        num_epochs=20,
        num_minibatches=1,
        learning_rate=1e-3,
        max_grad_norm=0.5,
        gamma=0.98,
        gae_lambda=0.8,
        clip_eps=0.2,
        ent_coef=0.0,
        vf_coef=0.5,
    )

    @jax.jit
    def advance(state: Any) -> Any:
        return jax.lax.fori_loop(0, BETWEEN // (NUM_ENVS * NUM_STEPS), lambda _, s: algorithm.train_iteration(s), state)

    @jax.jit
    def judge(state: Any, key: jax.Array) -> jax.Array:
        def act(observation: jax.Array, _: jax.Array) -> jax.Array:
            # Its own `make_act` draws; the others are judged by their likeliest actions.
            distribution = algorithm.actor.apply(state.actor_ts.params, observation[None], method="_action_dist")
            return distribution.mode()[0]

        return evaluate(act, key, algorithm.env, algorithm.env_params, 20)[1].mean()

    key = jax.random.key(seed)
    state, steps, mean = algorithm.init_state(key), 0, 0.0
    while steps < STEPS and mean < 475:
        state = advance(state)
        steps += BETWEEN
        mean = float(judge(state, jax.random.fold_in(key, steps)))
    print(json.dumps({"steps_to_threshold": steps, "mean_return": mean}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
