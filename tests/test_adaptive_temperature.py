"""Temperatures that adapt: the rule by hand, what is refused, targets that are held, alone and in agents."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from agents import ppo, relaxed_actor_critic, short_horizon_actor_critic
from rlsample import lab, samplers, schedules
from rlsample.rollouts import in_graph_loop
from rlsample.rollouts.off_policy.from_replay import InGraphReplayLoop
from rlsample.rollouts.on_policy import on_policy_loop
from tests.helpers import MODES
from tests.helpers_agents import small_config
from tests.helpers_runs import Silent

ENTROPY, SNR = "sampler/relaxed_entropy", "sampler/gradient_snr"
HALF = {"name": "adaptive", "holds": "entropy", "target": 0.5, "minimum": 0.5, "maximum": 2.0, "rate": 0.1}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("measured", "moves"),
    [
        (0.5, 0.0),
        (0.4, 0.1 * math.log(0.5 / 0.4)),
        (0.6, 0.1 * math.log(0.5 / 0.6)),
        (0.0, 0.1),
        (1e-30, 0.1),
        (-1e-9, 0.1),
        (np.inf, -0.1),
        (np.nan, 0.0),
    ],
)
def test_one_measurement_moves_the_logarithm_of_the_temperature(mode, measured, moves):
    temperature = schedules.create(HALF)
    assert temperature.metric == ENTROPY
    run = MODES[mode](lambda state, value: temperature.update(state, {ENTROPY: value, "policy/entropy": value + 1}))
    state = run(temperature.initial(), tf.constant(measured, tf.float32))
    np.testing.assert_allclose(temperature.at(state, 7), math.exp(moves), rtol=1e-6)


def test_it_stays_within_its_bounds_and_comes_back():
    temperature = schedules.create(HALF)
    state = temperature.initial()
    for _ in range(50):
        state = temperature.update(state, {ENTROPY: 0.0})
    assert float(temperature.at(state, 0)) == 2.0
    for _ in range(50):
        state = temperature.update(state, {ENTROPY: 1.0})
    assert float(temperature.at(state, 0)) == 0.5
    assert float(temperature.at(temperature.update(state, {ENTROPY: 0.1}), 0)) > 0.5


def test_it_is_its_own_config():
    temperature = schedules.create({"name": "adaptive", "holds": "signal_to_noise", "target": 2})
    assert schedules.create(temperature.to_config()) == temperature
    assert temperature.metric == SNR
    assert schedules.create(0.5).metric is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "'adaptive' to be given 'target'"),
        ({"target": 0.0}, "target to be a finite number > 0"),
        ({"target": 1.0}, "a target entropy below 1"),
        ({"target": 0.5, "holds": "entropie"}, "Did you mean 'entropy'"),
        ({"target": 0.5, "start": 20.0}, "minimum <= start <= maximum. Received: minimum=0.1, start=20.0"),
        ({"target": 0.5, "minimum": 2.0}, "minimum <= start <= maximum"),
        ({"target": 0.5, "rate": 0}, "rate to be a finite number > 0"),
        ({"target": 0.5, "steps": 100}, "Unknown option for the schedule 'adaptive' 'steps'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        schedules.create({"name": "adaptive", **options})


@pytest.mark.parametrize(
    ("agent", "sampler", "holds", "message"),
    [
        (
            "relaxed_actor_critic",
            "exact",
            "entropy",
            "temperature: Expected a sampler whose gradient depends",
        ),
        ("relaxed_actor_critic", "zgr", "signal_to_noise", "depends on the temperature. Received: sampler='zgr'"),
        ("relaxed_actor_critic", "reinmax", "entropy", "differentiates relaxed samples.* sampler='reinmax'"),
        ("ppo", "gumbel_softmax", "signal_to_noise", "an agent that measures its gradients. Received: agent='ppo'"),
        ("short_horizon_actor_critic", "reinmax", "signal_to_noise", "agent.audit_draws=16"),
    ],
)
def test_what_the_temperature_does_not_move_or_nobody_measures_is_refused(agent, sampler, holds, message):
    options = {"agent": {"audit_draws": 0}} if agent == "short_horizon_actor_critic" else {}
    with pytest.raises(ValueError, match=message):
        small_config(agent, sampler=sampler, temperature={"name": "adaptive", "holds": holds, "target": 0.5}, **options)


class TestRelaxation:
    """What is measured, against closed forms."""

    @pytest.mark.parametrize("mode", MODES)
    def test_of_softmax_it_is_known(self, mode):
        logits = np.log([[0.5, 0.25, 0.25], [0.9, 0.1, 1.0], [1.0, 1.0, 1.0]]).astype(np.float32)
        mask = np.array([[True, True, True], [True, True, False], [True, False, False]])  # The last has no choice.
        found = MODES[mode](lambda x: lab.relaxation("straight_through", x, (1, 2), mask=mask))(tf.constant(logits))
        np.testing.assert_allclose(found.one_hot_gap, np.mean([0.5, 0.1]), rtol=1e-6)
        entropies = 1.5 * math.log(2) / math.log(3), -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
        np.testing.assert_allclose(found.entropy, np.mean(entropies), rtol=1e-6)

    def test_it_is_of_the_sample_behind_the_draw(self):
        logits = tf.random.stateless_normal([64, 4], (1, 2))
        relaxed = samplers.create("gumbel_softmax")(logits, (3, 4), temperature=0.7).one_hot
        for name in ("gumbel_softmax", "straight_through_gumbel_softmax"):
            found = lab.relaxation(name, logits, (3, 4), temperature=0.7)
            np.testing.assert_allclose(found.one_hot_gap, 1 - relaxed.numpy().max(-1).mean(), rtol=1e-6)

    def test_it_rises_with_the_temperature_from_one_hot_to_uniform(self):
        logits = tf.random.stateless_normal([64, 5], (1, 2))
        found = [lab.relaxation("gumbel_rao", logits, (3, 4), temperature=tau) for tau in (1e-4, 0.1, 1.0, 10.0, 1e5)]
        gaps, entropies = np.transpose(found)
        assert (np.diff(gaps) > 0).all()
        assert (np.diff(entropies) > 0).all()
        np.testing.assert_allclose([gaps[0], gaps[-1], entropies[0], entropies[-1]], [0, 0.8, 0, 1], atol=5e-4)

    @pytest.mark.parametrize("name", ["categorical", "exact", "reinmax", "zgr", "perturbed_argmax"])
    def test_there_is_none_without_relaxed_samples(self, name):
        assert lab.relaxation(name, tf.zeros([2, 3]), (1, 2)) is None


MEANS = tf.constant([1.0, 0.0, 0.5, -1.0])


def hold(temperature, measure, logits, steps=300):
    """Measurements under a temperature that adapts, the second half of them; and the temperature at the end."""
    temperature = schedules.create({"name": "adaptive", "rate": 0.1, **temperature})

    @tf.function(jit_compile=True, autograph=False)
    def step(state, index):
        found = measure(temperature.at(state, index), tf.stack([index, 1]), logits)
        return temperature.update(state, found), next(iter(found.values()))

    state, seen = temperature.initial(), []
    for index in range(steps):
        state, measured = step(state, tf.constant(index))
        seen.append(float(measured))
    return np.array(seen[steps // 2 :]), float(temperature.at(state, 0))


def entropy(tau, seed, logits):
    sampler = "straight_through_gumbel_softmax"
    return {ENTROPY: lab.relaxation(sampler, logits, seed, temperature=tau).entropy}


def signal_to_noise(tau, seed, logits):
    sampler = samplers.create("straight_through_gumbel_softmax")
    found = lab.online(sampler, lambda x: tf.linalg.matvec(x, MEANS) ** 2, logits, seed, 32, temperature=tau)
    return {SNR: found.signal_to_noise}


@pytest.mark.parametrize("target", [0.2, 0.6])
def test_the_entropy_is_held_as_the_policy_becomes_certain(target):
    """A bandit's policy, undecided and then decided: the temperature follows its logits."""
    temperatures = []
    for scale in (1.0, 6.0):
        logits = scale * tf.tile(MEANS[None], [64, 1])
        seen, tau = hold({"holds": "entropy", "target": target, "maximum": 30.0}, entropy, logits)
        # Rows have a standard deviation below 0.35, so the mean of 150 x 64 one below 0.004: off by chance never.
        assert abs(seen.mean() - target) < 0.025
        temperatures.append(tau)
    assert temperatures[1] > 1.5 * temperatures[0]


