"""Heads in environments that people use: what they draw is legal there, has a finite log_prob, and comes back exactly.

The environments' own words decide what is legal, not our reading of their masks.
"""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401  registers rlsample/...
from rlsample import heads, networks, ops
from rlsample.rollouts.environments.observations import read

STEPS = 50
# A hard one and a relaxed one, whose draws are decoded by their largest entry.
SAMPLERS = ["straight_through_gumbel_softmax", "gumbel_softmax"]


def make(kind, **options):
    """The environment, or a skipped test where its package (extra `environments`) is not installed."""
    if kind.startswith("LunarLander"):
        pytest.importorskip("Box2D")
    if kind.startswith("MiniGrid"):
        wrappers = pytest.importorskip("minigrid.wrappers")
        return wrappers.ImgObsWrapper(gym.make(kind, **options))
    return gym.make(kind, **options)


class Actor:
    """A policy with an untrained, far from uniform head, acting in one environment or in a batch."""

    def __init__(self, observation_space, action_space, sampler, compiled=False):
        keras.utils.set_random_seed(0)
        self.observation_space = observation_space
        self.head = heads.for_space(action_space, sampler, hidden_sizes=(16,), kernel_gain=1.0, temperature=0.5)
        self.network = networks.model_of(networks.create({"name": "mlp", "hidden_sizes": []}), observation_space)
        self.act = tf.function(self._act, jit_compile=True) if compiled else self._act
        self.drawn = []

    def _act(self, features, mask, seed):
        logits = self.head(features)
        draw = self.head.sample(logits, seed, mask)
        return draw, self.head.distribution(logits, mask).log_prob(draw.action)

    def __call__(self, observations, mask, step):
        """A batch of the environment's actions for a batch of observations, checked on the way."""
        features = self.network(tf.nest.map_structure(tf.constant, read(self.observation_space, observations)))
        if mask is None:
            mask = np.ones((len(features), *self.head.factors.event_shape), bool)
        draw, log_prob = self.act(features, mask, ops.fold_in((0, 7), step))
        assert np.isfinite(log_prob).all()
        np.testing.assert_array_equal(np.argmax(draw.one_hot, -1), draw.action)
        actions = self.head.to_env(draw.one_hot)
        np.testing.assert_array_equal(self.head.from_env(actions), draw.action)
        self.drawn.append(draw.action.numpy())
        return actions

    def check_variety(self):
        """A head stuck on one action would pass every other check."""
        assert len({row.tobytes() for batch in self.drawn for row in batch}) > 1


def single(actions):
    """The one action of a batch of one, in its nesting."""
    return tf.nest.map_structure(lambda values: values[0], actions)


def legal(space, mask, action) -> bool:
    """Whether an action is what `space.sample(mask=mask)` could return, read from Gymnasium's documentation."""
    if mask is None:
        return True
    match space:
        case gym.spaces.Dict():
            return all(legal(part, mask[key], action[key]) for key, part in space.spaces.items())
        case gym.spaces.Discrete():
            return mask[action - space.start] == 1
        case gym.spaces.MultiBinary():
            return bool(np.all((mask == 2) | (mask == action)))
        case gym.spaces.MultiDiscrete():
            return all(own[index] == 1 for own, index in zip(mask, action - space.start, strict=True))
    raise AssertionError(space)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "kind",
    [
        "CartPole-v1",
        "Taxi-v4",
        "LunarLander-v3",
        "MiniGrid-Empty-5x5-v0",
        "rlsample/MultiDiscrete-v0",
        "rlsample/RaggedDict-v0",
    ],
)
@pytest.mark.thinned(2)
def test_everything_drawn_is_legal(kind, sampler):
    env = make(kind)
    actor = Actor(env.observation_space, env.action_space, sampler, compiled=sampler == "gumbel_softmax")
    observation, info = env.reset(seed=0)
    for step in range(STEPS):
        mask = actor.head.factors.mask(info.get("action_mask"), batch=1)
        action = single(actor(tf.nest.map_structure(lambda part: np.asarray(part)[None], observation), mask, step))
        assert env.action_space.contains(action)
        assert legal(env.action_space, info.get("action_mask"), action)
        observation, reward, terminated, truncated, info = env.step(action)
        assert np.isfinite(reward)
        if terminated or truncated:
            observation, info = env.reset()
    actor.check_variety()
    env.close()


