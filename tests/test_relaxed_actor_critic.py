"""The relaxed actor-critic: its critics, one round of updates, and problems it must solve in seconds."""

from __future__ import annotations

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import relaxed_actor_critic as agent
from rlsample import networks, runs
from rlsample.learning.critics import ConcatenatingCritic, LinearCritic, chord_loss, on_the_way
from rlsample.learning.replay import Replay
from rlsample.rollouts.in_numpy.actor import uniform_actions
from rlsample.streams import Streams
from tests.helpers_runs import Silent

BY_PYTHON = "FrozenLake-v1"


def configure(env, total_steps, sampler="straight_through_gumbel_softmax", num_envs=8, temperature=1.0, **hyper):
    small = {"batch_size": 64, "warmup_steps": 64, "anneal_learning_rate": False}
    small |= {"actor_learning_rate": 1e-2, "critic_learning_rate": 1e-2, "average_rate": 0.05, "target_rate": 0.05}
    return runs.config_from_dict(
        {
            "agent": {"name": "relaxed_actor_critic", **small, **hyper},
            "env": {"id": env, "num_envs": num_envs},
            "network": {"hidden_sizes": [32]},
            "sampler": sampler,
            "temperature": temperature,
            "total_steps": total_steps,
        },
        agents={"relaxed_actor_critic": agent.Config},
    )


def score(config):
    run = Silent()
    policy = agent.train(config, run)
    return runs.evaluate(policy, config, episodes=20).mean_return, run


@pytest.mark.parametrize(
    "sampler", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("exact", "gumbel_softmax")), "score_function"]
)
def test_learns_to_copy_the_observation(sampler):
    config = configure("rlsample/Identity-v0", 768, sampler, discount=0.0, jit_compile=sampler == "exact")
    fresh = agent.make_policy(config, *spaces_of(config))
    before = runs.evaluate(fresh, config, episodes=20).mean_return
    after, _ = score(config)
    limit = gym.spec("rlsample/Identity-v0").max_episode_steps
    assert after >= 0.95 * limit > before


def spaces_of(config):
    made = config.env.make(1)
    return made.single_observation_space, made.single_action_space


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["linear", "concatenating"])
def test_learns_a_joint_action(critic):
    config = configure("rlsample/MultiDiscrete-v0", 1024, discount=0.0, critic=critic)
    before = runs.evaluate(agent.make_policy(config, *spaces_of(config)), config, episodes=20).mean_return
    after, run = score(config)
    assert after > before
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


@pytest.mark.slow
def test_the_maddpg_form_runs():
    config = configure(
        "rlsample/Bandit-v0", 256, num_critics=1, entropy_coefficient=0.0, audit_draws=8, jit_compile=False
    )
    _, run = score(config)
    assert -1 <= run.records[-1]["sampler/gradient_cosine"] <= 1
    assert run.records[-1]["policy/coefficient"] == pytest.approx(0.0, abs=1e-12)
    assert run.records[-1]["step"] == 256


def test_masked_environments_are_played_legally():
    config = configure("rlsample/GridWorld-v0", 256, jit_compile=False)
    _, run = score(config)
    assert run.records


def test_a_run_shorter_than_the_warmup_learns_too():
    config = configure(BY_PYTHON, 200, warmup_steps=1000, jit_compile=False)
    _, run = score(config)
    assert run.records[-1]["step"] == 200
    assert run.records[-1]["update"] > 0


def learner_of(config):
    learner = agent.Learner(config, *spaces_of(config))
    learner.state = learner.start(0)
    return learner


def filled_replay(learner, rows=200):
    generator, event = np.random.default_rng(0), learner.policy.factors.event_shape
    (features,) = learner.policy.observation_space.shape
    replay = Replay(rows)
    replay.add(
        {
            "observation": generator.normal(size=(rows, features)).astype(np.float32),
            "mask": np.ones((rows, *event), bool),
            "action": generator.integers(event[-1], size=(rows, *event[:-1])).astype(np.int32),
            "reward": generator.normal(size=rows).astype(np.float32),
            "discount": np.full(rows, 0.99, np.float32),
            "next_observation": generator.normal(size=(rows, features)).astype(np.float32),
            "next_mask": np.ones((rows, *event), bool),
            "terminated": np.zeros(rows, bool),
        }
    )
    return replay


def test_the_temperature_moves_without_a_retrace():
    learner = learner_of(configure("rlsample/Bandit-v0", 640))
    replay, generator = filled_replay(learner), np.random.default_rng(1)
    for step, temperature in ((128, 1.0), (192, 0.5), (256, 0.1)):
        learner.policy.head.temperature.assign(temperature)
        gap = learner.learn(replay, generator, step)["sampler/one_hot_gap"]
        assert float(learner.publish_averaged().head.temperature) == pytest.approx(temperature)
    assert 0 < gap < 0.1
    assert learner._round.experimental_get_tracing_count() == 1


