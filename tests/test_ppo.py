"""PPO: problems it must solve in seconds on both collectors, populations, and what it refuses."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import ppo as agent
from envs.identity import Identity
from rlsample import runs
from rlsample.learning.population import actor, member_of
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts import loop
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.rollouts.on_policy import on_policy_loop
from tests.helpers_runs import Silent

# The same environment: inside the compiled program, as a native vector environment, and one by one.
COLLECTORS = {"in_graph": None, "gymnasium": "sync"}


def configure(env, total_steps, collector="in_graph", num_envs=16, sampler="categorical", **hyper):
    small = {"num_steps": 16, "learning_rate": 1e-2, "clip_values": False}
    where = {"id": env, "num_envs": num_envs}
    if COLLECTORS[collector]:
        where["vectorization_mode"] = COLLECTORS[collector]
    return runs.config_from_dict(
        {
            "agent": {"name": "ppo", **small, **hyper},
            "env": where,
            "network": {"hidden_sizes": [32]},
            "sampler": sampler,
            "total_steps": total_steps,
            "evaluation": {"episodes": 20},
        },
        agents={"ppo": agent.Config},
    )


def score(config):
    run = Silent()
    policy = agent.train(config, run)
    return runs.evaluate(policy, config).mean_return, run


@pytest.mark.parametrize("collector", ["in_graph", pytest.param("gymnasium", marks=pytest.mark.slow)])
def test_learns_to_copy_the_observation(collector):
    """32 symbols an episode; acting at random copies 8 of them."""
    result, run = score(configure("rlsample/Identity-v0", 6 * 256, collector, discount=0.0))
    assert result == 32
    assert run.records[-1]["step"] == 6 * 256
    assert run.records[-1]["update"] == 6 * 16
    assert set(agent.METRICS) <= set(run.records[-1])
    assert {record.get("charts/episodic_length", 32) for record in run.records} == {32}
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


@pytest.mark.slow
@pytest.mark.parametrize("collector", COLLECTORS)
def test_learns_the_best_arm(collector):
    """An episode is one step: with Gymnasium every other row only resets."""
    config = configure("rlsample/Bandit-v0", 4096, collector, jit_compile=False)
    functional = config.env.make(1, vectorization_mode=None).unwrapped.functional
    policy = agent.train(config, Silent())
    observation = functional.observation(functional.initial(tf.constant([0, 1]), 1))
    assert policy.act(observation.numpy()) == int(np.argmax(functional.means))


@pytest.mark.parametrize(
    ("env", "collector"),
    [
        pytest.param("rlsample/MultiDiscrete-v0", "in_graph", marks=pytest.mark.slow),
        ("rlsample/GridWorld-v0", "in_graph"),
        pytest.param("rlsample/RaggedDict-v0", "gymnasium", marks=pytest.mark.slow),
    ],
)
def test_learns_with_several_factors_and_masks_and_acts_legally(env, collector, monkeypatch):
    learn = agent.Learner.learn

    def refuse_the_illegal(self, state, transitions, seed, finite):
        if transitions.mask is not None:
            taken = tf.gather(transitions.mask, transitions.action, batch_dims=transitions.action.shape.rank)
            finite &= tf.reduce_all(taken, [0, *range(2, taken.shape.rank)])
        return learn(self, state, transitions, seed, finite)

    monkeypatch.setattr(agent.Learner, "learn", refuse_the_illegal)
    config = configure(env, 16 * 256, collector, discount=0.9, entropy_coefficient=0.1, jit_compile=False)
    made = config.env.make(1)
    fresh = agent.make_policy(config, made.single_observation_space, made.single_action_space)
    # Drawn, not deterministic: a policy that walks in a circle would hide what it has learned.
    drawing = config.model_copy(update={"evaluation": runs.EvaluationConfig(deterministic=False)})
    before = runs.evaluate(fresh, drawing).mean_return
    assert runs.evaluate(agent.train(config, Silent()), drawing).mean_return > before


def test_two_rollouts_of_cartpole():
    _, run = score(configure("rlsample/CartPole-v1", 2 * 128, num_envs=8, jit_compile=False))
    assert [record["step"] for record in run.records] == [256]  # two rollouts in one call


def test_one_trace_whatever_the_number_of_rollouts_and_a_clean_stop(monkeypatch):
    traces = []
    collect = InGraphCollector.collect
    monkeypatch.setattr(InGraphCollector, "collect", lambda self, *a: traces.append(1) or collect(self, *a))
    monkeypatch.setattr(loop, "MAX_STEPS_PER_CALL", 512)

    class Stopping(Silent):
        stopping = property(lambda self: len(self.records) == 3)

    run = Stopping()
    policy = agent.train(configure("rlsample/Bandit-v0", 5 * 256, jit_compile=False), run)
    assert [record["step"] for record in run.records] == [512, 1024, 1280]
    assert len(traces) == 1
    assert policy.model.built


def test_probabilities_are_those_of_what_the_sampler_draws():
    """Before the first gradient step the ratio is 1: log-probabilities are those of what was drawn."""
    sampler = {"name": "decoupled_straight_through", "forward_temperature": 2.0}
    config = configure("rlsample/Identity-v0", 256, sampler=sampler, num_epochs=1, num_minibatches=1, jit_compile=False)
    _, run = score(config)
    assert run.records[0]["policy/approximate_kl"] == pytest.approx(0, abs=1e-6)
    assert run.records[0]["policy/entropy"] == pytest.approx(np.log(4), abs=1e-2)


def trained_members(config):
    """The loop after training, and each member's policy."""
    rows = config.agent.num_steps * config.env.num_envs
    made = config.env.make(num_envs=config.env.num_envs * config.agent.population)
    learner = agent.Learner(config, made, config.total_steps // rows)
    options = {"seed": config.seed, "temperature": config.temperature, "jit_compile": config.agent.jit_compile}
    options |= {"metrics": agent.METRICS, "num_steps": config.agent.num_steps}
    loop = on_policy_loop(made, learner, population=config.agent.population, **options)
    loop.advance(config.total_steps // rows)
    policies = []
    for member in range(config.agent.population):
        policies.append(agent.make_policy(config, made.single_observation_space, made.single_action_space))
        FlatNetwork(policies[-1].model).assign(member_of(loop.state, member).policy)
    return loop, policies


class TestPopulation:
    @pytest.mark.slow
    def test_every_member_learns_and_the_best_is_returned(self):
        config = configure("rlsample/Identity-v0", 6 * 256, discount=0.0, population=3)
        run = Silent()
        policy = agent.train(config, run)
        assert runs.evaluate(policy, config).mean_return == 32
        assert [run.records[-1][f"members/return_0{member}"] > 16 for member in range(3)] == [True] * 3
        _, policies = trained_members(config)
        assert [runs.evaluate(policy, config).mean_return for policy in policies] == [32, 32, 32]
        weights = [policy.model.get_weights()[0] for policy in policies]
        assert not np.allclose(weights[0], weights[1])

    @pytest.mark.slow
    def test_each_member_has_its_own_hyper_parameters(self):
        rates, bonuses = (1e-2, 1e-9, 1e-2), (0.0, 0.0, 100.0)
        config = configure(
            "rlsample/Identity-v0",
            1536,
            discount=0.0,
            population=3,
            learning_rate=rates,
            entropy_coefficient=bonuses,
            jit_compile=False,
        )
        loop, policies = trained_members(config)
        learned, still, _ = (runs.evaluate(policy, config).mean_return for policy in policies)
        assert learned == 32 > still
        assert loop.scores[2] < 16 < loop.scores[0]

    @pytest.mark.slow
    def test_the_first_member_is_the_single_run(self):
        options = {"num_envs": 4, "jit_compile": False}
        single, several = (configure("rlsample/CartPole-v1", 512, population=size, **options) for size in (1, 2))
        alone = agent.train(single, Silent()).model.trainable_variables
        _, policies = trained_members(several)
        for ours, theirs in zip(policies[0].model.trainable_variables, alone, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)

    def test_needs_an_in_graph_environment(self):
        with pytest.raises(ValueError, match=r"Expected an in-graph environment for a population.*CartPole"):
            score(configure("CartPole-v1", 256, population=2))


class Poison(Identity):
    """An Identity whose reward or observation can be made one not to learn from, without another trace."""

    def __init__(self):
        super().__init__()
        self.added_to_reward, self.added_to_state = tf.Variable(0.0), tf.Variable(0.0)

    def transition(self, state, action, seed=None):
        return super().transition(state, action, seed) + self.added_to_state

    def reward(self, state, action, next_state, seed=None):
        reward = super().reward(state, action, next_state)
        return tf.where(tf.range(reward.shape[0]) == 3, reward + self.added_to_reward, reward)


@pytest.fixture(scope="module")
def poisoned():
    """A loop, compiled once for the tests of what it refuses, and its environment."""
    config = configure("rlsample/Identity-v0", 1024)
    made = config.env.make(16)
    made.functional = env = Poison()
    learner = agent.Learner(config, made, 4)
    options = {"num_steps": 16, "metrics": agent.METRICS, "seed": 1, "temperature": config.temperature}
    return on_policy_loop(made, learner, **options), env


@pytest.mark.slow
def test_nothing_is_learned_from_nan(poisoned):
    loop, env = poisoned
    before = loop.state
    for added_to_reward, added_to_state in ((1e30, 0.0), (0.0, np.inf)):
        env.added_to_reward.assign(added_to_reward)
        env.added_to_state.assign(added_to_state)
        with pytest.raises(ValueError, match=r"Expected finite rewards, observations and values. Received: env"):
            loop.advance(4)
        assert loop.state is before
    env.added_to_state.assign(0.0)
    loop.advance(1)


def test_divergence_is_an_error(poisoned):
    loop, _ = poisoned
    before = loop.state = loop.state._replace(learning_rate=tf.constant(1e30))
    with pytest.raises(ValueError, match=r"Expected finite"):
        loop.advance(4)
    assert loop.state is before
    assert loop.traces == 1


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_rollout_with_nan_leaves_the_state_as_it_was(jit_compile):
    config = configure("rlsample/Identity-v0", 1024)
    made = config.env.make(16)
    made.functional = env = Poison()
    env.added_to_reward.assign(np.nan)
    learner = agent.Learner(config, made, 4)
    state = learner.start(0)
    collector = InGraphCollector(env, 16, 32)
    steps, _, _ = collector.collect(actor(learner, state), collector.start((1, 2)), 16, tf.constant([1, 2]))
    learn = tf.function(learner.learn, jit_compile=jit_compile, autograph=False)
    after, _, finite = learn(state, steps, tf.constant([3, 4]), tf.ones([16], tf.bool))
    assert np.flatnonzero(~finite.numpy()).tolist() == [3]
    for old, new in zip(tf.nest.flatten(state), tf.nest.flatten(after), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"population": 0}, "agent.population: Input should be greater than or equal to 1"),
        ({"num_minibatches": 0}, "agent.num_minibatches"),
        ({"learning_rate": 0.0}, "Expected learning_rate > 0"),
        ({"learning_rate": (1e-3, 1e-3)}, "Expected one number, or one for each member"),
        ({"entropy_coefficient": -1.0}, "entropy_coefficient >= 0"),
        ({"clip_rnge": 0.2}, "Did you mean 'clip_range'"),
    ],
)
def test_bad_hyper_parameters(hyper, message):
    with pytest.raises(runs.ConfigError, match=message):
        configure("rlsample/Identity-v0", 256, **hyper)


def test_rollouts_must_divide_into_minibatches():
    config = configure("rlsample/Identity-v0", 256, num_envs=3, num_steps=5)
    with pytest.raises(ValueError, match=r"Expected agent.num_steps \* env.num_envs to be a multiple of .*num_envs=3"):
        agent.train(config, Silent())


@pytest.mark.slow
@pytest.mark.parametrize("env", ["rlsample/CartPole-v1", "CartPole-v1"])
def test_balances_the_pole(env):
    config = runs.load_config("agents/configs/ppo_cartpole.yaml", [f"env.id={env}"], agents={"ppo": agent.Config})
    assert score(config)[0] >= 475


@pytest.mark.slow
def test_finds_the_way_out():
    config = runs.load_config("agents/configs/ppo_grid_world.yaml", agents={"ppo": agent.Config})
    result, _ = score(config)
    assert result > 0.5
    assert gym.spec(config.env.id).max_episode_steps == 100