def random_masks(generator, nvec):
    """One mask a factor, each with at least one legal category, as lists of different lengths."""
    masks = []
    for size in nvec:
        mask = generator.random(size) < 0.4
        mask[generator.integers(size)] = True
        masks.append(mask)
    return masks


def test_ragged_masks_given_by_the_caller():
    env = make("rlsample/MultiDiscrete-v0")
    actor = Actor(env.observation_space, env.action_space, "straight_through_gumbel_softmax")
    generator = np.random.default_rng(1)
    observation, _ = env.reset(seed=0)
    for step in range(STEPS):
        masks = random_masks(generator, env.action_space.nvec)
        action = single(actor(observation[None], actor.head.factors.mask(masks, batch=1), step))
        assert legal(env.action_space, masks, action)
        observation, _, _, truncated, _ = env.step(action)
        if truncated:
            observation, _ = env.reset()
    actor.check_variety()


@pytest.mark.parametrize("kind", ["Taxi-v4", "rlsample/RaggedDict-v0"])
def test_a_vector_of_masked_environments_through_their_resets(kind):
    """The row after an episode's end has no mask of its own to obey: its action is ignored."""
    vector = gym.make_vec(kind, 3, vectorization_mode="sync", max_episode_steps=9)
    space = vector.single_action_space
    actor = Actor(vector.single_observation_space, space, "straight_through_gumbel_softmax")
    observations, info = vector.reset(seed=[0, 1, 2])
    done, resets = np.zeros(3, bool), 0
    for step in range(STEPS):
        present = ~done & info.get("_action_mask", True)
        actions = actor(observations, actor.head.factors.mask(info["action_mask"], batch=3, present=present), step)
        for row, action in enumerate(gym.vector.utils.iterate(vector.action_space, actions)):
            assert space.contains(action)
            assert done[row] or legal(space, row_of(info["action_mask"], row), action)
        observations, _, terminated, truncated, info = vector.step(actions)
        done = terminated | truncated
        resets += done.sum()
    assert resets >= 3 * (STEPS // 10)
    actor.check_variety()
    vector.close()


def row_of(mask, row):
    """The mask of one environment out of a vector environment's."""
    if isinstance(mask, dict):
        return {key: row_of(entry, row) for key, entry in mask.items() if not key.startswith("_")}
    return mask[row]


def turns(kind, seed) -> Iterator:
    """Yields (game, agent, its observation) for every turn that is to be played, game after game."""
    pettingzoo = pytest.importorskip("pettingzoo")
    game = pettingzoo.make("aec", kind)
    for round_number in range(STEPS):
        game.reset(seed=seed + round_number)
        for agent in game.agent_iter():
            observation, _, terminated, truncated, _ = game.last()
            if terminated or truncated:
                game.step(None)
            else:
                yield game, agent, observation
    game.close()


@pytest.mark.parametrize("kind", ["classic/tictactoe-v3", "classic/connect_four-v3"])
def test_board_games_with_an_action_mask_in_the_observation(kind):
    actor = None
    for step, (game, agent, observation) in enumerate(turns(kind, seed=0)):
        if actor is None:
            space = game.observation_space(agent)["observation"]
            actor = Actor(space, game.action_space(agent), "straight_through_gumbel_softmax")
        mask = actor.head.factors.mask(observation["action_mask"], batch=1)
        action = single(actor(observation["observation"][None], mask, step))
        assert game.action_space(agent).contains(action)
        assert observation["action_mask"][action] == 1
        game.step(action)  # warns, and so fails, at an illegal move
        if step == STEPS:
            break
    actor.check_variety()


def test_an_environment_with_a_continuous_action_is_refused_by_name():
    env = gym.make("Pendulum-v1")
    with pytest.raises(ValueError, match=r"discrete action space.*Box\(-2\.0, 2\.0"):
        heads.for_space(env.action_space)
