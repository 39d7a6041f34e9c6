"""Several agents who remember: each what it alone saw, from the beginning of an episode on, in every place."""

from __future__ import annotations

import gymnasium as gym
import lbforaging  # noqa: F401 (registers its environments)
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (likewise)
from agents import multi_agent_ppo, recurrent_multi_agent_ppo
from rlsample import heads, runs, samplers
from rlsample.learning.population import member_of, members_of
from rlsample.learning.remembering import remembering_actor
from rlsample.rollouts.gymnasium_loop import GymnasiumLoop
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.rollouts.in_numpy.policy import quickest_policy
from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.recurrent.policy import Remembering
from rlsample.rollouts.several_agents.collector import JointCollector
from rlsample.rollouts.several_agents.pettingzoo_environments import FromPettingZoo
from rlsample.rollouts.several_agents.registration import register
from rlsample.rollouts.several_agents.remembering import RecurrentJointPolicy, joint_policy_for
from tests import test_multi_agent_ppo as without_memory
from tests.helpers_agents import AGENTS, small_config
from tests.helpers_memory import check_resumed_memory
from tests.helpers_runs import Silent
from tests.test_multi_agent_ppo import COUNT, ENVS, STEPS
from tests.test_several_agents import Leaving

UNITS = 3
CELLS = {"gru": 1, "lstm": 2}  # how often so many numbers each remembers
NETWORK = {"name": "recurrent", "units": UNITS, "encoder": {"name": "mlp", "hidden_sizes": [5]}}
STARTS = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 1]], bool)
KINDS = pytest.mark.parametrize("shared", [False, True])


def far_from_zero(model):
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape, scale=0.7))


def policy_of(env="rlsample/SpeakerListener-v0", cell="gru", shared=False):
    vector = gym.make_vec(env, num_envs=1)
    parts = vector.single_observation_space, vector.single_action_space, samplers.create("straight_through")
    policy = joint_policy_for(*parts, NETWORK | {"cell": cell}, shared=shared)
    far_from_zero(policy.model)
    return policy


def features_of(policy, seed=0):
    return np.random.default_rng(seed).normal(size=(STEPS, ENVS, policy.agents.flattening.size)).astype(np.float32)


def remembered(policy, rows=ENVS):
    return np.random.default_rng(9).normal(size=(rows, policy.state_size)).astype(np.float32)


def one_by_one(each, features, state, starts):
    """Outputs and states of a network of each agent, by Keras's cell: agent by agent, a single step at a time."""
    count, no, outputs, states = len(each.agents.names), tf.zeros([1, ENVS], tf.bool), [], []
    state = list(tf.split(tf.constant(state), count, -1))
    for step, row in enumerate(features):
        output = []
        for own, places in enumerate(each.agents.places):
            seen = np.pad(row, [[0, 0], [0, 1]])[:, places]
            network = each.networks[0 if each.shared else own]
            if each.shared:
                seen = np.concatenate([seen, np.tile(np.eye(count)[own], (ENVS, 1))], -1)
            before = tf.where(starts[step][:, None], 0.0, state[own])
            told, state[own] = network((tf.constant(seen, tf.float32), before, no))
            output.append(told)
        outputs.append(tf.stack(output, 1))
        states.append(tf.concat(state, -1))
    return tf.stack(outputs), tf.stack(states)


# ---- the networks


