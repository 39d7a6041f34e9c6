"""Acts at random, pretends to learn, and says so."""

from __future__ import annotations

import time

import keras
import numpy as np
from gymnasium import spaces

from rlsample import checks
from rlsample.runs import AgentConfig, Run, RunConfig


class Config(AgentConfig):
    name: str = "toy"
    hidden: tuple[int, ...] = (8,)
    learning_rate: float = 1e-3
    pause: float = 0.0
    stubborn: bool = False


class Policy:
    def __init__(self, model: keras.Model):
        self.model = model

    def act(self, observations, mask=None, seed=None):
        logits = self.model(observations).numpy()
        return np.argmax(logits if mask is None else np.where(mask, logits, -np.inf), axis=-1)


def make_policy(config: RunConfig, observation_space: spaces.Space, action_space: spaces.Space) -> Policy:
    if not isinstance(action_space, spaces.Discrete):
        raise checks.invalid("a discrete action space", action_space=action_space)
    layers = [keras.layers.Dense(size, activation="relu") for size in config.agent.hidden]
    return Policy(
        keras.Sequential([keras.Input(observation_space.shape), *layers, keras.layers.Dense(int(action_space.n))])
    )


def train(config: RunConfig, run: Run) -> Policy:
    envs = config.env.make()
    policy = make_policy(config, envs.single_observation_space, envs.single_action_space)
    envs.close()
    rng = np.random.default_rng(config.seed)
    policy.model.set_weights([rng.normal(size=weights.shape) for weights in policy.model.get_weights()])
    for update in range(1, config.total_steps // 100 + 1):
        time.sleep(config.agent.pause)
        run.log(100 * update, {"charts/episodic_return": update, "losses/critic": float("nan")}, update=update)
        run.evaluate_when_due(policy, 100 * update)
        if run.save_due():
            run.save(policy)
        if run.stopping and not config.agent.stubborn:
            break
    return policy
