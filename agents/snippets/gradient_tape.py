"""A policy head in a bare GradientTape loop: the policy climbs a critic through its own discrete actions.

python -m agents.snippets.gradient_tape
"""

import gymnasium as gym
import keras
import tensorflow as tf

from rlsample import heads, ops


class Critic(keras.Model):
    """Expected reward, linear in the one-hot action: its slope is then the difference between actions."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.hidden = keras.layers.Dense(64, "relu")
        self.values = keras.layers.Dense(event_shape[0] * event_shape[1])

    def call(self, observation: tf.Tensor, one_hot: tf.Tensor) -> tf.Tensor:
        """Observations `[B, D]`, one-hots `[B, F, K]` -> values `[B]`."""
        values = tf.reshape(self.values(self.hidden(observation)), [-1, *self.event_shape])
        return tf.reduce_sum(values * one_hot, [1, 2])


def train(sampler: str = "straight_through_gumbel_softmax", steps: int = 300, num_envs: int = 64) -> float:
    """Learns to set several dials as shown; returns the mean reward of the last tenth of the steps (chance: 0.34)."""
    keras.utils.set_random_seed(0)
    env = gym.make_vec("envs:rlsample/MultiDiscrete-v0", num_envs=num_envs)
    head = heads.for_space(env.single_action_space, sampler, hidden_sizes=(64,), temperature=0.7)
    critic = Critic(head.factors.event_shape)
    actor_optimizer, critic_optimizer = keras.optimizers.Adam(3e-3), keras.optimizers.Adam(3e-3)

    @tf.function(jit_compile=True)
    def update(observation: tf.Tensor, one_hot: tf.Tensor, reward: tf.Tensor, seed: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((critic(observation, one_hot) - reward) ** 2)
        critic_optimizer.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
        with tf.GradientTape() as tape:
            draw = head.sample(head(observation), seed)
            loss = -tf.reduce_mean(critic(observation, draw.one_hot))  # the gradient passes through the draw
        actor_optimizer.apply(tape.gradient(loss, head.trainable_variables), head.trainable_variables)

    observation, _ = env.reset(seed=0)
    rewards = []
    for _ in range(steps):
        act_seed, learn_seed = tf.unstack(ops.split(head.next_seed(), 2))
        draw = head.sample(head(observation), act_seed)
        next_observation, reward, *_ = env.step(head.to_env(draw.action))
        update(tf.constant(observation), draw.one_hot, tf.constant(reward, tf.float32), learn_seed)
        observation = next_observation
        rewards.append(reward.mean())
    return float(sum(rewards[-steps // 10 :]) / (steps // 10))


if __name__ == "__main__":
    print(f"mean reward {train():.2f} of 1.00")
