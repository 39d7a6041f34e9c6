"""The short-horizon actor-critic: what its gradient is, where it is cut, problems it must solve, what it refuses."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import short_horizon_actor_critic as agent
from envs.identity import Identity
from rlsample import ops, runs, samplers
from rlsample.in_graph.environment import FunctionalEnv
from rlsample.learning.population import actor
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.rollouts.in_graph_turns import play_and_learn
from rlsample.rollouts.on_policy import on_policy_loop
from tests.helpers_envs import functional_env
from tests.helpers_runs import Silent

NAME = "short_horizon_actor_critic"
SEED = tf.constant([3, 4])


def configure(env, total_steps, sampler="straight_through_gumbel_softmax", num_envs=8, **hyper):
    small = {"horizon": 4, "actor_learning_rate": 2e-2, "critic_updates": 2, "memory": 2}
    return runs.config_from_dict(
        {
            "agent": {"name": NAME, **small, **hyper},
            "env": {"id": env, "num_envs": num_envs},
            "network": {"hidden_sizes": [32]},
            "sampler": sampler,
            "total_steps": total_steps,
            "evaluation": {"episodes": 20},
        },
        agents={NAME: agent.Config},
    )


def learner_of(config, num_turns=10):
    return agent.Learner(config, config.env.make(), num_turns)


def loop_of(config, made=None):
    made = made or config.env.make()
    learner, hyper = agent.Learner(config, made, 10), config.agent
    options = {"num_steps": hyper.horizon, "metrics": agent.METRICS, "seed": 1, "temperature": config.temperature}
    return on_policy_loop(made, learner, make_turn=play_and_learn, **options)


def score(config):
    run = Silent()
    policy = agent.train(config, run)
    return runs.evaluate(policy, config).mean_return, run


@pytest.mark.parametrize("sampler", ["reinmax", pytest.param("gumbel_softmax", marks=pytest.mark.slow)])
def test_learns_to_copy_the_observation(sampler):
    """32 symbols an episode; acting at random copies 8 of them."""
    result, run = score(configure("rlsample/Identity-v0", 64 * 32, sampler))
    assert result == 32
    assert set(agent.METRICS) | {"charts/episodic_return", "charts/episodic_length"} <= set(run.records[-1])
    assert sum(record.get("charts/episodes", 0) for record in run.records) == 64
    assert run.records[-1]["step"] == 64 * 32
    assert run.records[-1]["update"] == 64


def test_joint_and_masked_actions():
    _, run = score(configure("rlsample/RaggedDict-v0", 4 * 32, jit_compile=False))
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


class TestGradient:
    """With a horizon of one step and a reward linear in the action there is a closed form."""

    def gradients(self, sampler, jit_compile=False):
        config = configure("rlsample/Bandit-v0", 100, sampler, horizon=1)
        learner, env = learner_of(config), functional_env("rlsample/Bandit-v0")
        state = learner.start(0)
        weights = state.policy + 0.3 * tf.random.stateless_normal(state.policy.shape, SEED)
        collector = InGraphCollector(env, 8, 1)

        @tf.function(jit_compile=jit_compile, autograph=False)
        def program():
            with tf.GradientTape() as tape:
                tape.watch(weights)
                acting = actor(learner, state._replace(policy=weights))
                steps, _, _ = collector.collect(acting, collector.start(SEED), 1, SEED)
                segment = agent.segment_of(steps)
                value = agent.mean_return(learner.returns(state, segment), segment)
            return tape.gradient(value, weights)

        def of(value):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                logits = learner.logits(learner.split(state._replace(policy=weights)), tf.ones([8, 1]))
                result = value(logits)
            return tape.gradient(result, weights)

        return program(), of, env

    @pytest.mark.parametrize("sampler", ["straight_through_gumbel_softmax", "reinmax", "gumbel_rao"])
    def test_is_that_of_the_sampler_s_expectation(self, sampler):
        gradients, of, env = self.gradients(sampler)
        act_seed = ops.split(SEED, 2)[0]  # what the collector gives to the first step
        estimate = of(
            lambda logits: tf.reduce_mean(
                samplers.create(sampler).expectation(lambda a: tf.linalg.matvec(a, env.means), logits, act_seed)
            )
        )
        np.testing.assert_allclose(gradients, estimate, rtol=1e-4, atol=1e-7)

    def test_is_exact_for_straight_through(self):
        gradients, of, env = self.gradients("straight_through", jit_compile=True)
        exact = of(lambda logits: tf.reduce_mean(env.expected_reward(logits)))
        assert np.abs(exact).max() > 1e-3
        np.testing.assert_allclose(gradients, exact, rtol=1e-4, atol=1e-7)


class Walk(FunctionalEnv):
    """A position that moves by w1 - w0 and pays itself; terminated when two steps old, or never."""

    max_episode_steps = 2

    def __init__(self, ends):
        super().__init__(gym.spaces.Discrete(2), gym.spaces.Box(-10, 10, (2,)))
        self.ends = ends

    def initial(self, seed, num_envs=1):
        return tf.zeros([num_envs, 2])

    def transition(self, state, action, seed=None):
        weights = self.action_weights(action)
        return tf.stack([state[:, 0] + weights[:, 1] - weights[:, 0], state[:, 1] + 1], 1)

    def observation(self, state, seed=None):
        return state

    def reward(self, state, action, next_state, seed=None):
        return next_state[:, 0]

    def terminal(self, state, seed=None):
        return (state[:, 1] >= 2) & self.ends


class TestCuts:
    """Four steps of two episodes; eagerly, so that every step's draw can be watched."""

    def returns(self, ends):
        """Returns G, and for each step s which G_t its draw has a gradient of: `[T, T]`, indexed [t, s]."""
        learner = learner_of(configure("rlsample/CartPole-v1", 100, num_envs=1, discount=0.5, trace_decay=1.0))
        state = learner.start(0)
        learner.values = lambda weights, statistics, observation: observation[..., 0]  # V = position
        collector, draws = InGraphCollector(Walk(ends), 1, 2), []
        with tf.GradientTape(persistent=True) as tape:

            def act(observation, mask, seed):
                draws.append(tf.constant([[0.0, 1.0]]))
                tape.watch(draws[-1])
                return draws[-1]

            steps, _, ended = collector.collect(act, collector.start(SEED), 4, SEED)
            segment = agent.segment_of(steps)
            returns = tf.unstack(learner.returns(state, segment)[:, 0])
            climbed = agent.mean_return(learner.returns(state, segment), segment)
        assert float(ended.count[0]) == 2
        gradients = [tape.gradient(value, draws, unconnected_gradients="zero") for value in returns]
        return np.array(returns), np.array([[np.abs(g).max() > 0 for g in row] for row in gradients]), float(climbed)

    @pytest.mark.parametrize(("ends", "second"), [(True, 2.0), (False, 2.0 + 0.5 * 2.0)])
    def test_at_the_end_of_an_episode(self, ends, second):
        """Rewards 1, 2, 1, 2; nothing after the end if it was terminated, the value of position 2 if time was up."""
        returns, depends, climbed = self.returns(ends)
        np.testing.assert_allclose(returns, [1 + 0.5 * second, second] * 2, rtol=1e-6)
        np.testing.assert_array_equal(depends, np.kron(np.eye(2), np.ones((2, 2))).astype(bool))
        assert climbed == pytest.approx(2 * (1 + 0.5 * second) / 4)  # both beginnings, over four steps


