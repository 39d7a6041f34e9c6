"""What the world-model actor-critic does otherwise with a network that remembers.

What is hidden can only be foreseen by a model that remembers, too. Each reads observations and the actions between
them, and says what the next step does by the features of its state, linear in the action:

    h_t = f(h_{t-1}, (s_t, a_{t-1})),  (change, reward, end) = sum_k a_k g_k(h_t)

Sequences are replayed (`rollouts.recurrent.sequences`). Policy and critic go over them from what they remembered then,
as the weights left it that acted; a model begins each with nothing to remember. Of all three the first `burn_in` steps
only bring the memory up to date. From every step after them a rollout is imagined, through whose steps all three
memories are carried on, and the policy gradient passes through all of them.

Sources: Kapturowski et al. (2019), https://openreview.net/forum?id=r1lyTjAqYX (stored state and burn-in); Ha and
Schmidhuber (2018), arXiv 1803.10122 (a model with a memory); Hafner et al. (2020), arXiv 1912.01603 (rollouts from
every step of a sequence). Other than without a memory, the latest weights of the models are used to imagine, not those
that did best on rows held out: sequences overlap.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import keras
import tensorflow as tf

from rlsample import checks, ops
from rlsample.learning.adam import Adam, global_norm
from rlsample.learning.averaging import move_towards
from rlsample.learning.bits import unpack_bits
from rlsample.learning.loops import repeat
from rlsample.learning.model_steps import Imagined, Rows, after, loss_of, mixed, see
from rlsample.learning.normalization import normalize
from rlsample.networks import recurrent_model_of, with_outputs
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.off_policy.kept_rows import check_replay
from rlsample.rollouts.off_policy.learner import ReplayLearner
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.recurrent.models import SequenceModels
from rlsample.rollouts.recurrent.network import SequenceNetwork
from rlsample.rollouts.recurrent.sequences import Steps
from rlsample.rollouts.transitions import swap_axes
from rlsample.runs import RunConfig
from rlsample.streams import Streams

from . import world_model_actor_critic
from .world_model_actor_critic import METRICS, Batch, Config, State, climb, group_size


class Sequence(NamedTuple):
    """A minibatch: `W` steps of `B` environments, of which the first are burn-in."""

    rows: Batch  # [W, B, ...]
    starts: Any  # bool [W, B], whether an episode begins at the step
    previous: Any  # float32 [W, B, (F,) K], the action before it; zeros where an episode or the sequence begins
    memory: Any  # float32 [B, 2 S], what policy and critic remembered before the first step


class Begun(NamedTuple):
    """Where rollouts begin, `[N, ...]`: what is seen, and what is remembered of the steps before."""

    observation: Any  # float32 [N, D]
    mask: Any  # bool [N, (F,) K], or None
    previous: Any  # float32 [N, (F,) K]
    policy: Any  # float32 [N, S]
    critic: Any
    models: Any


class Normalizing(SequenceNetwork):
    """A network of normalised observations: its weights are pairs of such and of what was seen."""

    def split(self, weights: Any) -> list[Any]:
        """See `SequenceNetwork.split`; behind the layers, the statistics."""
        own, statistics = weights
        return [*super().split(own), statistics]

    def go(self, layers: list[Any], steps: Steps) -> tuple[tf.Tensor, tf.Tensor]:
        """See `SequenceNetwork.go`, of steps without a burn-in."""
        seen = steps.seen._replace(observation=normalize(steps.seen.observation, layers[-1]))
        return super().go(layers[:-1], steps._replace(seen=seen))


class Learner(ReplayLearner):
    """Actor, critic and models of sequences; see `ReplayLearner`."""

    metrics = tuple(name for name in METRICS if name != "losses/held_out")
    hint = "Lower agent.actor_learning_rate or agent.horizon."

    def __init__(self, config: RunConfig[Config], observation_space: gym.Space, action_space: gym.Space) -> None:
        self.spaces = observation_space, action_space
        self.averaged = world_model_actor_critic.make_policy(config, *self.spaces)
        policy = world_model_actor_critic.make_policy(config, *self.spaces)
        super().__init__(config, policy, Batch._fields, remembering=2)
        inner, (critic, self.models) = policy.model.layers[-1], self._beside()
        self.network, self.critic = FlatNetwork(inner), FlatNetwork(critic)
        self.networks = [Normalizing(inner, 0), Normalizing(critic, policy.network.state_size)]
        turns = self.updates.total if self.agent.anneal_learning_rate else None
        self.adam, self.critic_adam = Adam(decay_steps=turns), Adam(decay_steps=turns and turns * self.agent.horizon)
        self.actor_adam = Adam(decay_steps=turns, max_gradient_norm=self.agent.max_gradient_norm)

    def _beside(self) -> tuple[keras.Model, SequenceModels]:
        """A critic and the models, with fresh weights."""
        parts = self.policy.network, self.policy.observation_space
        models = SequenceModels(*parts, self.policy.factors.event_shape, self.agent.members)
        return with_outputs(recurrent_model_of(*parts), 1), models

    def start(self, member: int) -> State:
        """The state before training, with fresh weights."""
        keras.utils.set_random_seed(Streams(self.config.seed).integer("weights", member))
        fresh = world_model_actor_critic.make_policy(self.config, *self.spaces)
        policy = FlatNetwork(fresh.model).weights()
        fresh_critic, ensemble = self._beside()
        critic, models = FlatNetwork(fresh_critic).weights(), ensemble.start()
        adams = self.actor_adam.start(policy), self.critic_adam.start(critic), self.adam.start(models.trained)
        return State(policy, policy, critic, critic, models, *adams)

    def weights(self, state: State) -> list[Any]:
        """See `ReplayLearner.weights`."""
        return [(state.policy, state.models.observations), (state.critic, state.models.observations)]

    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """Draws factor indices: int32 `[E]` or `[E, F]`."""
        return self.policy.head.distribution(logits, mask).sample(seed).action

    def publish(self, state: State) -> Policy:
        """Copies the running average of the policy into `averaged`, and returns it."""
        FlatNetwork(self.averaged.model).assign(state.averaged)
        self.averaged.model.get_layer("normalization").assign(state.models.observations)
        self.averaged.head.temperature.assign(self.policy.head.temperature)
        return self.averaged

    def rows(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """The fields of a `Sequence`, of sequences `[B, W, ...]` as a replay gives them."""
        steps = {name: tf.nest.map_structure(swap_axes, part) for name, part in drawn.items() if name != "memory"}
        categories, mask = self.policy.factors.num_categories, steps.get("mask")
        if mask is not None and mask.dtype == tf.uint8:
            steps["mask"] = unpack_bits(mask, categories)
        elif mask is None and self.policy.factors.padding_mask is not None:
            shape = [*steps["reward"].shape, *self.policy.factors.event_shape]
            steps["mask"] = tf.broadcast_to(tf.constant(self.policy.factors.padding_mask), shape)
        taken = tf.one_hot(steps["action"], categories)
        previous = tf.concat([tf.zeros_like(taken[:1]), taken[:-1]], 0)
        begins = tf.reshape(steps["starts"], [*steps["starts"].shape, *[1] * len(self.policy.factors.event_shape)])
        rows = Batch(**{name: steps.get(name) for name in Batch._fields})
        columns = rows, steps["starts"], tf.where(begins, 0.0, previous), drawn["memory"]
        return Sequence(*columns)._asdict() | {"reward": steps["reward"]}

    def learn_from(self, state: State, rows: dict[str, Any], seed: tf.Tensor) -> tuple[State, Any, tf.Tensor]:
        """One step of every model, of the actor and of the critic, on sequences and what is imagined from them."""
        sequence = Sequence(**{name: rows[name] for name in Sequence._fields})
        state, model_loss = self.learn_models(state, sequence)
        state, metrics = self.learn_behaviour(state, self.begin(state, sequence), seed)
        return state, {"losses/model": model_loss, **metrics}, tf.zeros_like(rows["reward"])

    def over(self, state: State, sequence: Sequence) -> tuple[tf.Tensor, tf.Tensor]:
        """What the models say of sequences, of each of which they have seen nothing before, and what they remember."""
        parts = sequence.rows.observation, sequence.previous, self.models.nothing(sequence.starts.shape[1])
        return self.models.over(state.models, *parts, sequence.starts)

    def learn_models(self, state: State, sequence: Sequence) -> tuple[State, tf.Tensor]:
        """One step of every model, on sequences of its own; returns the mean of their losses."""
        burn_in, rows, members = self.agent.burn_in, sequence.rows, self.agent.members
        one_hot = tf.one_hot(rows.action, self.policy.factors.num_categories)
        columns = rows.observation, one_hot, rows.reward, rows.next_observation, rows.terminated
        learned = Rows(*(in_order(column[burn_in:]) for column in columns))
        models = see(state.models, learned)
        with tf.GradientTape() as tape:
            tape.watch(models.trained)
            outputs, _ = self.over(state._replace(models=models), sequence)
            loss = loss_of(mixed(in_order(outputs[burn_in:]), learned.one_hot), models, learned)
            total = members * loss  # The loss of each by itself, not its share in the mean.
        step = tape.gradient(total, models.trained), state.model_adam, models.trained, self.agent.model_learning_rate
        trained, adam = self.adam.step(*step)
        return state._replace(models=models._replace(trained=trained), model_adam=adam), loss

    def begin(self, state: State, sequence: Sequence) -> Begun:
        """Where rollouts begin: at every step after the burn-in, as many at each as the sampler has in a group."""
        burn_in, starts, group = self.agent.burn_in, sequence.starts, group_size(self.policy.head.sampler)
        seen = normalize(sequence.rows.observation, state.models.observations)
        firsts = *tf.split(sequence.memory, 2, -1), self.models.nothing(starts.shape[1])
        networks = self.network.at(state.policy), self.critic.at(state.critic)
        states = [memory.over_rollout(*each, starts)[1] for each in zip(networks, [seen] * 2, firsts[:2], strict=True)]
        states.append(self.over(state, sequence)[1])
        before = [
            tf.where(starts[..., None], 0.0, tf.concat([first[None], after_each[:-1]], 0))
            for first, after_each in zip(firsts, states, strict=True)
        ]

        def rows(column: tf.Tensor | None) -> tf.Tensor | None:
            return None if column is None else tf.repeat(in_order(column[burn_in:])[::group], group, 0)

        return Begun(*map(rows, (sequence.rows.observation, sequence.rows.mask, sequence.previous, *before)))

    def imagine(self, state: State, weights: tf.Tensor, begun: Begun, seed: tf.Tensor) -> Imagined:
        """Plays a policy on, through states of the models; notes log_prob and entropy."""
        layers, statistics, rows = self.network.split(weights), state.models.observations, begun.observation.shape[0]
        goes_on = tf.zeros([1, rows], tf.bool)
        columns = [tf.TensorArray(tf.float32, self.agent.horizon) for _ in range(5)]

        def step(index: tf.Tensor, carry: Any) -> Any:
            observation, previous, remembered, modelled, columns = carry
            seen = normalize(observation, statistics)
            logits, remembered = self.network.apply(layers, (seen, remembered, goes_on))
            mask = None if begun.mask is None else begun.mask | (index > 0)
            policy = self.policy.head.distribution(logits, mask)
            draw = policy.sample(ops.fold_in(seed, index))
            outputs, states = self.models.over(state.models, observation[None], previous[None], modelled, goes_on)
            following, reward, ahead = after(state.models, observation, mixed(outputs[0], draw.one_hot))
            row = observation, reward, ahead, policy.log_prob(draw.action), policy.entropy()
            written = [column.write(index, part) for column, part in zip(columns, row, strict=True)]
            return following, draw.one_hot, remembered, states[0], written

        carry = begun.observation, begun.previous, begun.policy, begun.models, columns
        last, *_, columns = repeat(step, self.agent.horizon, carry)
        observations, reward, ahead, *noted = (column.stack() for column in columns)
        reached = tf.stop_gradient(tf.math.cumprod(ahead, 0, exclusive=True))
        return Imagined(tf.concat([observations, last[tf.newaxis]], 0), reward, ahead, reached, noted)

    def learn_behaviour(self, state: State, begun: Begun, seed: tf.Tensor) -> tuple[State, dict[str, tf.Tensor]]:
        """One step of the actor and some of the critic, on rollouts imagined; their metrics."""
        agent = self.agent
        with tf.GradientTape() as tape:
            tape.watch(state.policy)
            imagined = self.imagine(state, state.policy, begun, seed)
            values = self.values(state.target, state, imagined.observation, begun.critic)
            loss, returns, entropy = climb(agent, self.policy.head.sampler, imagined, values)
        gradient, rate = tape.gradient(loss, state.policy), agent.actor_learning_rate
        policy, adam = self.actor_adam.step(gradient, state.policy_adam, state.policy, rate)
        averaged = move_towards(state.averaged, policy, agent.average_rate)
        state = state._replace(policy=policy, averaged=averaged, policy_adam=adam)
        state, critic_loss = self.learn_values(state, imagined, tf.stop_gradient(returns), begun.critic)
        return state, dict(zip(METRICS[2:], (loss, critic_loss, entropy, global_norm(gradient)), strict=True))

    def values(self, weights: tf.Tensor, state: State, observation: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """V along rollouts `[T, N, D]` -> `[T, N]`, by a critic with such weights that remembers `[N, S]` before."""
        seen = normalize(observation, state.models.observations)
        goes_on = tf.zeros(seen.shape[:2], tf.bool)
        values, _ = memory.over_rollout(self.critic.at(weights), seen, before, goes_on)
        return values[..., 0] / (1 - self.agent.discount)

    def learn_values(
        self, state: State, imagined: Imagined, returns: tf.Tensor, before: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """As many steps of the critic as are imagined, each on another part of the rollouts; returns the last loss."""
        parts = min(self.agent.horizon, returns.shape[1])
        own = tf.range(returns.shape[1] // parts) * parts
        columns = [swap_axes(each) for each in (imagined.observation[:-1], returns, imagined.reached)]

        def update(index: tf.Tensor, carry: Any) -> Any:
            state, _ = carry
            observation, aims, reached = (swap_axes(tf.gather(column, own + index)) for column in columns)
            with tf.GradientTape() as tape:
                tape.watch(state.critic)
                error = self.values(state.critic, state, observation, tf.gather(before, own + index)) - aims
                loss = tf.reduce_mean(reached * tf.square((1 - self.agent.discount) * error))
            step = tape.gradient(loss, state.critic), state.critic_adam, state.critic, self.agent.critic_learning_rate
            critic, adam = self.critic_adam.step(*step)
            target = move_towards(state.target, critic, self.agent.target_rate)
            return state._replace(critic=critic, target=target, critic_adam=adam), loss

        return repeat(update, parts, (state, tf.zeros([])))


def in_order(steps: tf.Tensor) -> tf.Tensor:
    """Steps `[T, B, ...]` -> rows `[B * T, ...]`: those of a sequence, and so of a model, side by side."""
    return tf.reshape(swap_axes(steps), [-1, *steps.shape[2:]])


def check(config: RunConfig[Config], policy: Policy) -> None:
    """Raises ValueError for what is not built with a memory, minibatches that do not fit, or too large a replay."""
    agent = config.agent
    check_replay(config, policy, Batch._fields, networks=2)
    if agent.disagreement_price:
        hint = "Each model remembers its own sequences alone."
        raise checks.invalid("no agent.disagreement_price with a memory", price=agent.disagreement_price, hint=hint)
    rows = (agent.sequence_length - agent.burn_in) * agent.members * group_size(config.sampler)
    if agent.batch_size % rows:
        rule = f"agent.batch_size to be a multiple of {rows}, a sequence after its burn-in for each model"
        raise checks.invalid(rule, batch_size=agent.batch_size)
