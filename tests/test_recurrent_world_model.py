"""The world-model actor-critic with a memory: sequences, rollouts imagined from them, their gradient, learning."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import recurrent_world_model as recurrent
from agents import world_model_actor_critic as agent
from rlsample import runs
from rlsample.learning.model_steps import after, mixed
from rlsample.learning.normalization import normalize
from tests.helpers_agents import AGENTS
from tests.helpers_runs import Silent

W, B, S, K, BURN_IN, MEMBERS = 6, 4, 5, 2, 2, 2
N = B * (W - BURN_IN)
HIDDEN_VELOCITIES = [{"name": "SelectEntries", "entries": [0, 2]}]
SEED = tf.constant([3, 4])


def configure(sampler="straight_through", env=None, total_steps=400, **hyper):
    small = {"batch_size": N, "members": MEMBERS, "horizon": 3, "jit_compile": False}
    small |= {"sequence_length": W, "burn_in": BURN_IN}
    return runs.config_from_dict(
        {
            "agent": {"name": "world_model_actor_critic", **small, **hyper},
            "env": env or {"id": "rlsample/CartPole-v1", "num_envs": 4, "wrappers": HIDDEN_VELOCITIES},
            "network": {"name": "recurrent", "units": S, "encoder": {"name": "mlp", "hidden_sizes": [7]}},
            "sampler": sampler,
            "total_steps": total_steps,
            "evaluation": {"episodes": 20},
        },
        agents=AGENTS,
    )


def learner_of(**settings):
    """A learner and a state whose weights are far from 0."""
    config = configure(**settings)
    vector = config.env.make(1)
    learner = recurrent.Learner(config, vector.single_observation_space, vector.single_action_space)
    noise, state = np.random.default_rng(5), learner.start(0)

    def weights(like):
        return tf.constant(0.7 * noise.normal(size=like.shape), tf.float32)

    models = state.models._replace(trained=weights(state.models.trained))
    changed = {name: weights(getattr(state, name)) for name in ("policy", "critic", "target")}
    return learner, state._replace(models=models, **changed)


@pytest.fixture(scope="module")
def parts():
    return learner_of()


def drawn():
    """Sequences `[B, W, ...]` as a replay gives them; an episode begins in the burn-in of one, later in another."""
    noise = np.random.default_rng(0)
    starts = np.zeros((B, W), bool)
    starts[1, 1] = starts[2, 4] = True
    columns = {
        "observation": noise.normal(size=(B, W, 2)).astype(np.float32),
        "next_observation": noise.normal(size=(B, W, 2)).astype(np.float32),
        "action": noise.integers(K, size=(B, W)).astype(np.int32),
        "reward": noise.normal(size=(B, W)).astype(np.float32),
        "terminated": noise.random((B, W)) < 0.2,
        "starts": starts,
        "memory": noise.uniform(-1, 1, size=(B, 2 * S)).astype(np.float32),
    }
    return {name: tf.constant(column) for name, column in columns.items()}


def sequence_of(learner):
    rows = learner.rows(drawn())
    return recurrent.Sequence(**{name: rows[name] for name in recurrent.Sequence._fields})


def test_the_action_before_is_that_of_the_same_episode(parts):
    learner, _ = parts
    sequence, given = sequence_of(learner), drawn()
    for lane in range(B):
        for step in range(W):
            known = step > 0 and not given["starts"][lane, step]
            expected = np.eye(K)[given["action"][lane, step - 1]] if known else np.zeros(K)
            np.testing.assert_array_equal(sequence.previous[step, lane], expected)


def step_by_step(learner, state, sequence):
    """What policy, critic and models remember before each step `[W][B, S]`, by single steps of single environments."""
    networks = [learner.network.at(state.policy), learner.critic.at(state.critic)]
    remembered = np.zeros((3, W, B, S), np.float32)
    for lane in range(B):
        memories = [*np.split(sequence.memory[lane : lane + 1], 2, -1), np.zeros((1, S), np.float32)]
        weights = state.models.trained[lane // (B // MEMBERS)]
        model = learner.models._networks[0].at(weights)
        for step in range(W):
            if sequence.starts[step, lane]:
                memories = [np.zeros_like(each) for each in memories]
            remembered[:, step, lane] = np.concatenate(memories)
            seen = normalize(sequence.rows.observation[step, lane][None], state.models.observations)
            both = tf.concat([seen, sequence.previous[step, lane][None]], -1)
            inputs = zip([*networks, model], (seen, seen, both), memories, strict=True)
            memories = [network((rows, memory, tf.constant([[False]])))[1].numpy() for network, rows, memory in inputs]
    return remembered


def test_rollouts_begin_with_what_is_remembered_before_each_step_after_the_burn_in(parts):
    learner, state = parts
    sequence = sequence_of(learner)
    begun, remembered = learner.begin(state, sequence), step_by_step(learner, state, sequence)
    for row in range(N):
        lane, step = row // (W - BURN_IN), BURN_IN + row % (W - BURN_IN)
        np.testing.assert_array_equal(begun.observation[row], sequence.rows.observation[step, lane])
        np.testing.assert_array_equal(begun.previous[row], sequence.previous[step, lane])
        for own, expected in zip(begun[3:], remembered, strict=True):
            np.testing.assert_allclose(own[row], expected[step, lane], atol=1e-5)
    assert begun.mask is None


def test_what_is_imagined_is_remembered_step_by_step(parts):
    learner, state = parts
    begun = learner.begin(state, sequence_of(learner))
    imagined = learner.imagine(state, state.policy, begun, SEED)
    values = learner.values(state.target, state, imagined.observation, begun.critic)
    statistics, size, goes_on = state.models.observations, N // MEMBERS, tf.zeros([1, N], tf.bool)
    observation, previous, (acting, judging, modelled) = begun.observation, begun.previous, begun[3:]
    for step in range(3):
        np.testing.assert_allclose(imagined.observation[step], observation, rtol=1e-4, atol=1e-5)
        seen = normalize(observation, statistics)
        logits, acting = learner.network(state.policy, (seen, acting, goes_on))
        value, judging = learner.critic(state.target, (seen, judging, goes_on))
        np.testing.assert_allclose(values[step], value[:, 0] / (1 - learner.agent.discount), rtol=1e-3, atol=1e-3)
        draw = learner.policy.head.distribution(logits).sample(recurrent.ops.fold_in(SEED, step))
        found = []
        for member in range(MEMBERS):
            own = slice(member * size, (member + 1) * size)
            rows = tf.concat([seen[own], previous[own]], -1), modelled[own], goes_on[:, own]
            found.append(learner.models._networks[0](state.models.trained[member], rows))
        outputs, modelled = (tf.concat(each, 0) for each in zip(*found, strict=True))
        observation, reward, ahead = after(state.models, observation, mixed(outputs, draw.one_hot))
        np.testing.assert_allclose(imagined.reward[step], reward, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(imagined.goes_on[step], ahead, rtol=1e-4, atol=1e-5)
        previous = draw.one_hot


def test_the_gradient_is_the_slope_of_the_loss_through_all_that_is_remembered():
    """By differences: softmax actions are smooth in the weights."""
    learner, state = learner_of(sampler="softmax", discount=0.9)
    begun = learner.begin(state, sequence_of(learner))

    @tf.function(autograph=False)
    def loss(weights):
        imagined = learner.imagine(state, weights, begun, SEED)
        values = learner.values(state.target, state, imagined.observation, begun.critic)
        return agent.climb(learner.agent, learner.policy.head.sampler, imagined, values)[0]

    with tf.GradientTape() as tape:
        tape.watch(state.policy)
        found = loss(state.policy)
    gradient = tape.gradient(found, state.policy)
    way = gradient / tf.norm(gradient)
    quotient = float(loss(state.policy + 1e-2 * way) - loss(state.policy - 1e-2 * way)) / 2e-2
    assert quotient == pytest.approx(float(tf.norm(gradient)), rel=2e-2)


def test_models_learn_from_steps_after_the_burn_in_alone_and_members_from_their_own(parts):
    learner, state = parts
    sequence = sequence_of(learner)
    _, loss = learner.learn_models(state, sequence)
    reward = sequence.rows.reward
    burnt = reward + tf.cast(tf.range(W) < BURN_IN, tf.float32)[:, None]
    _, same = learner.learn_models(state, sequence._replace(rows=sequence.rows._replace(reward=burnt)))
    assert float(loss) == float(same)
    others = reward + tf.cast(tf.range(B) < B // MEMBERS, tf.float32)  # The sequences of the first member.
    after_all, _ = learner.learn_models(state, sequence)
    changed, more = learner.learn_models(state, sequence._replace(rows=sequence.rows._replace(reward=others)))
    assert float(more) != float(loss)
    differs = np.any(changed.models.trained != after_all.models.trained, -1)
    np.testing.assert_array_equal(differs, [True, False])


def test_rollouts_in_groups_begin_in_one_state():
    learner, state = learner_of(sampler={"name": "leave_one_out", "num_samples": 2})
    whole = learner_of()[0].begin(state, sequence_of(learner))
    begun = learner.begin(state, sequence_of(learner))
    for own, every in zip(begun, whole, strict=True):
        if own is not None:
            np.testing.assert_allclose(own, np.repeat(every[::2], 2, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"burn_in": W}, "agent.burn_in below agent.sequence_length"),
        ({"batch_size": 12}, "agent.batch_size to be a multiple of 8, a sequence after its burn-in for each model"),
        ({"disagreement_price": 0.1}, "no agent.disagreement_price with a memory"),
        ({"total_steps": 40}, "total_steps above 48"),
    ],
)
def test_what_does_not_fit_is_refused(hyper, message):
    with pytest.raises(ValueError, match=message):
        learner_of(**hyper)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "hyper"),
    [
        ({"id": "CartPole-v1", "num_envs": 2, "wrappers": HIDDEN_VELOCITIES}, {}),
        ({"id": "rlsample/RaggedDict-v0", "num_envs": 2}, {"sampler": "categorical"}),
        ({"id": "rlsample/GridWorld-v0", "num_envs": 2}, {"jit_compile": True}),
    ],
)
def test_it_trains_where_python_steps_and_with_masks_and_joint_actions(env, hyper):
    run = Silent()
    policy = agent.train(configure(env=env, total_steps=96, updates_per_step=0.2, **hyper), run)
    assert {*recurrent.Learner.metrics} <= {name for record in run.records for name in record}
    assert np.isfinite([value for record in run.records for value in record.values()]).all()
    assert np.any(policy.act(policy.observation_space.sample())[1])


@pytest.mark.slow
def test_it_balances_a_pole_whose_velocities_it_has_to_remember():
    """Without a memory 40 is all; with one it has reached 500 before the end, and may lose some of it again."""
    config = runs.load_config("agents/configs/world_model_cartpole_no_velocities.yaml", agents=AGENTS)
    assert runs.evaluate(agent.train(config, Silent()), config).mean_return >= 200