def test_the_signal_to_noise_ratio_is_held():
    logits = tf.tile(MEANS[None], [32, 1])
    seen, tau = hold({"holds": "signal_to_noise", "target": 0.4, "maximum": 30.0}, signal_to_noise, logits)
    assert abs(np.median(seen) - 0.4) < 0.06
    assert 0.1 < tau < 30.0


def learned(config, module):
    run = Silent()
    module.train(config, run)
    return run.records


@pytest.mark.slow
def test_the_relaxed_actor_critic_holds_it_on_a_bandit_in_one_program():
    config = small_config(
        "relaxed_actor_critic",
        env={"id": "rlsample/Bandit-v0", "num_envs": 4},
        agent={"batch_size": 64, "steps_per_round": 4},
        temperature={"name": "adaptive", "target": 0.3, "rate": 0.2},
        total_steps=3200,
    )
    envs = config.env.make()
    learner = relaxed_actor_critic.Learner(config, envs.single_observation_space, envs.single_action_space)
    loop = InGraphReplayLoop(envs, learner)
    records = [loop.advance(in_graph_loop.MEASURE_EVERY) for _ in range(200)]
    last = records[len(records) // 2 :]
    assert np.mean([record[ENTROPY] for record in last]) == pytest.approx(0.3, abs=0.02)
    assert len({record["sampler/temperature"] for record in last}) > 50


@pytest.mark.slow
def test_the_relaxed_actor_critic_holds_it_on_the_frozen_lake():
    records = learned(
        small_config(
            "relaxed_actor_critic",
            env={"id": "FrozenLake-v1", "num_envs": 4},
            agent={"batch_size": 64, "steps_per_round": 4, "audit_draws": 0, "actor_learning_rate": 1e-2},
            temperature={"name": "adaptive", "target": 0.3, "rate": 0.2},
            total_steps=800,
        ),
        relaxed_actor_critic,
    )
    last = records[len(records) // 2 :]
    assert np.mean([record[ENTROPY] for record in last]) == pytest.approx(0.3, abs=0.02)
    assert len({record["sampler/temperature"] for record in last}) > 50


@pytest.mark.slow
def test_the_short_horizon_agent_holds_it_compiled_and_measures_its_gradients():
    records = learned(
        small_config(
            "short_horizon_actor_critic",
            env={"id": "rlsample/Bandit-v0", "num_envs": 16},
            agent={"horizon": 1, "jit_compile": True, "audit_draws": 4, "memory": 8},
            temperature={"name": "adaptive", "target": 0.3, "rate": 0.2},
            total_steps=16 * 4 * 200,
        ),
        short_horizon_actor_critic,
    )
    last = records[len(records) // 2 :]
    assert np.mean([record[ENTROPY] for record in last]) == pytest.approx(0.3, abs=0.05)
    for record in last:
        assert -1 <= record["sampler/gradient_cosine"] <= 1
        assert record[SNR] >= 0
        assert 0 < record["sampler/one_hot_gap"] < 0.75


def loop_of_ppo(config):
    made = config.env.make()
    learner = ppo.Learner(config, made, 8)
    options = {"num_steps": 8, "metrics": ppo.METRICS, "seed": 1, "jit_compile": False}
    return on_policy_loop(made, learner, temperature=config.temperature, **options)


@pytest.mark.slow
@pytest.mark.parametrize("env", ["rlsample/Bandit-v0", "FrozenLake-v1"])
def test_a_snapshot_holds_the_temperature_and_calls_of_any_length_give_the_same(env):
    config = small_config("ppo", env={"id": env, "num_envs": 4}, temperature=HALF | {"rate": 0.3})
    whole, parts = loop_of_ppo(config), loop_of_ppo(config)
    wholly = whole.advance(8)
    parts.advance(3)
    resumed = loop_of_ppo(config)
    resumed.restore(parts.snapshot())
    resumed_metrics = resumed.advance(5)
    assert wholly["sampler/temperature"] != 1.0
    if env.startswith("rlsample"):  # Other environments begin anew.
        for name in ("sampler/temperature", "sampler/one_hot_gap", ENTROPY):
            assert wholly[name] == resumed_metrics[name]
        arrays, same = whole.snapshot().arrays, resumed.snapshot().arrays
        for name in arrays.keys() - {"scores/0"}:  # The mean return since the last call.
            np.testing.assert_array_equal(arrays[name], same[name], err_msg=name)
    else:
        again = loop_of_ppo(config)
        again.restore(parts.snapshot())
        assert again.advance(5)["sampler/temperature"] == resumed_metrics["sampler/temperature"] != 1.0
