"""The multi-agent actor-critic: what its critics and actors learn from, and that two come to understand each other."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from agents import multi_agent_actor_critic as agent
from rlsample import networks, ops, samplers
from rlsample.learning.critics import OwnActionCritic, with_factor
from rlsample.rollouts.loop import Watcher
from rlsample.runs import ConfigError, agents, config_from_dict, load_config
from tests.helpers import every_third
from tests.helpers_agents import AGENTS, small_config
from tests.helpers_runs import Silent

ROWS = 6


def learner(env="rlsample/SpeakerListener-v0", sampler="straight_through", **settings):
    """A learner of an environment, whose compiled code runs as it is written."""
    config = small_config("multi_agent_actor_critic", agent=settings, env={"id": env, "num_envs": 2}, sampler=sampler)
    made = gym.make_vec(env, num_envs=1)
    return agent.Learner(config, made.single_observation_space, made.single_action_space)


def batch(of, seed=0, **columns):
    """Random transitions."""
    generator, (count, categories) = np.random.default_rng(seed), of.agents.factors.event_shape
    mask = np.ones((ROWS, count, categories), bool)
    everything = {
        "observation": generator.random((ROWS, of.agents.flattening.size), np.float32),
        "mask": mask,
        "action": generator.integers(categories, size=(ROWS, count), dtype=np.int32),
        "probs": generator.dirichlet(np.ones(categories), (ROWS, count)).astype(np.float32),
        "reward": generator.random((ROWS, count), np.float32),
        "next_observation": generator.random((ROWS, of.agents.flattening.size), np.float32),
        "next_mask": mask,
        "terminated": np.ones((ROWS, count), bool),
        "present": np.ones((ROWS, count), bool),
    }
    return agent.Batch(**{name: tf.constant(value) for name, value in (everything | columns).items()})


SEED = tf.constant([3, 4])


class TestOwnActionCritic:
    def test_it_is_linear_in_the_own_action_and_in_no_other(self):
        box = gym.spaces.Box(-1.0, 1.0, (3,))
        critic = OwnActionCritic(networks.create("mlp").fitted(box, hidden_sizes=(16,)), box, (2, 4), own=1)
        observation = tf.random.stateless_normal([5, 3], (1, 2))
        one, other = (tf.one_hot(tf.constant(index), 4) for index in ([[0, 1]] * 5, [[2, 3]] * 5))
        ends = [critic(observation, with_factor(one, 1, each[:, 1])) for each in (one, other)]
        middle = critic(observation, with_factor(one, 1, (one[:, 1] + other[:, 1]) / 2))
        np.testing.assert_allclose(middle, (ends[0] + ends[1]) / 2, atol=1e-6)
        ends = [critic(observation, with_factor(one, 0, each[:, 0])) for each in (one, other)]
        middle = critic(observation, with_factor(one, 0, (one[:, 0] + other[:, 0]) / 2))
        assert np.abs(middle - (ends[0] + ends[1]) / 2).max() > 1e-4


class TestCritics:
    @pytest.mark.parametrize("critic", ["linear", "concatenating", "interpolated"])
    def test_the_loss_is_that_of_the_target_and_of_those_who_were_there(self, critic):
        of = learner(critic=critic, chord_weight=0.0)
        present = np.array([[True, False]] * ROWS)
        row = batch(of, present=present)
        _, loss = of._update_critics(of.state, row, SEED)
        _, _, reward = row.observation, row.action, row.reward[:, 0]
        if critic == "interpolated":
            # At which point it is asked is drawn: the loss is between those at the nearest and at the farthest.
            shares = np.linspace(0, 1, 11)
            taken = tf.one_hot(row.action, 4)
            points = [share * row.probs + (1 - share) * taken for share in shares]
            losses = [np.square(of.judge(of.state.critics, 0, row.observation)(point) - reward) for point in points]
            assert np.min(losses, 0).mean() * 0.8 < loss < np.max(losses, 0).mean() * 1.2
        else:
            value = of.judge(of.state.critics, 0, row.observation)(tf.one_hot(row.action, 4))
            np.testing.assert_allclose(loss, tf.reduce_mean(tf.square(value - reward)), rtol=1e-5)

    def test_what_follows_counts_unless_the_own_task_is_over(self):
        of = learner(discount=0.5)
        terminated = np.array([[True, False]] * ROWS)
        _, losses = zip(
            *(
                of._update_critics(of.state, batch(of, terminated=terminated, present=there), SEED)
                for there in (np.array([[True, False]] * ROWS), np.array([[False, True]] * ROWS))
            ),
            strict=True,
        )
        row = batch(of)
        taken, following = tf.one_hot(row.action, 4), of.network(of.state.target_actors, row.next_observation)
        drawn = of.policy.head.distribution(following, row.next_mask).sample(ops.split(SEED, 4)[0])
        ahead = of.judge(of.state.target_critics, 1, row.next_observation)(tf.one_hot(drawn.action, 4))
        for own, target in ((0, row.reward[:, 0]), (1, row.reward[:, 1] + 0.5 * ahead)):
            error = of.judge(of.state.critics, own, row.observation)(taken) - target
            np.testing.assert_allclose(losses[own], tf.reduce_mean(tf.square(error)), rtol=1e-5)

    def test_the_chord_loss_straightens_along_the_own_action(self):
        with_chord, without = (learner(critic="concatenating", chord_weight=weight) for weight in (1.0, 0.0))
        losses = [of._update_critics(of.state, batch(of), SEED)[1] for of in (with_chord, without)]
        assert losses[0] > losses[1]


class TestActors:
    @pytest.mark.parametrize("shared", [False, True])
    def test_with_exact_the_gradient_is_that_of_counterfactual_values(self, shared):
        of = learner("rlsample/Foraging-v0", "exact", entropy_coefficient=0.0, shared_network=shared)
        row = batch(of)
        with tf.GradientTape() as tape:
            tape.watch(of.state.actors)
            probs = tf.nn.softmax(of.network(of.state.actors, row.observation))
            taken, value = tf.one_hot(row.action, 6), 0.0
            for own in range(2):
                for action in range(6):
                    joint = with_factor(taken, own, tf.one_hot(tf.fill([ROWS], action), 6))
                    q = of.judge(of.state.critics, own, row.observation)(joint)
                    value -= tf.reduce_mean(probs[:, own, action] * q)
        expected = tape.gradient(value, of.state.actors)
        _, (loss, _, norm), _ = of._update_actors(of.state, row, SEED)
        np.testing.assert_allclose(loss, value, rtol=1e-5)
        np.testing.assert_allclose(norm, tf.norm(expected), rtol=1e-4)

    def test_who_is_away_learns_nothing(self):
        of = learner("rlsample/Foraging-v0", entropy_coefficient=0.1)
        row = batch(of, present=np.array([[True, False]] * ROWS))
        state, _, _ = of._update_actors(of.state, row, SEED)
        moved = of.network.split(state.actors - of.state.actors)
        half = len(moved) // 2
        assert all(np.abs(each).max() > 0 for each in moved[:half])
        assert all(np.abs(each).max() == 0 for each in moved[half:])

    def test_large_logits_cost(self):
        plain, costly = (learner(logit_coefficient=weight) for weight in (0.0, 2.0))
        losses = [of._update_actors(of.state, batch(of), SEED)[1][0] for of in (plain, costly)]
        logits = plain.network(plain.state.actors, batch(plain).observation)
        np.testing.assert_allclose(losses[1] - losses[0], 2 * tf.reduce_mean(tf.square(logits)), rtol=1e-3)

    @pytest.mark.parametrize(
        ("name", "others"),
        [
            *(pytest.param(*it.values, "replay", marks=it.marks) for it in every_third(sorted(samplers.SAMPLERS))),
            ("reinmax", "policy"),
            ("softmax", "policy"),
        ],
    )
    def test_every_sampler_moves_every_actor(self, name, others):
        of = learner("rlsample/Foraging-v0", name, others=others, entropy_coefficient=0.0)
        state, (loss, _, _), _ = of._update_actors(of.state, batch(of), SEED)
        assert np.isfinite(loss)
        assert all(np.abs(each).max() > 0 for each in of.network.split(state.actors - of.state.actors))


class TestPreparing:
    def rows(self, reward):
        mask = np.array([[[True, True, True, False], [True] * 4]] * len(reward))
        features = np.zeros((len(reward), 10), np.float32)
        return {"reward": np.float32(reward), "mask": mask, "observation": features}

    def test_rewards_are_standardized_once_by_what_was_seen_until_then(self):
        of = learner(standardize_rewards=True)
        first = of.prepare(self.rows([[1.0, 10.0], [3.0, 30.0]]))["reward"]
        np.testing.assert_allclose(first, [[-1, -1], [1, 1]], atol=1e-3)
        second = of.prepare(self.rows([[5.0, 50.0]]))["reward"]
        np.testing.assert_allclose(second, [[2 / np.sqrt(8 / 3)] * 2], atol=1e-3)
        assert len(of.prepare(self.rows(np.zeros((0, 2))))["reward"]) == 0

    def test_a_team_learns_from_the_mean(self):
        np.testing.assert_array_equal(learner(rewards="team").prepare(self.rows([[1.0, 3.0]]))["reward"], [[2.0, 2.0]])

    def test_the_probabilities_are_those_of_the_policy_that_acted(self):
        of = learner(critic="interpolated")
        np.testing.assert_allclose(of.prepare(self.rows([[0.0, 0.0]]))["probs"][0], [[1 / 3] * 3 + [0], [0.25] * 4])
        of.update = 1
        rows = self.rows([[0.0, 0.0]])
        probs = of.policy.action_probabilities(rows["observation"].reshape(1, 2, 5), rows["mask"])
        np.testing.assert_allclose(of.prepare(rows)["probs"], probs)


class TestConfiguration:
    def settings(self, **agent_settings):
        return {
            "agent": {"name": "multi_agent_actor_critic", **agent_settings},
            "env": "rlsample/SpeakerListener-v0",
            "total_steps": 100,
        }

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("samplers", {"speaker_0": "reinmx"}, "agent.samplers: .*reinmax"),
            ("temperatures", {"speaker_0": -1.0}, "agent.temperatures: "),
        ],
    )
    def test_what_is_no_sampler_or_schedule_is_told(self, field, value, message):
        with pytest.raises(ConfigError, match=message):
            config_from_dict(self.settings(**{field: value}), agents=AGENTS)

    @pytest.mark.parametrize("field", ["samplers", "temperatures"])
    def test_an_unknown_agent_is_told_with_those_there_are(self, field):
        value = {"listner_0": "reinmax" if field == "samplers" else 0.5}
        config = config_from_dict(self.settings(**{field: value}), agents=AGENTS)
        with pytest.raises(ConfigError, match=r"listner_0.*listener_0"):
            agents.make_policy(agent, config)

    def test_a_temperature_that_adapts_is_refused(self):
        adaptive = {"name": "adaptive", "target": 0.4}
        for settings in ({"temperature": adaptive}, {"agent": {"temperatures": {"speaker_0": adaptive}}}):
            with pytest.raises(ConfigError, match=r"temperature .*schedule"):
                agents.make_policy(agent, small_config("multi_agent_actor_critic", **settings))

    def test_an_environment_of_one_agent_is_refused(self):
        config = small_config("multi_agent_actor_critic", env={"id": "CartPole-v1"})
        with pytest.raises(ConfigError, match="a Tuple or Dict space, with an entry for each agent"):
            agents.make_policy(agent, config)

    def test_a_replay_that_memory_does_not_hold_is_refused(self):
        settings = self.settings(replay_capacity=2 * 10**9) | {"total_steps": 2 * 10**9}
        with pytest.raises(ConfigError, match=r"a replay of at most the .* GB of memory there are"):
            agents.make_policy(agent, config_from_dict(settings, agents=AGENTS))

    def test_samplers_and_temperatures_of_single_agents_come_back_from_yaml(self):
        given = {"samplers": {"speaker_0": "reinmax"}, "temperatures": {"listener_0": 0.5}}
        config = config_from_dict(self.settings(**given), agents=AGENTS)
        again = config_from_dict(config.model_dump(mode="json"), agents=AGENTS)
        assert again == config
        assert agents.make_policy(agent, config).head.samplers[0].name == "reinmax"


@pytest.mark.parametrize(
    "name",
    [
        "mpe_speaker_listener",
        pytest.param("mpe_spread", marks=pytest.mark.slow),
        "foraging_8x8",
        pytest.param("warehouse", marks=pytest.mark.slow),
    ],
)
@pytest.mark.thinned(2)
def test_the_tasks_of_packages_are_trained_by_their_configurations(name):
    words = ["total_steps=320", "env.num_envs=4", "network.hidden_sizes=[8]", "tracking.wandb=disabled"]
    words += ["agent.batch_size=8", "agent.jit_compile=false"]
    run = Silent()
    agent.train(load_config(f"agents/configs/maddpg_{name}.yaml", words, agents=AGENTS), run)
    assert run.records[-1]["step"] == 320
    assert run.records[-1]["update"] >= 20
    assert np.isfinite(run.records[-1]["losses/critic"])


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["straight_through", "reinmax"])
def test_speaker_and_listener_agree_on_a_code(sampler):
    run: Watcher = Silent()
    settings = {"warmup_steps": 1000, "batch_size": 256, "steps_per_round": 64}
    settings |= {"entropy_coefficient": 0.1, "replay_capacity": 3000, "target_rate": 0.05, "jit_compile": True}
    settings |= {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    policy = agent.train(
        small_config("multi_agent_actor_critic", agent=settings, network={}, sampler=sampler, total_steps=8000), run
    )
    target = np.eye(4, dtype=np.float32)
    observations = np.zeros((4, 2, 5), np.float32)
    observations[:, 0, :4], observations[:, 1, 4] = target, 1
    word = policy.act(observations)["speaker_0"]
    observations[:, 1] = np.eye(5)[word]
    assert policy.act(observations)["listener_0"].tolist() == [0, 1, 2, 3]