@pytest.fixture(scope="module")
def cartpole():
    """A loop, compiled once for the tests that only need it to run."""
    return loop_of(configure("rlsample/CartPole-v1", 64))


@pytest.mark.slow
def test_two_updates_of_cartpole_touch_what_they_should(cartpole):
    before = cartpole.state
    metrics = cartpole.advance(2)
    after = cartpole.state
    assert set(agent.METRICS) <= set(metrics)
    assert np.isfinite(list(metrics.values())).all()
    for name in ("policy", "averaged", "critic", "target"):
        assert np.any(getattr(before, name) != getattr(after, name))
    assert float(after.statistics.count) == 64
    assert np.unique(after.latest.rows.reward.numpy()).tolist() == [1.0]
    policy = cartpole.learner.publish(after)
    features = tf.random.stateless_normal([5, 4], SEED)
    averaged = cartpole.learner.split(after._replace(policy=after.averaged))
    np.testing.assert_allclose(policy.model(features), cartpole.learner.logits(averaged, features), atol=1e-6)


@pytest.mark.slow
def test_a_gradient_that_explodes_is_not_applied(cartpole):
    good = cartpole.state
    # It does not overflow, its square does.
    last_kernel = np.zeros(good.target.shape, np.float32)
    last_kernel[-33:-1] = 1e25
    broken = cartpole.state = good._replace(target=good.target + last_kernel)
    with pytest.raises(ValueError, match=r"Expected finite losses and gradients.*Training diverged"):
        cartpole.advance(2)
    assert cartpole.state is broken
    cartpole.state = good


