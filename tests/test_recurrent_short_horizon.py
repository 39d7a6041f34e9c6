"""The short-horizon actor-critic with a memory: its gradients against a plain loop over time, and what it solves."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import recurrent_short_horizon
from agents import short_horizon_actor_critic as agent
from rlsample import ops, runs, samplers
from rlsample.learning.normalization import normalize
from rlsample.learning.population import member_of, members_of
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.rollouts.in_graph_turns import play_remembering_and_learn
from tests.helpers import every_third
from tests.helpers_agents import AGENTS
from tests.helpers_runs import Silent

T, E, S = 6, 3, 4
HYPER = {"discount": 0.9, "trace_decay": 0.8, "entropy_coefficient": 0.03}
HIDDEN_VELOCITIES = [{"name": "SelectEntries", "entries": [0, 2]}]
SEED = tf.constant([3, 4])
PATHWISE = [name for name in samplers.names() if samplers.create(name).pathwise]


def configure(sampler="straight_through_gumbel_softmax", cell="gru", env=None, total_steps=4 * T * E, **hyper):
    small = {"horizon": T, "critic_updates": 1, "critic_batch_size": 4, "memory": 3, "jit_compile": False}
    return runs.config_from_dict(
        {
            "agent": {"name": "short_horizon_actor_critic", **small, **HYPER, **hyper},
            "env": env or {"id": "rlsample/CartPole-v1", "num_envs": E, "wrappers": HIDDEN_VELOCITIES},
            "network": {"name": "recurrent", "cell": cell, "units": S, "encoder": {"name": "mlp", "hidden_sizes": [6]}},
            "sampler": sampler,
            "total_steps": total_steps,
            "evaluation": {"episodes": 20},
        },
        agents=AGENTS,
    )


def far_from_zero(state, seed=5):
    """Weights and memories that are nothing special, and what has been seen of observations."""
    noise = np.random.default_rng(seed)
    weights = {
        name: tf.constant(0.5 * noise.normal(size=getattr(state, name).shape), tf.float32)
        for name in ("policy", "critic", "target")
    }
    memory = tuple(tf.constant(noise.uniform(-1, 1, size=part.shape), tf.float32) for part in state.memory)
    statistics = state.statistics._replace(variance=1e-4 * state.statistics.variance)
    return state._replace(**weights, memory=memory, statistics=statistics)


def parts_of(config, max_episode_steps=5, population=1):
    """A learner, its state, and a collector in whose episodes time runs out within a segment."""
    vector = config.env.make(num_envs=E * population)
    learner = recurrent_short_horizon.Learner(config, vector, 10)
    collector = InGraphCollector(vector.unwrapped.functional, E * population, max_episode_steps)
    return learner, far_from_zero(learner.start(0)), collector


def gradient_for_weights(learner):
    """Makes a turn leave the gradient of its segment in place of the policy, and learn nothing."""

    def descend(state, gradient, played, seed, finite):
        return state._replace(policy=gradient, memory=played.memory), {"loss": played.loss}, finite

    learner.descend = descend
    return learner


def by_hand(learner, state, collector, running, seed):
    """Loss, values after each step and memories after a segment, step by step with nothing but single steps."""
    env, config, seeds = collector.env, learner.agent, ops.split(seed, 2 * T)
    policy, target = learner.network.split(state.policy), learner.critic.split(state.target)
    goes_on = tf.zeros([1, E], tf.bool)
    (remembered, judging), env_state, length = state.memory, running.state, running.length
    rows, entropies, lasts = [], [], []
    for step in range(T):
        seen = normalize(env.observation(env_state), state.statistics)
        logits, remembered = learner.network.apply(policy, (seen, remembered, goes_on))
        _, judging = learner.critic.apply(target, (seen, judging, goes_on))
        distribution = learner.policy.head.distribution(logits, env.action_mask(env_state))
        entropies.append(distribution.entropy())
        action = distribution.sample(seeds[2 * step]).one_hot
        env_state, following, reward, terminated = env.step(env_state, action, seeds[2 * step + 1])
        value, _ = learner.critic.apply(target, (normalize(following, state.statistics), judging, goes_on))
        length += 1
        done = terminated | (length >= collector.max_episode_steps)
        rows.append((reward, value[:, 0] / (1 - config.discount), terminated))
        lasts.append(done)
        env_state = env.reset_where(done, env_state, seeds[2 * step + 1])
        length = tf.where(done, 0, length)
        remembered, judging = (tf.where(done[:, None], 0.0, part) for part in (remembered, judging))
    climbed, later = 0.0, tf.zeros([E])
    for step in reversed(range(T)):
        reward, value, terminated = rows[step]
        cut = lasts[step] | (step == T - 1)
        mixed = tf.where(cut, value, (1 - config.trace_decay) * value + config.trace_decay * later)
        later = reward + config.discount * tf.where(terminated, 0.0, mixed)
        begins = tf.ones([E], tf.bool) if step == 0 else lasts[step - 1]
        climbed += tf.reduce_sum(tf.where(begins, later, 0.0)) / (T * E)
    loss = -climbed - config.entropy_coefficient * tf.reduce_mean(tf.stack(entropies))
    return loss, tf.stack([value for _, value, _ in rows]), (remembered, judging)


@pytest.mark.parametrize(
    ("cell", "jit_compile"),
    [("gru", False), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("lstm", False), ("gru", True)))],
)
def test_the_gradient_is_that_of_a_plain_loop_over_time_segment_after_segment(cell, jit_compile):
    """Each segment goes on from memories that are constants to it, and time runs out within it."""
    learner, state, collector = parts_of(configure(cell=cell))
    turn = play_remembering_and_learn(gradient_for_weights(learner), collector, T)
    if jit_compile:
        turn = tf.function(turn, autograph=False, jit_compile=True)
    running, finite = collector.start(SEED), tf.ones([E], tf.bool)
    for index in range(2):
        seed = tf.constant([index, 7])
        after, following, _, metrics, _ = turn(state, running, tf.constant(index), seed, finite)
        with tf.GradientTape() as tape:
            tape.watch(state.policy)
            play_seed = ops.split(seed, 2)[0]
            loss, _, memory = by_hand(learner, state, collector, running, play_seed)
        expected = tape.gradient(loss, state.policy)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4)
        np.testing.assert_allclose(after.policy, expected, rtol=1e-3, atol=1e-6)
        for own, part in zip(after.memory, memory, strict=True):
            np.testing.assert_allclose(own, part, atol=1e-5)
        assert np.any(after.memory[0] != 0)
        state, running = after._replace(policy=state.policy), following


def test_the_gradient_is_the_slope_of_the_loss_where_actions_are_smooth():
    """By differences: the actions are probabilities, so that all of the segment is a smooth function of the weights."""
    learner, state, collector = parts_of(configure("softmax"))
    turn = play_remembering_and_learn(gradient_for_weights(learner), collector, T)
    begun = collector.start(SEED), tf.constant(0), SEED, tf.ones([E], tf.bool)
    gradient, *_ = turn(state, *begun)
    direction = gradient.policy / tf.norm(gradient.policy)

    def loss(step):
        moved = turn(state._replace(policy=state.policy + step * direction), *begun)
        return float(moved[3]["loss"])

    slope = (loss(3e-3) - loss(-3e-3)) / 6e-3
    assert slope == pytest.approx(float(tf.norm(gradient.policy)), rel=1e-2)


def test_the_policy_gradient_passes_through_what_is_remembered():
    """With a policy that sees nothing of the present, all that a later action can know of an earlier one is memory."""
    learner, state, collector = parts_of(configure("softmax"), max_episode_steps=None)
    forgetful = gradient_for_weights(learner)
    turn = play_remembering_and_learn(forgetful, collector, T)
    begun = collector.start(SEED), tf.constant(0), SEED, tf.ones([E], tf.bool)
    whole, *_ = turn(state, *begun)
    remember = learner.logits_and_memory

    def cut(parameters, observation, memory):
        logits, memory = remember(parameters, observation, memory)
        return logits, tf.stop_gradient(memory)

    learner.logits_and_memory = cut
    without, *_ = turn(state, *begun)
    np.testing.assert_allclose(whole.memory[0], without.memory[0])
    assert np.abs(whole.policy - without.policy).max() > 1e-2


@pytest.mark.slow
def test_members_of_a_population_have_the_gradients_they_have_alone():
    learner, first, collector = parts_of(configure("softmax", population=2), None, population=2)
    population = members_of(gradient_for_weights(learner), 2)
    states = tf.nest.map_structure(lambda *each: tf.stack(each), first, far_from_zero(first, seed=6))
    running, ones = collector.start(SEED), tf.ones([2 * E], tf.bool)
    turn = tf.function(play_remembering_and_learn(population, collector, T), autograph=False)
    after, *_ = turn(states, running, tf.constant(0), SEED, ones)
    alone = InGraphCollector(collector.env, E)
    for member, rows in enumerate((slice(0, E), slice(E, 2 * E))):
        state, own = member_of(states, member), tf.nest.map_structure(lambda part, rows=rows: part[rows], running)
        expected, *_ = play_remembering_and_learn(learner, alone, T)(state, own, tf.constant(0), SEED, ones[:E])
        np.testing.assert_allclose(after.policy[member], expected.policy, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(after.memory[1][member], expected.memory[1], atol=1e-5)


def test_segments_are_kept_with_what_was_remembered_before_them():
    learner, state, collector = parts_of(configure(memory=2))
    before, running = state.memory[1], collector.start(SEED)
    for index in range(3):
        begun = running, tf.constant(index), tf.constant([index, 7]), tf.ones([E], tf.bool)
        following = play_remembering_and_learn(learner, collector, T)(state, *begun)
        newest = slice(0, E) if index % 2 == 0 else slice(E, 2 * E)
        kept = tf.nest.map_structure(lambda part, newest=newest: part[newest], following[0].latest.rows)
        np.testing.assert_array_equal(kept.memory, before)
        segment = agent.turned(kept)
        done = segment.terminated | segment.truncated
        np.testing.assert_array_equal(segment.starts[1:], done[:-1])
        assert not np.any(segment.starts[0])
        assert np.any(done)
        _, values, (_, judging) = by_hand(learner, state, collector, running, ops.split(begun[2], 2)[0])
        np.testing.assert_allclose(learner.values_after(state, segment), values, rtol=1e-3, atol=1e-4)
        goes_on = ~done[:-1]
        present = learner.values_before(state.target, state, segment)[1:]
        np.testing.assert_allclose(present[goes_on], values[:-1][goes_on], rtol=1e-3, atol=1e-4)
        state, running = following[:2]
        before = state.memory[1]
        np.testing.assert_allclose(before, judging, atol=1e-5)
    assert np.all(state.critic != learner.start(0).critic)


@pytest.fixture(scope="module")
def parts():
    """For tests of what learns nothing."""
    return parts_of(configure(), None)


def test_an_audit_judges_what_follows_on_what_is_remembered(parts):
    learner, state, _ = parts
    observation = tf.random.stateless_normal([2, E, 2], SEED)
    critic, judging = learner.critic.at(state.target), state.memory[1]
    values = []
    for step in range(2):
        seen = normalize(observation[step], state.statistics)
        value, judging = critic((seen, judging, tf.zeros([1, E], tf.bool)))
        values.append(value[:, 0] / (1 - HYPER["discount"]))
    np.testing.assert_allclose(learner.going_on(state, observation), values, rtol=1e-4)


@pytest.mark.parametrize("sampler", every_third(PATHWISE))
def test_every_pathwise_sampler_has_a_gradient_through_a_segment(sampler, parts, monkeypatch):
    learner, state, collector = parts
    monkeypatch.setattr(learner.policy.head, "sampler", samplers.create(sampler))
    turn = play_remembering_and_learn(gradient_for_weights(learner), collector, 3)
    after, *_ = turn(state, collector.start(SEED), tf.constant(0), SEED, tf.ones([E], tf.bool))
    assert np.isfinite(after.policy).all()
    assert np.any(after.policy != 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "hyper"),
    [
        ("rlsample/RaggedDict-v0", {}),
        ("rlsample/GridWorld-v0", {"jit_compile": True}),
        ("rlsample/GridWorld-v0", {"population": 2, "audit_draws": 2, "jit_compile": True}),
    ],
)
def test_masks_joint_actions_audits_and_populations(env, hyper):
    env = {"id": env, "num_envs": E}
    run = Silent()
    policy = agent.train(configure(env=env, **hyper), run)
    assert np.isfinite([value for record in run.records for value in record.values()]).all()
    action, state = policy.act(policy.observation_space.sample())
    assert policy.factors.action_space.contains(action)
    assert np.any(state)


@pytest.mark.slow
def test_it_balances_a_pole_whose_velocities_it_has_to_remember():
    config = runs.load_config("agents/configs/short_horizon_cartpole_no_velocities.yaml", agents=AGENTS)
    assert runs.evaluate(agent.train(config, Silent()), config).mean_return >= 475