@pytest.mark.slow
def test_the_temperature_follows_its_schedule_from_round_to_round():
    linear = {"name": "linear", "start": 1.0, "end": 0.1, "steps": 600}
    _, run = score(configure(BY_PYTHON, 256, temperature=linear))
    seen = {record["step"]: record["sampler/temperature"] for record in run.records}
    assert seen == pytest.approx({step: 1 - 0.9 * step / 600 for step in seen})


@pytest.mark.slow
def test_divergence_is_reported():
    learner = learner_of(configure("rlsample/Bandit-v0", 640))
    learner.state = learner.state._replace(policy=learner.state.policy * np.nan)
    with pytest.raises(ValueError, match="Expected finite losses"):
        learner.learn(filled_replay(learner), np.random.default_rng(1), 128)


@pytest.mark.parametrize(
    ("num_envs", "total_steps", "hyper", "updates"),
    [
        pytest.param(8, 200, {"warmup_steps": 20}, 180, marks=pytest.mark.slow),
        (64, 640, {"warmup_steps": 64}, 576),  # more environments than a round has steps
        pytest.param(
            *(8, 1000, {"warmup_steps": 100, "updates_per_step": 0.25, "steps_per_round": 10}, 225),
            marks=pytest.mark.slow,
        ),
        (8, 1001, {"warmup_steps": 100, "updates_per_step": 0.01}, 9),  # rounded up to whole steps of 8 environments
    ],
)
def test_the_updates_promised_are_made_and_the_learning_rates_end_with_them(num_envs, total_steps, hyper, updates):
    small = {"batch_size": 2, "anneal_learning_rate": True, "jit_compile": False}
    config = configure(BY_PYTHON, total_steps, num_envs=num_envs, **small, **hyper)
    run, learners = Silent(), []
    init = agent.Learner.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent.Learner, "__init__", lambda self, *a: learners.append(self) or init(self, *a))
        agent.train(config, run)
    assert run.records[-1]["update"] == learners[0].update == updates
    assert int(learners[0].state.policy_adam.count) == learners[0].adam.decay_steps == updates
    assert run.records[-1]["step"] == run.planned == -(-total_steps // num_envs) * num_envs


class FirstDraw(gym.Env):
    """Pays what the environment's own generator says of the action, once per episode."""

    observation_space, action_space = gym.spaces.Box(0.0, 1.0, (1,)), gym.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(self.np_random.random(4)[action]), False, False, {}


def test_uniform_actions_know_nothing_of_the_environment():
    """Whoever draws by the environment's own generator earns .8 per step, not .5: false failure below 1e-6."""
    rewards = []
    for seed in range(20):
        streams = Streams(seed)
        env, generator = FirstDraw(), streams.generator("warm-up actions")
        env.reset(seed=streams.integer("environments"))
        mask = np.ones((1, 4), bool)
        rewards += [env.step(uniform_actions(generator, mask)[0])[1] for _ in range(100)]
    assert abs(np.mean(rewards) - 0.5) < 5 * np.sqrt(1 / 12 / len(rewards))


def test_linear_critic_is_linear_and_the_other_is_made_straight():
    generator = np.random.default_rng(0)
    observation = tf.constant(generator.normal(size=(64, 3)), tf.float32)
    one, other = (tf.one_hot(generator.integers(4, size=(64, 2)), 4) for _ in range(2))
    value = tf.constant(generator.normal(size=64), tf.float32)
    seed = tf.constant([1, 2])
    parts = networks.create({"name": "mlp", "hidden_sizes": [16], "activation": "relu"}), gym.spaces.Box(-1, 1, (3,))
    assert float(chord_loss(LinearCritic(*parts, (2, 4)), observation, one, other, seed)) < 1e-10

    def chord_after_fitting(weight):
        critic = ConcatenatingCritic(*parts, (2, 4))
        optimizer = keras.optimizers.Adam(1e-2)
        optimizer.build(critic.trainable_variables)

        @tf.function(autograph=False)
        def update(seed):
            with tf.GradientTape() as tape:
                fit = tf.reduce_mean(tf.square(critic(observation, one) - value))
                loss = fit + weight * chord_loss(critic, observation, one, other, seed)
            optimizer.apply(tape.gradient(loss, critic.trainable_variables))

        for step in range(300):
            update(tf.constant([step, 0]))
        return float(chord_loss(critic, observation, one, other, seed))

    bent = chord_after_fitting(0.0)
    assert bent > 1e-2
    assert chord_after_fitting(1.0) < 0.5 * bent


def test_an_interpolated_critic_is_trained_between_what_the_policy_gives_and_the_action():
    generator = np.random.default_rng(0)
    probs = tf.constant(generator.dirichlet(np.ones(4), size=(2000, 2)), tf.float32)
    one_hot = tf.one_hot(generator.integers(4, size=(2000, 2)), 4)
    with tf.GradientTape() as tape:
        tape.watch(probs)
        points = on_the_way(probs, one_hot, (1, 2))
    assert tape.gradient(points, probs) is None
    way, gone = (probs - one_hot).numpy(), (points - one_hot).numpy()
    share = (gone * way).sum((1, 2)) / (way**2).sum((1, 2))
    np.testing.assert_allclose(gone, share[:, None, None] * way, atol=1e-5)  # one share for all factors of a row
    assert 0 < share.min() < 0.01 < 0.99 < share.max() < 1  # false failure: 2 (0.99)^2000 < 1e-8
    assert abs(share.mean() - 0.5) < 5 / np.sqrt(12 * 2000)


@pytest.mark.parametrize("critic", ["concatenating", "interpolated"])
def test_only_an_interpolated_critic_is_trained_there(monkeypatch, critic):
    """The points stand in for the actions: at the policy's own, the critic's loss no longer depends on the action."""
    learner = learner_of(configure("rlsample/Bandit-v0", 640, critic=critic, chord_weight=0.0, jit_compile=False))
    batch = filled_replay(learner).sample(np.random.default_rng(1), (32,))
    monkeypatch.setattr(agent, "on_the_way", lambda probs, one_hot, seed: probs)
    losses = []
    for action in (batch["action"], 1 - batch["action"] % 2):
        row = tf.nest.map_structure(tf.constant, agent.Batch(**{**batch, "action": action.astype(np.int32)}))
        losses.append(float(learner._update_critics(learner.state, row, tf.constant([1, 2]))[1]))
    assert (losses[0] == pytest.approx(losses[1])) == (critic == "interpolated")


def minibatch(learner):
    """The columns of 32 rows."""
    rows = filled_replay(learner).sample(np.random.default_rng(1), (32,))
    return {name: tf.constant(rows[name]) for name in agent.Batch._fields}


@pytest.mark.parametrize(("rate", "period"), [(0.25, 1), (1.0, 3)])
def test_the_targets_follow(rate, period):
    hyper = {"target_rate": rate, "target_period": period, "jit_compile": False}
    learner = learner_of(configure("rlsample/Bandit-v0", 640, **hyper))
    state, rows = learner.state, minibatch(learner)
    for count in range(1, 5):
        before = state
        state, *_ = learner.learn_from(state, rows, tf.constant([1, count]))
        share = rate if count % period == 0 else 0.0
        for target, old, critic in zip(state.targets, before.targets, state.critics, strict=True):
            np.testing.assert_allclose(target, old + share * (critic - old), atol=1e-6)
            assert np.any(critic != old)


def test_a_row_may_span_several_rewards():
    learner = learner_of(configure("rlsample/Bandit-v0", 640, num_steps=3, jit_compile=False))
    assert learner.num_steps == 3
    rows, seed = minibatch(learner), tf.constant([1, 2])

    def error(**columns):
        return learner._critic_gradients(learner.state, agent.Batch(**rows | columns), seed)[2].numpy()

    alone = error(discount=tf.zeros(32))
    np.testing.assert_array_equal(alone, error(terminated=tf.ones(32, tf.bool)))
    one, half = error(discount=tf.ones(32)) - alone, error(discount=tf.fill([32], 0.5)) - alone
    np.testing.assert_allclose(half, 0.5 * one, atol=1e-6)
    assert np.all(one != 0)


@pytest.mark.parametrize("largest", [None, 0.5])
def test_large_errors_of_the_critics_cost_linearly(largest):
    hyper = {"largest_error": largest, "num_critics": 1, "jit_compile": False}
    learner = learner_of(configure("rlsample/Bandit-v0", 640, **hyper))
    rows = minibatch(learner) | {"terminated": tf.ones(32, tf.bool)}  # The target is the reward.
    _, loss, error = learner._critic_gradients(learner.state, agent.Batch(**rows), tf.constant([1, 2]))
    size = np.abs(error)
    assert size.min() < 0.5 < size.max()
    expected = size**2 if largest is None else np.where(size <= largest, size**2, largest * (2 * size - largest))
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)


@pytest.mark.slow
def test_cartpole_is_solved_from_the_shipped_config():
    config = runs.load_config(
        "agents/configs/cartpole.yaml", ["tracking.wandb=disabled"], agents={"relaxed_actor_critic": agent.Config}
    )
    final, _ = score(config)
    assert final >= 475