def test_the_oldest_segment_is_overwritten():
    learner = learner_of(configure("rlsample/CartPole-v1", 64, num_envs=2, memory=3, critic_updates=1))
    state = learner.start(0)
    for number in range(1, 5):
        ends, observations = tf.zeros([4, 2], tf.bool), tf.zeros([4, 2, 4])
        rewards = tf.constant([[number, number + 0.5]] * 4)
        segment = agent.Segment(observations, rewards, observations, ends, ends)
        played = agent.Played(segment, tf.zeros([]), rewards, rewards)
        flags = tf.ones([2], tf.bool)
        state, _, _ = learner.descend(state, tf.zeros_like(state.policy), played, SEED, flags)
    np.testing.assert_array_equal(state.latest.rows.reward[:, 0], [4, 4.5, 2, 2.5, 3, 3.5])


def test_a_run_that_is_stopped_returns_what_it_has():
    run = Silent()
    run.stopping = True
    assert agent.train(configure("rlsample/Identity-v0", 10**9), run).model.built


@pytest.mark.parametrize("env", ["CartPole-v1", "rlsample/Breakout-v0"])
def test_needs_an_environment_with_a_gradient(env):
    with pytest.raises(ValueError, match=f"Expected an environment with a gradient. Received: env='{env}'. Use"):
        agent.train(configure(env, 100), Silent())


def test_observations_other_than_floats_are_refused():
    config = configure("rlsample/CartPole-v1", 64)
    config = config.model_copy(update={"env": config.env.model_copy(update={"wrappers": ["PreviousActionAndReward"]})})
    with pytest.raises(ValueError, match=r"Expected observations with a gradient, one Box of floats. Received: .*Dict"):
        loop_of(config)


@pytest.mark.parametrize("sampler", ["categorical", "score_function", "exact"])
def test_needs_a_sampler_with_a_gradient(sampler):
    with pytest.raises(ValueError, match=f"Expected a sampler whose draws carry a gradient. Received: .*'{sampler}'"):
        agent.train(configure("rlsample/CartPole-v1", 100, sampler), Silent())


class Poison(Identity):
    """An Identity whose reward or state can be made NaN in one of the environments, without another trace."""

    def __init__(self):
        super().__init__()
        self.reward_is_nan, self.state_is_nan = tf.Variable(False), tf.Variable(False)

    def transition(self, state, action, seed=None):
        broken = self.state_is_nan & (tf.range(state.shape[0]) == 3)
        return tf.where(broken[:, None], np.nan, super().transition(state, action, seed))

    def reward(self, state, action, next_state, seed=None):
        broken = self.reward_is_nan & (tf.range(state.shape[0]) == 3)
        return tf.where(broken, np.nan, super().reward(state, action, next_state))


@pytest.mark.slow
def test_nothing_is_learned_from_nan():
    config = configure("rlsample/Identity-v0", 1024)
    made = config.env.make()
    made.functional = env = Poison()
    loop = loop_of(config, made)
    start = loop._running
    loop.advance(4)
    good = loop.state
    broken = good._replace(policy=good.policy * np.nan)
    for reward_is_nan, state_is_nan, state in ((True, False, good), (False, True, good), (False, False, broken)):
        env.reward_is_nan.assign(reward_is_nan)
        env.state_is_nan.assign(state_is_nan)
        loop._running, loop.state = start, state
        with pytest.raises(ValueError, match=r"Expected finite rewards, observations and values. Received: env"):
            loop.advance(4)
        assert loop.state is state


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"horizon": 0}, "agent.horizon: Input should be greater than or equal to 1"),
        ({"discount": 1.0}, "agent.discount: Input should be less than 1"),
        ({"horizn": 8}, "Did you mean 'horizon'"),
    ],
)
def test_bad_hyper_parameters(hyper, message):
    with pytest.raises(runs.ConfigError, match=message):
        configure("rlsample/CartPole-v1", 100, **hyper)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["straight_through_gumbel_softmax", "straight_through", "reinmax"])
def test_balances_the_pole(sampler):
    path = "agents/configs/short_horizon_cartpole.yaml"
    config = runs.load_config(path, [f"sampler={sampler}"], agents={NAME: agent.Config})
    assert score(config)[0] >= 475
