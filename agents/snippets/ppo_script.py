"""PPO laid out as one script, from `get_value` and `get_action_and_value` to the loop, with a head from this library.

    python -m agents.snippets.ppo_script --env_id envs:rlsample/RaggedDict-v0

The layout is the one that CleanRL (Huang et al. 2022, arXiv 2111.08819) made common; the code is our own. Only the head
knows what kind of action there is. Truncated episodes count as ended, as scripts of this kind have it.
"""

import argparse
import dataclasses
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import heads


@dataclasses.dataclass
class Args:
    """What can be set from the command line."""

    env_id: str = "CartPole-v1"
    total_timesteps: int = 40_000
    num_envs: int = 8
    num_steps: int = 64
    update_epochs: int = 4
    num_minibatches: int = 4
    learning_rate: float = 2.5e-3
    gamma: float = 0.98
    gae_lambda: float = 0.9
    clip_coef: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    seed: int = 1


class Agent(keras.Model):
    """Actor and critic. Written for Discrete, three lines had to change."""

    def __init__(self, envs: gym.vector.VectorEnv) -> None:
        super().__init__()
        self.critic = heads.ValueHead(hidden_sizes=(64, 64))
        self.actor = heads.for_space(envs.single_action_space, hidden_sizes=(64, 64))

    def get_value(self, x: tf.Tensor) -> tf.Tensor:
        """Values `[B]`."""
        return self.critic(x)

    def get_action_and_value(self, x: tf.Tensor, action: Any = None, mask: Any = None) -> tuple[tf.Tensor, ...]:
        """(action, log-probability, entropy, value); draws the action unless it is given."""
        logits = self.actor(x)
        probs = self.actor.distribution(logits, mask)
        if action is None:
            action = probs.sample(self.actor.next_seed()).action
        return action, probs.log_prob(action), probs.entropy(), self.get_value(x)


def train(args: Args) -> list[float]:
    """Trains; returns, rollout by rollout, the mean return of the last 100 episodes."""
    keras.utils.set_random_seed(args.seed)
    same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    envs = gym.make_vec(args.env_id, args.num_envs, vectorization_mode="sync", vector_kwargs=same_step)
    envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    agent = Agent(envs)
    optimizer = keras.optimizers.Adam(args.learning_rate, epsilon=1e-5, global_clipnorm=args.max_grad_norm)
    act = tf.function(agent.get_action_and_value)

    @tf.function(jit_compile=True)
    def update(*batch: tf.Tensor) -> None:
        obs, actions, masks, logprobs, advantages, returns = batch
        with tf.GradientTape() as tape:
            _, newlogprob, entropy, newvalue = agent.get_action_and_value(obs, actions, masks)
            ratio = tf.exp(newlogprob - logprobs)
            advantages = (advantages - tf.reduce_mean(advantages)) / (tf.math.reduce_std(advantages) + 1e-8)
            clipped = tf.clip_by_value(ratio, 1 - args.clip_coef, 1 + args.clip_coef)
            pg_loss = -tf.reduce_mean(tf.minimum(ratio * advantages, clipped * advantages))
            v_loss = 0.5 * tf.reduce_mean((newvalue - returns) ** 2)
            loss = pg_loss - args.ent_coef * tf.reduce_mean(entropy) + args.vf_coef * v_loss
        optimizer.apply(tape.gradient(loss, agent.trainable_variables), agent.trainable_variables)

    everything = np.ones((args.num_envs, *agent.actor.factors.event_shape), bool)
    batch_size, history = args.num_envs * args.num_steps, []
    next_obs, info = envs.reset(seed=args.seed)
    for _ in range(args.total_timesteps // batch_size):
        storage: list[list[np.ndarray]] = [[] for _ in range(7)]
        for _ in range(args.num_steps):
            mask = agent.actor.factors.mask(info.get("action_mask", everything))
            action, logprob, _, value = act(next_obs, mask=mask)
            row = next_obs, mask, action, logprob
            next_obs, reward, terminated, truncated, info = envs.step(agent.actor.to_env(action))
            for column, entry in zip(storage, (*row, reward, terminated | truncated, value), strict=True):
                column.append(np.array(entry))
        obs, masks, actions, logprobs, rewards, dones, values = storage
        advantages, lastgaelam, nextvalue = [], 0.0, agent.get_value(next_obs).numpy()
        for reward, done, value in zip(rewards[::-1], dones[::-1], values[::-1], strict=True):
            delta = reward + args.gamma * nextvalue * ~done - value
            lastgaelam = delta + args.gamma * args.gae_lambda * ~done * lastgaelam
            advantages.append(lastgaelam)
            nextvalue = value
        returns = np.array(advantages[::-1]) + np.array(values)
        columns: Any = obs, actions, masks, logprobs, np.array(advantages[::-1], np.float32), returns.astype(np.float32)
        batch = [np.concatenate(column) for column in columns]
        for _ in range(args.update_epochs):
            for rows in np.split(np.random.permutation(batch_size), args.num_minibatches):
                update(*(tf.constant(column[rows]) for column in batch))
        history.append(float(np.mean(envs.return_queue or [np.nan])))
    envs.close()
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Args):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    print("mean return of the last 100 episodes:", *map("{:.1f}".format, train(Args(**vars(parser.parse_args())))))