@KINDS
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("env", ["rlsample/SpeakerListener-v0", "test/Leaving-v0"])
@pytest.mark.thinned(3)
def test_outputs_and_gradients_are_those_of_each_agent_step_by_step(env, cell, shared):
    register("test/Leaving-v0", Leaving)
    policy = policy_of(env, cell, shared)
    assert policy.state_size == COUNT * CELLS[cell] * UNITS
    features, state, model = features_of(policy), remembered(policy), policy.model
    with tf.GradientTape(persistent=True) as tape:
        found = memory.over_rollout(model, tf.constant(features), tf.constant(state), tf.constant(STARTS))
        expected = one_by_one(model.layers[-1], features, state, STARTS)
        weights = [np.random.default_rng(1).normal(size=part.shape) for part in found]
        sums = [
            tf.add_n([tf.reduce_sum(tf.constant(weight, tf.float32) * part) for weight, part in pairs])
            for pairs in (zip(weights, parts, strict=True) for parts in (found, expected))
        ]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for ours, theirs in zip(*(tape.gradient(total, model.trainable_variables) for total in sums), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@KINDS
@pytest.mark.parametrize("cell", CELLS)
def test_nobody_sees_or_remembers_what_others_see(cell, shared):
    policy = policy_of("rlsample/Foraging-v0", cell, shared)
    features, state = features_of(policy), remembered(policy)

    def run():
        return memory.over_rollout(policy.model, tf.constant(features), tf.constant(state), tf.constant(STARTS))

    (logits, states), half = run(), policy.state_size // 2
    features[..., 12:], state[:, half:] = 0.25, 0.5  # of the second
    after, remembered_after = run()
    np.testing.assert_array_equal(logits[:, :, 0], after[:, :, 0])
    np.testing.assert_array_equal(states[..., :half], remembered_after[..., :half])
    assert (logits[:, :, 1] != after[:, :, 1]).numpy().any()


@KINDS
def test_all_forget_where_an_episode_begins(shared):
    policy = policy_of(shared=shared)
    features, starts = features_of(policy), np.zeros((STEPS, ENVS), bool)
    starts[3, 1] = True

    def run(state, first=0):
        parts = features[first:], state, starts[first:]
        return memory.over_rollout(policy.model, *map(tf.constant, parts))[0].numpy()

    outputs, nothing = run(remembered(policy)), np.zeros([ENVS, policy.state_size], np.float32)
    begun = run(nothing, first=3)
    np.testing.assert_allclose(outputs[3:, 1], begun[:, 1], atol=1e-6)
    assert np.abs(outputs[3:, [0, 2]] - begun[:, [0, 2]]).max() > 1e-3


# ---- acting


@KINDS
def test_it_acts_on_batches_and_on_single_observations(shared):
    policy = policy_of(shared=shared)
    seen = np.random.default_rng(2).random((ENVS, 2, 5), np.float32)
    state = remembered(policy)
    actions, after = policy.act(seen, state=state)
    logits, expected = policy.model((seen.reshape(ENVS, -1), state, np.zeros((1, ENVS), bool)))
    np.testing.assert_array_equal(np.stack(list(actions.values()), -1), np.argmax(logits, -1))
    np.testing.assert_allclose(after, expected, rtol=1e-5)
    action, one = policy.act(seen[1], state=state[1])
    assert action == {name: each[1] for name, each in actions.items()}
    np.testing.assert_allclose(one, after[1], rtol=1e-5)
    np.testing.assert_array_equal(policy.act(seen)[1], policy.act(seen, state=policy.initial_state(ENVS))[1])
    assert policy.initial_state().shape == (COUNT * UNITS,)
    with pytest.raises(ValueError, match=r"state to have shape \(3, 6\). Received: shape=\(3, 3\)"):
        policy.act(seen, state=np.zeros((ENVS, UNITS)))


@KINDS
def test_masks_hold_whatever_is_remembered(shared):
    policy = policy_of("rlsample/Foraging-v0", shared=shared)
    observations, mask, state = np.zeros((6, 2, 12), np.float32), np.zeros((6, 2, 6), bool), remembered(policy, 6)
    mask[:, 0, 2] = mask[:, 1, 4] = True
    for seed in (None, (1, 2)):
        actions, state = policy.act(observations, mask, seed, state)
        assert (actions["agent_0"].tolist(), actions["agent_1"].tolist()) == ([2] * 6, [4] * 6)
    np.testing.assert_array_equal(policy.action_probabilities(observations, mask, state), mask)


def test_evaluation_forgets_where_an_episode_begins():
    policy = policy_of()
    acting, ended = quickest_policy(policy), np.array([True, False, False])
    first, second = (np.random.default_rng(step).random((ENVS, 2, 5), np.float32) for step in range(2))
    assert isinstance(acting, Remembering)
    acting.act(first)
    acting.forget(ended)
    expected, _ = policy.act(second, state=policy.act(first)[1] * ~ended[:, None])
    np.testing.assert_equal(acting.act(second), expected)


def test_one_step_is_exported(tmp_path):
    policy = policy_of()
    inputs = features_of(policy)[0], remembered(policy)
    heads.export(policy.step_model(), tmp_path / "exported", inputs)  # compares


# ---- learning


def learner(env="rlsample/Foraging-v0", cell="gru", num_envs=ENVS, **settings):
    made = {"discount": 0.9, "trace_decay": 0.8, "num_minibatches": 1} | settings
    where = {"id": env, "num_envs": num_envs}
    config = small_config("multi_agent_ppo", agent=made, env=where, network=NETWORK | {"cell": cell})
    return recurrent_multi_agent_ppo.Learner(config, gym.make_vec(env, num_envs=num_envs), num_turns=4)


def somewhere(of):
    """A state of the learner with weights and memories that are nothing special."""
    state, generator = of.start(0), np.random.default_rng(4)
    policy, critic = (weights + generator.normal(size=weights.shape, scale=0.3) for weights in state[:2])
    memories = [generator.normal(size=part.shape).astype(np.float32) for part in state.memory]
    state = state._replace(policy=tf.cast(policy, tf.float32), critic=tf.cast(critic, tf.float32))
    of.network.assign(state.policy)
    of.critic.assign(state.critic)
    return state._replace(memory=tuple(map(tf.constant, memories)))


def by_hand(model, steps, state):
    """What a model says of a rollout `[T, E, N, ...]`, and of what followed on each step; a step at a time."""
    ended = steps.truncated.numpy() | steps.terminated.numpy().all(-1) | ~steps.valid.numpy()
    outputs, following = [], []
    for step in range(STEPS):
        output, after = model((steps.observation[step], state, tf.zeros([1, ENVS], tf.bool)))
        following.append(model((steps.next_observation[step], after, tf.zeros([1, ENVS], tf.bool)))[0])
        outputs.append(output)
        state = tf.where(ended[step][:, None], 0.0, after)
    return tf.stack(outputs), tf.stack(following), state


@pytest.mark.parametrize("critic", ["own", "joint"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.thinned(3)
def test_the_advantages_of_each_agent_are_those_of_its_stay_and_its_memory(critic, cell):
    of = learner(critic=critic, cell=cell)
    state, steps = somewhere(of), without_memory.rollout(of)
    columns, after = of._columns(state, steps)
    values, following, judged = by_hand(of.critic.model, steps, state.memory[1])
    logits, _, remembers = by_hand(of.network.model, steps, state.memory[0])
    np.testing.assert_allclose(after[0], remembers, atol=1e-5)
    np.testing.assert_allclose(after[1], judged, atol=1e-5)
    assert judged.shape[-1] == CELLS[cell] * UNITS * (COUNT if critic == "own" else 1)
    expected = without_memory.slow_advantages(steps, values.numpy()[..., 0], following.numpy()[..., 0], 0.9, 0.8)
    there = (steps.present & steps.valid[..., None]).numpy()
    np.testing.assert_array_equal(columns["valid"], there)
    np.testing.assert_allclose(columns["advantage"].numpy()[there], expected[there], atol=1e-4)
    for place in np.argwhere(there):
        legal, action = steps.mask.numpy()[tuple(place)], steps.action.numpy()[tuple(place)]
        own = logits.numpy()[tuple(place)]
        expected = own[action] - np.log(np.exp(own[legal]).sum())
        np.testing.assert_allclose(columns["log_prob"].numpy()[tuple(place)], expected, atol=1e-4)


@pytest.mark.parametrize("critic", ["own", "joint"])
@KINDS
@pytest.mark.thinned(3)
def test_loss_and_gradient_are_those_of_loops_over_steps_and_agents(critic, shared):
    of = learner(critic=critic, shared_network=shared, clip_values=False, entropy_coefficient=0.1)
    state, generator = somewhere(of), np.random.default_rng(1)
    columns, _ = of._columns(state, without_memory.rollout(of))
    # As after some updates: some ratios are clipped, and no value is at its target.
    moved = generator.normal(size=columns["log_prob"].shape, scale=0.4).astype(np.float32)
    matrices, unpack = of._rows(columns | {"log_prob": columns["log_prob"] + moved})
    order = [2, 0, 1]
    rows = unpack([tf.gather(matrix, order) for matrix in matrices])
    standard = rows | {"advantage": of._standardized(rows["advantage"], rows["valid"])}
    weights = state.policy, state.critic
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss, metrics = of._loss(state, multi_agent_ppo.ppo.Minibatch(**standard))
    gradient = tape.gradient(loss, weights)
    assert 0.1 < metrics["policy/clip_fraction"] < 0.9

    steps = without_memory.rollout(of)
    with tf.GradientTape(persistent=True) as tape:
        logits, _, _ = by_hand(of.network.model, steps, state.memory[0])
        values, _, _ = by_hand(of.critic.model, steps, state.memory[1])
        # Rows of the minibatch: the environments in its order, each step after step.
        logits, value = (tf.gather(tf.transpose(part, [1, 0, 2, 3]), order) for part in (logits, values))
        logits, value = (tf.reshape(part, [STEPS * ENVS, *part.shape[2:]]) for part in (logits, value[..., 0]))
    flat = {
        name: np.reshape(part, (STEPS * ENVS, *part.shape[2:]))
        for name, part in rows.items()
        if name not in ("memory", "starts")
    }
    slow = without_memory.slow_slopes(of, logits.numpy().astype(float), value.numpy().astype(float), flat)
    np.testing.assert_allclose(loss, slow[0], rtol=1e-4)
    parts = (of.network, logits, slow[1]), (of.critic, value, slow[2])
    for ours, (network, target, upstream) in zip(gradient, parts, strict=True):
        variables = network.model.trainable_variables
        theirs = tape.gradient(target, variables, output_gradients=tf.constant(upstream, tf.float32))
        np.testing.assert_allclose(ours, np.concatenate([np.ravel(part) for part in theirs]), atol=5e-6)


def test_who_is_away_learns_nothing():
    away = np.ones((STEPS, ENVS, COUNT), bool)
    away[:, :, 1] = False
    of = learner(entropy_coefficient=0.1)
    state, steps = of.start(0), without_memory.rollout(of, present=away)
    after, _, _ = of.learn(state, steps, tf.constant([1, 2]), tf.ones([ENVS], tf.bool))
    moved = of.network.split(after.policy - state.policy)
    half = len(moved) // 2
    assert all(np.abs(each).max() > 0 for each in moved[:half])
    assert all(np.abs(each).max() == 0 for each in moved[half:])


def test_an_episode_ends_with_the_task_of_its_last_agent():
    steps = without_memory.rollout(learner())
    terminated = np.array(steps.terminated)
    terminated[4:, 0, 1] = True
    ended = memory.ends(steps._replace(terminated=tf.constant(terminated))).numpy()
    assert not memory.ends(steps).numpy()[:, :2].any()  # where single agents have left
    assert ended[:, 0].tolist() == [False] * 4 + [True] * 2


# ---- collecting


def test_the_compiled_loop_remembers_what_the_learner_does():
    """Without noise each action is the most probable one by the learner's own states, rollout after rollout."""
    of = learner("rlsample/SpeakerListener-v0", num_envs=4)
    of.choose = lambda logits, mask, seed: tf.argmax(logits, -1, output_type=tf.int32)
    state = of.start(0)
    state = state._replace(policy=4 * state.policy)
    collector = InGraphCollector(gym.make_vec("rlsample/SpeakerListener-v0", 4).unwrapped.functional, 4, 3)
    running, ended = collector.start(tf.constant([0, 1])), 0
    learn = tf.function(of.learn, autograph=False)

    @tf.function(autograph=False)
    def collect(state, running, seed):
        return collector.collect(remembering_actor(of, state), running, 5, seed, of.memory(state))

    for turn in range(3):
        steps, running, _ = collect(state, running, tf.constant([turn, 2]))
        joint = of._of_everybody(steps)
        network, before = of.network.at(state.policy), of.memory(state)
        logits, states = memory.over_rollout(network, joint.observation, before, memory.starts(joint))
        np.testing.assert_array_equal(np.argmax(logits, -1), steps.action)
        state, _, _ = learn(state, steps, tf.constant([turn, 3]), tf.ones([4], tf.bool))
        np.testing.assert_allclose(of.memory(state), memory.after(joint, states), atol=1e-6)
        ended += int(tf.reduce_sum(tf.cast(memory.ends(joint), tf.int32)))
    assert ended
    assert np.abs(of.memory(state)).max() > 0


@pytest.mark.parametrize("autoreset", list(gym.vector.AutoresetMode)[:2])
def test_the_collector_of_several_agents_remembers_what_the_learner_does(autoreset):
    register("test/Leaving-v0", Leaving)
    vector = gym.vector.SyncVectorEnv([lambda: FromPettingZoo(Leaving(cut=True))] * ENVS, autoreset_mode=autoreset)
    of = learner("test/Leaving-v0")
    state, seen = somewhere(of), []
    collector = JointCollector(vector, of.policy.agents, seed=1)
    state = state._replace(memory=tuple(map(tf.zeros_like, state.memory)))
    policy = of.publish(state)
    before = policy.initial_state(ENVS)

    def act(observation, mask):
        nonlocal before
        before = np.where(collector.starts[:, None], np.float32(0), before)
        action, before = policy.sample((observation, before), mask, np.array([0, len(seen)], np.int32))
        seen.append(before)
        return action

    steps = tf.nest.map_structure(tf.constant, collector.collect(act, 11))
    assert memory.ends(steps).numpy().any()
    assert not steps.present.numpy().all()
    _, states = memory.over_rollout(policy.model, steps.observation, of.memory(state), memory.starts(steps))
    valid = steps.valid.numpy()
    np.testing.assert_allclose(np.stack(seen)[valid], states.numpy()[valid], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("env", "goes_on"), [("test/Leaving-v0", False), ("rlsample/SpeakerListener-v0", True)])
def test_a_resumed_run_remembers_only_episodes_that_go_on(env, goes_on):
    register("test/Leaving-v0", Leaving)
    learners = [learner(env) for _ in range(2)]
    options = {"num_steps": 7, "seed": 1, "temperature": learners[0].config.temperature, "jit_compile": False}
    agents = learners[0].policy.agents
    halted, resumed = (
        GymnasiumLoop(
            gym.make_vec(env, ENVS),
            of,
            make_collector=lambda vector, _, seed: JointCollector(vector, agents, seed),
            **options,
        )
        for of in learners
    )
    check_resumed_memory(halted, resumed, goes_on)


@pytest.mark.slow
def test_a_population_remembers_as_its_members_do():
    of = learner(num_envs=4, population=2)
    population = members_of(of, 2)
    states, generator = population.start(0), np.random.default_rng(3)
    observation, before = (tf.constant(generator.random((8, size), np.float32)) for size in (24, of.policy.state_size))
    logits, after = population.logits_and_memory(population.split(states), observation, before)
    for member, own in enumerate((slice(0, 4), slice(4, 8))):
        parameters = of.split(member_of(states, member))
        expected = of.logits_and_memory(parameters, observation[own], before[own])
        np.testing.assert_allclose(logits[own], expected[0], atol=1e-5)
        np.testing.assert_allclose(after[own], expected[1], atol=1e-5)


# ---- the agent


@pytest.mark.parametrize(
    ("env", "settings", "cell"),
    [
        pytest.param(
            "rlsample/SpeakerListener-v0", {"critic": "own", "shared_network": True}, "gru", marks=pytest.mark.slow
        ),
        pytest.param("rlsample/Foraging-v0", {}, "lstm", marks=pytest.mark.slow),
        pytest.param("test/Leaving-v0", {"critic": "own"}, "lstm", marks=pytest.mark.slow),
        pytest.param("mpe2/simple_speaker_listener-v4", {"rewards": "team"}, "gru", marks=pytest.mark.slow),
        pytest.param("Foraging-8x8-2p-2f-coop-v3", {"shared_network": True}, "gru", marks=pytest.mark.slow),
    ],
)
def test_it_trains_by_its_configuration(env, settings, cell):
    register("test/Leaving-v0", Leaving)
    run, where = Silent(), {"id": env, "num_envs": 4}
    network = NETWORK | {"cell": cell}
    config = small_config("multi_agent_ppo", agent=settings, env=where, network=network, total_steps=128)
    policy = multi_agent_ppo.train(config, run)
    assert isinstance(policy, RecurrentJointPolicy)
    assert run.records[-1]["step"] == 128
    assert np.isfinite([run.records[-1][name] for name in (*multi_agent_ppo.METRICS, "sampler/relaxed_entropy")]).all()


@pytest.mark.slow
def test_a_population_is_trained_in_one_program():
    run = Silent()
    multi_agent_ppo.train(small_config("multi_agent_ppo", agent={"population": 2}, network=NETWORK), run)
    assert {"members/return_00", "members/return_01"} <= set(run.records[-1])


@pytest.mark.slow
def test_what_was_learned_is_loaded_and_remembers(tmp_path):
    config = small_config("multi_agent_ppo", network=NETWORK, evaluation={"episodes": 8})
    run = runs.train(config, tmp_path / "run", agents=AGENTS, progress=False)
    loaded, seen = runs.load(run.folder, agents=AGENTS).policy, np.ones((ENVS, 2, 5), np.float32)
    for ours, theirs in zip(run.policy.act(seen), loaded.act(seen), strict=True):
        np.testing.assert_equal(ours, theirs)
    assert runs.evaluate(loaded, config, episodes=8).mean_return == run.evaluation["mean_return"]


def test_minibatches_are_whole_sequences():
    where = {"id": "rlsample/SpeakerListener-v0", "num_envs": 3}
    config = small_config("multi_agent_ppo", network=NETWORK, env=where)
    with pytest.raises(runs.ConfigError, match=r"env.num_envs to be a multiple of agent.num_minibatches.*num_envs=3"):
        runs.agents.make_policy(multi_agent_ppo, config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "least", "most"), [([], 0.7, 1.0), (["network=mlp", "total_steps=50000"], 0.0, 0.35)]
)
def test_who_remembers_the_word_knows_the_target_and_who_does_not_guesses(words, least, most):
    words = [*words, "tracking.wandb=disabled"]
    config = runs.load_config("agents/configs/multi_agent_ppo_delayed_word.yaml", words, agents=AGENTS)
    assert least <= runs.evaluate(multi_agent_ppo.train(config, Silent()), config).mean_return <= most
