"""A policy head in models that `fit` trains, compiled: imitation of an expert, and learning from values of actions.

python -m agents.snippets.keras_fit
"""

from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import heads


def imitate(action_space: gym.Space, observations: np.ndarray, actions: Any) -> keras.Model:
    """Behaviour cloning: a functional model whose output is the head's logits, for any discrete space."""
    head = heads.for_space(action_space, hidden_sizes=(32,))
    inputs = keras.Input(observations.shape[1:])
    model = keras.Model(inputs, head(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=True)
    model.fit(observations, head.from_env(actions), batch_size=32, epochs=20, verbose=0)
    return model


class Chooser(keras.Model):
    """Draws an action while it is trained, and takes the most probable one when it is used."""

    def __init__(self, num_actions: int, sampler: str) -> None:
        super().__init__()
        self.head = heads.CategoricalHead(num_actions, sampler, hidden_sizes=(32,), temperature=0.7)

    def call(self, observations: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Observations `[B, D]` -> one-hot actions `[B, K]`."""
        logits = self.head(observations)
        if training:
            return self.head.sample(logits, self.head.next_seed()).one_hot
        return self.head.mode(logits).one_hot


def missed_value(values: tf.Tensor, one_hot: tf.Tensor) -> tf.Tensor:
    """Loss: how much less the action is worth than the best one. Its gradient reaches the head through the draw."""
    return tf.reduce_max(values, -1) - tf.reduce_sum(values * one_hot, -1)


def choose(observations: np.ndarray, values: np.ndarray, sampler: str = "reinmax") -> keras.Model:
    """Learns which of the actions with values `[B, K]` to take, without ever being told the best one."""
    model = Chooser(values.shape[1], sampler)
    model.compile(keras.optimizers.Adam(1e-2), missed_value, jit_compile=True)
    model.fit(observations, values, batch_size=32, epochs=20, verbose=0)
    return model


def example(num_rows: int = 512, num_actions: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Observations `[B, 6]`, and the value of each action `[B, K]`, linear in them."""
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(num_rows, 6)).astype(np.float32)
    return observations, observations @ generator.normal(size=(6, num_actions)).astype(np.float32)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    observations, values = example()
    best = values.argmax(-1)
    imitated = imitate(gym.spaces.Discrete(4), observations, best).predict(observations, verbose=0).argmax(-1)
    chosen = choose(observations, values).predict(observations, verbose=0).argmax(-1)
    print(f"best action taken: {np.mean(imitated == best):.0%} by imitation, {np.mean(chosen == best):.0%} from values")
