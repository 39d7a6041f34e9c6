"""Networks that remember: step by step as over a rollout, forgetting where an episode begins, in every place."""

from __future__ import annotations

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

import envs  # noqa: F401 (registers its environments)
from agents import ppo, recurrent_ppo, recurrent_reinforce
from rlsample import heads, networks, runs, samplers
from rlsample.learning.population import member_of, members_of
from rlsample.learning.remembering import remembering_actor
from rlsample.networks.flat import FlatNetwork
from rlsample.networks.recurrent_layers import LongShortTermMemory, Recurrence
from rlsample.rollouts.gymnasium_loop import GymnasiumLoop
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.rollouts.in_numpy.policy import quickest_policy
from rlsample.rollouts.on_policy import on_policy_loop
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.recurrent.policy import RecurrentPolicy, RolloutActor, policy_for
from rlsample.runs.agents import make_policy
from tests.helpers_agents import AGENTS, ALL_AGENTS, small_config
from tests.helpers_memory import check_resumed_memory
from tests.helpers_networks import batch_of
from tests.helpers_runs import Silent

T, B, H = 6, 3, 5
AUTORESETS = list(gym.vector.AutoresetMode)[:2]
CELLS = {"gru": 1, "lstm": 2}  # how often H numbers each remembers
NETWORK = {"name": "recurrent", "units": H, "encoder": {"name": "mlp", "hidden_sizes": [7]}}
SPACE = Dict(x=Box(-1, 1, (3,)), kind=Discrete(4))
STARTS = np.random.default_rng(3).random((T, B)) < 0.3


def far_from_zero(model):
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))


@pytest.fixture(scope="module", params=CELLS)
def policy(request):
    made = policy_for(SPACE, Discrete(4), samplers.create("categorical"), NETWORK | {"cell": request.param})
    assert isinstance(made, RecurrentPolicy)
    assert made.network.state_size == CELLS[request.param] * H
    far_from_zero(made.model)
    return made


@pytest.fixture(scope="module")
def steps():
    """Observations [T, B, ...]."""
    return tf.nest.map_structure(lambda part: tf.reshape(part, [T, B, *part.shape[1:]]), batch_of(SPACE, T * B))


def remembered(policy, rows=B, seed=0):
    """A state that is nothing special: float32 [rows, S]."""
    shape = rows, policy.network.state_size
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numpy_of(steps, index):
    return {name: part[index].numpy() for name, part in steps.items()}


# ---- the network


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_rollout_is_its_steps_one_by_one(policy, steps, jit_compile):
    before = tf.constant(remembered(policy))
    flat = FlatNetwork(policy.model)
    weights = flat.weights()

    def whole(weights):
        return memory.over_rollout(flat.at(weights), steps, before, tf.constant(STARTS))

    logits, states = tf.function(whole, jit_compile=jit_compile)(weights)
    assert states.shape == (T, B, policy.network.state_size)
    state = before.numpy()
    for step in range(T):
        state = np.where(STARTS[step][:, None], np.float32(0), state)
        each = policy.logits((numpy_of(steps, step), state))
        _, state = policy.act(numpy_of(steps, step), state=state)
        np.testing.assert_allclose(logits[step], each, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(states[step], state, rtol=1e-4, atol=1e-5)


def test_units_remember_for_spans_of_their_own_before_training():
    """Without anything to see, unit i keeps 1 - 1 / t_i of its state at each step."""
    layer = Recurrence(3, span=12)
    state = layer(tf.zeros([1, 2]), tf.constant([[1.0, 1.0, 1.0]]) * 1e-4, tf.zeros([1, 1], tf.bool))
    kept, recurrent = np.log([1, 6, 11]), layer.cell.recurrent_kernel.numpy().sum(0) * 1e-4
    kept, reset, new = np.split(np.concatenate([kept, np.zeros(6)]) + recurrent, 3)
    kept = 1 / (1 + np.exp(-kept))
    np.testing.assert_allclose(kept, [1 / 2, 6 / 7, 11 / 12], atol=1e-4)
    new = np.tanh(new / (1 + np.exp(-reset)))
    np.testing.assert_allclose(state[0], kept * 1e-4 + (1 - kept) * new, rtol=1e-4)


def test_an_lstm_keeps_for_as_long_and_lets_as_little_in():
    """Without anything to see, the cell state keeps 1 - 1 / t_i of itself and takes 1 / t_i of what is new."""
    layer = LongShortTermMemory(3, span=12)
    layer.build((None, 2))
    enter, keep, new, show = np.split(layer.cell.bias.numpy(), 4)
    np.testing.assert_allclose(1 / (1 + np.exp(-keep)), [1 / 2, 6 / 7, 11 / 12], rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-enter)), [1 / 2, 1 / 7, 1 / 12], rtol=1e-5)
    assert not np.any([new, show])
    state = layer(tf.zeros([1, 2]), tf.constant([[0.0, 0.0, 0.0, 0.1, 0.1, 0.1]]), tf.zeros([1, 1], tf.bool))
    np.testing.assert_allclose(state[0, 3:], [0.1 / 2, 0.6 / 7, 1.1 / 12], rtol=1e-5)
    np.testing.assert_allclose(state[0, :3], np.tanh(state[0, 3:]) / 2, rtol=1e-5)


@pytest.mark.parametrize("kind", [Recurrence, LongShortTermMemory])
@pytest.mark.parametrize("length", [1, T])
def test_the_layer_is_keras_s_cell_step_by_step(kind, length):
    layer, rows = kind(H, span=9), np.random.default_rng(5).normal(size=(length, B, 4)).astype(np.float32)
    state = np.random.default_rng(6).normal(size=(B, layer.parts * H)).astype(np.float32)
    found = layer(rows.reshape(-1, 4), tf.constant(state), tf.constant(STARTS[:length]))
    for step in range(length):
        state = np.where(STARTS[step][:, None], np.float32(0), state)
        _, parts = layer.cell(rows[step], np.split(state, layer.parts, -1))
        state = np.concatenate([np.reshape(part, (B, H)) for part in parts], -1)
        np.testing.assert_allclose(found[step * B : (step + 1) * B], state, atol=1e-6)


def test_the_features_are_the_hidden_state(policy, steps):
    model = networks.recurrent_model_of(policy.network, SPACE)
    features, states = model((numpy_of(steps, 0), remembered(policy), np.zeros((1, B), bool)))
    assert features.shape == (B, H)
    np.testing.assert_array_equal(features, states[:, :H])


def test_gradients_reach_every_weight(policy, steps):
    flat = FlatNetwork(policy.model)
    weights = flat.weights()
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits, _ = memory.over_rollout(flat.at(weights), steps, tf.constant(remembered(policy)), tf.constant(STARTS))
        loss = tf.reduce_sum(tf.square(logits[-1]))
    for part in flat.split(tf.convert_to_tensor(tape.gradient(loss, weights))):
        assert np.any(part != 0)


def test_it_is_its_own_configuration_and_is_fitted():
    network = networks.create(NETWORK)
    assert networks.create(network.to_config()) == network
    assert (network.state_size, networks.create("mlp").state_size) == (H, 0)
    assert networks.create(NETWORK | {"cell": "lstm"}).state_size == 2 * H
    fitted = networks.create("recurrent").fitted(SPACE, hidden_sizes=(9,), activation="elu")
    assert fitted.encoder == networks.MLP(hidden_sizes=(9,), activation="elu")


def test_a_policy_with_memory_is_saved_loaded_and_exported_step_by_step(policy, steps, tmp_path):
    policy.model.save(tmp_path / "policy.keras")
    again = keras.models.load_model(tmp_path / "policy.keras")
    inputs = numpy_of(steps, 0), remembered(policy), np.zeros((1, B), bool)
    for ours, theirs in zip(policy.model(inputs), again(inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    heads.export(policy.step_model(), tmp_path / "exported", inputs[:2])  # compares


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"name": "recurrent", "units": 0}, "units"),
        ({"name": "recurrent", "span": 1}, "span"),
        ({"name": "recurrent", "cell": "lsmt"}, "Unknown cell 'lsmt'. Did you mean 'lstm'. Choose one of: gru, lstm"),
        ({"name": "recurrent", "cell": ["lstm"]}, "Unknown cell .'lstm'."),
        ({"name": "recurrent", "encoder": {"name": "recurrent"}}, "without memory here. Received: network='recurrent'"),
        ({"name": "recurrent", "encoder": "mpl"}, "Unknown network 'mpl'. Did you mean 'mlp'"),
        ({"name": "joined", "parts": {"x": {"name": "recurrent"}}}, "without memory here"),
    ],
)
def test_what_cannot_be_built_is_named(network, message):
    with pytest.raises(ValueError, match=message):
        policy_for(SPACE, Discrete(3), samplers.create("categorical"), network)


def test_a_recurrent_model_needs_a_memory():
    with pytest.raises(ValueError, match=r"a network with a memory\. Received: network='mlp'"):
        networks.recurrent_model_of(networks.create("mlp"), SPACE)


# ---- acting


def test_one_observation_is_acted_on_as_a_row_of_a_batch(policy, steps):
    batch, state = numpy_of(steps, 0), remembered(policy, seed=1)
    actions, after = policy.act(batch, state=state)
    probabilities = policy.action_probabilities(batch, state=state)
    for row in range(B):
        single = {name: part[row] for name, part in batch.items()}
        action, one = policy.act(single, state=state[row])
        assert action == actions[row] == probabilities[row].argmax()
        np.testing.assert_allclose(one, after[row], rtol=1e-5, atol=1e-6)
        drawn, same = policy.act(single, seed=row, state=state[row])
        assert SPACE["kind"].contains(drawn)
        np.testing.assert_allclose(same, one, rtol=1e-5, atol=1e-6)


def test_no_state_is_that_of_an_episode_that_begins(policy, steps):
    batch = numpy_of(steps, 0)
    _, none = policy.act(batch)
    _, zeros = policy.act(batch, state=policy.initial_state(B))
    np.testing.assert_array_equal(none, zeros)
    assert policy.initial_state().shape == (policy.network.state_size,)
    with pytest.raises(ValueError, match=r"state to have shape \(3, (5|10)\). Received: shape=\(3, 4\)"):
        policy.act(batch, state=np.zeros((B, 4)))


def test_masks_and_memory_at_once():
    space = Dict(x=Box(-1, 1, (3,)), action_mask=MultiBinary(4))
    policy = policy_for(space, Discrete(4), samplers.create("categorical"), NETWORK)
    far_from_zero(policy.model)
    masks, state = np.eye(4, dtype=np.int8), None
    for step in range(4):
        observations = {"x": np.full((2, 3), step, np.float32), "action_mask": masks[[step, 3 - step]]}
        for seed in (None, step):
            actions, after = policy.act(observations, seed=seed, state=state)
            np.testing.assert_array_equal(actions, [step, 3 - step])
        state = after


def test_evaluation_forgets_where_an_episode_begins(policy, steps):
    acting, batch, ended = quickest_policy(policy), numpy_of(steps, 0), np.array([True, False, False])
    first = acting.act(batch)
    state = policy.act(batch)[1] * ~ended[:, None]
    acting.forget(ended)
    second, (expected, _) = acting.act(numpy_of(steps, 1)), policy.act(numpy_of(steps, 1), state=state)
    np.testing.assert_array_equal(second, expected)
    np.testing.assert_array_equal(first, policy.act(batch)[0])


# ---- rollouts


QUICK = {"num_epochs": 1, "num_minibatches": 1, "jit_compile": False}
QUICK_REINFORCE = {"name": "reinforce", "baseline_updates": 1, "jit_compile": False}
LEARNERS = pytest.mark.parametrize(
    ("kind", "quick"),
    [
        pytest.param(recurrent_ppo.Learner, QUICK, id="ppo"),
        pytest.param(recurrent_ppo.Learner, QUICK | {"cell": "lstm"}, id="ppo, lstm", marks=pytest.mark.slow),
        pytest.param(recurrent_reinforce.Learner, QUICK_REINFORCE, id="reinforce", marks=pytest.mark.slow),
    ],
)


def configure(collector="in_graph", env="rlsample/TMaze-v0", name="ppo", cell="gru", **hyper):
    own = {"clip_values": False} if name == "ppo" else {}
    where = {"id": env, "num_envs": 8}
    if env == "rlsample/TMaze-v0":
        where["kwargs"] = {"length": 3, "max_episode_steps": 7}
    if collector == "gymnasium":
        where["vectorization_mode"] = "sync"
    return runs.config_from_dict(
        {
            "agent": {"name": name, "num_steps": 16, "learning_rate": 1e-2, **own, **hyper},
            "env": where,
            "network": NETWORK | {"units": 16, "cell": cell},
            "sampler": "categorical",
            "total_steps": 256,
            "evaluation": {"episodes": 40},
        },
        agents=AGENTS,
    )


@LEARNERS
def test_the_compiled_loop_remembers_what_the_learner_does(kind, quick):
    """Without noise each action is the most probable one by the learner's own states, rollout after rollout."""
    config = configure(**quick)
    vector = config.env.make(8)
    learner = kind(config, vector, num_turns=2)
    learner.choose = lambda logits, mask, seed: tf.argmax(logits, -1, output_type=tf.int32)
    state = learner.start(0)
    state = state._replace(policy=4 * state.policy)
    collector = InGraphCollector(vector.unwrapped.functional, 8, 7)
    running = collector.start(tf.constant([0, 1]))
    ended, learn = 0, tf.function(learner.learn, autograph=False)

    @tf.function(autograph=False)
    def collect(state, running, seed):
        return collector.collect(remembering_actor(learner, state), running, 16, seed, learner.memory(state))

    for turn in range(3):
        steps, running, _ = collect(state, running, tf.constant([turn, 2]))
        ended += int(tf.reduce_sum(tf.cast(memory.ends(steps), tf.int32)))
        logits, states = memory.over_rollout(
            learner.network.at(state.policy), steps.observation, learner.memory(state), memory.starts(steps)
        )
        np.testing.assert_array_equal(np.argmax(logits, -1), steps.action)
        state, _, _ = learn(state, steps, tf.constant([turn, 3]), tf.ones([8], tf.bool))
        np.testing.assert_allclose(learner.memory(state), memory.after(steps, states), atol=1e-6)
    assert ended


@pytest.mark.parametrize("cell", CELLS)
def test_a_population_remembers_as_its_members_do(cell):
    config = configure(population=2, cell=cell, **QUICK)
    learner = recurrent_ppo.Learner(config, config.env.make(16), num_turns=2)
    population = members_of(learner, 2)
    states, observation = population.start(0), batch_of(Box(0, 1, (4,)), 16)
    before = tf.constant(remembered(learner.policy, rows=16))
    assert population.memory(states).shape == before.shape
    logits, after = population.logits_and_memory(population.split(states), observation, before)
    for member, own in enumerate((slice(0, 8), slice(8, 16))):
        parameters = learner.split(member_of(states, member))
        expected = learner.logits_and_memory(parameters, observation[own], before[own])
        np.testing.assert_allclose(logits[own], expected[0], atol=1e-5)
        np.testing.assert_allclose(after[own], expected[1], atol=1e-5)


@LEARNERS
@pytest.mark.parametrize("autoreset", [AUTORESETS[0], pytest.param(AUTORESETS[1], marks=pytest.mark.slow)])
def test_the_gymnasium_loop_remembers_what_the_learner_does(autoreset, kind, quick):
    config = configure("gymnasium", **quick)
    vector = gym.make_vec(
        config.env.id,
        8,
        "sync",
        vector_kwargs={"autoreset_mode": autoreset},
        **config.env.kwargs,
    )
    learner = kind(config, vector, num_turns=2)
    loop = on_policy_loop(
        vector,
        learner,
        metrics=(),
        num_steps=16,
        seed=1,
        temperature=config.temperature,
        jit_compile=False,
    )
    learn = tf.function(learner.learn, autograph=False)
    for turn in range(2):
        seen = []
        actor = RolloutActor(
            learner.publish(loop.state), learner.memory(loop.state).numpy(), lambda: loop.collector.starts, (0, turn)
        )

        def act(observation, mask, actor=actor, seen=seen):
            action = actor(observation, mask)
            seen.append(actor._state)
            return action

        steps = tf.nest.map_structure(tf.constant, loop.collector.collect(act, 16))
        assert tf.reduce_any(memory.ends(steps))
        _, states = memory.over_rollout(
            learner.policy.model, steps.observation, learner.memory(loop.state), memory.starts(steps)
        )
        valid = steps.valid.numpy()
        np.testing.assert_allclose(np.stack(seen)[valid], states.numpy()[valid], atol=1e-5)
        loop.state, _, _ = learn(loop.state, steps, tf.constant([turn, 3]), tf.ones([8], tf.bool))
    assert np.any(learner.memory(loop.state) != 0)
    assert not np.any(learner.memory(learner.forget(loop.state)))


@LEARNERS
@pytest.mark.parametrize(
    ("env", "goes_on"),
    [("CartPole-v1", False), pytest.param("rlsample/CartPole-v1", True, marks=pytest.mark.slow)],
)
def test_a_resumed_run_remembers_only_episodes_that_go_on(env, goes_on, kind, quick):
    """Gymnasium's environments cannot be restored: new episodes begin, of which nothing is to be remembered."""
    config = configure(env=env, **quick)
    options = {"num_steps": 4, "seed": 1, "temperature": config.temperature, "jit_compile": False}
    halted, resumed = (
        GymnasiumLoop(vector, kind(config, vector, num_turns=2), **options)
        for vector in (config.env.make(8), config.env.make(8))
    )
    check_resumed_memory(halted, resumed, goes_on)


@pytest.mark.parametrize("cell", CELLS)
def test_values_of_what_follows_go_on_from_the_state_of_their_row(cell):
    config = configure(jit_compile=False, cell=cell)
    vector = config.env.make(8)
    learner = recurrent_ppo.Learner(config, vector, num_turns=2)
    state = learner.start(0)
    collector = InGraphCollector(vector.unwrapped.functional, 8, 7)
    act = remembering_actor(learner, state)
    running = collector.start(tf.constant([0, 1]))
    steps, _, _ = collector.collect(act, running, 16, tf.constant([1, 2]), learner.memory(state))
    rollout, _, _ = learner._rollout(state, steps)
    goes_on = ~memory.ends(steps).numpy()[:-1]
    np.testing.assert_allclose(rollout.next_value.numpy()[:-1][goes_on], rollout.value.numpy()[1:][goes_on], atol=1e-5)
    critic, env = learner.critic.at(state.critic), int(np.argmax(steps.truncated.numpy().any(0)))
    ended = int(np.argmax(steps.truncated.numpy()[:, env]))
    first = max(np.flatnonzero(memory.starts(steps).numpy()[: ended + 1, env]), default=0)
    episode = tf.concat([steps.observation[first : ended + 1, env], steps.next_observation[ended : ended + 1, env]], 0)
    starts = tf.zeros([len(episode), 1], tf.bool)
    values, _ = memory.over_rollout(critic, episode[:, None], tf.zeros([1, CELLS[cell] * 16]), starts)
    np.testing.assert_allclose(rollout.next_value[ended, env], values[-1, 0, 0], atol=1e-5)


# ---- the agent


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A run that has solved a short maze in the compiled loop."""
    settings = configure().model_dump(mode="json")
    settings |= {"total_steps": 8192, "tracking": {"wandb": "disabled"}}
    settings["env"] |= {"num_envs": 16, "kwargs": {"length": 3}}
    config = runs.config_from_dict(settings, agents=AGENTS)
    return runs.train(config, tmp_path_factory.mktemp("maze") / "run", agents=AGENTS, progress=False)


@pytest.mark.slow
def test_it_solves_what_nothing_solves_without_memory(solved):
    assert solved.evaluation["mean_return"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["agent.population=2"], ["env.vectorization_mode=sync", "agent.jit_compile=false"], ["network.cell=lstm"]],
)
def test_a_population_gymnasium_and_an_lstm_solve_a_longer_one(words):
    config = runs.load_config("agents/configs/ppo_t_maze.yaml", words, agents=AGENTS)
    assert runs.evaluate(ppo.train(config, Silent()), config).mean_return == 1


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"num_envs": 1}, {"num_envs": 3, "vectorization_mode": "sync"}])
def test_what_it_learned_is_loaded_and_remembers_in_every_evaluation(solved, options):
    policy = runs.load(solved.folder, agents=AGENTS).policy
    assert runs.evaluate(policy, solved.config, episodes=12, **options).mean_return == 1


@pytest.mark.slow
def test_acting_in_a_loop_of_ones_own(solved):
    env = gym.make("rlsample/TMaze-v0", length=3)
    for episode in range(6):
        observation, _ = env.reset(seed=episode)
        state, done = None, False
        while not done:
            action, state = solved.policy.act(observation, state=state)
            observation, reward, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
        assert reward == 1


@LEARNERS
@pytest.mark.parametrize("env", ["rlsample/GridWorld-v0", pytest.param("Shown-v0", marks=pytest.mark.slow)])
def test_masks_and_gymnasium_are_learned_with_too(env, kind, quick, monkeypatch):
    learn = kind.learn

    def refuse_the_illegal(self, state, transitions, seed, finite):
        taken = tf.gather(transitions.mask, transitions.action, batch_dims=transitions.action.shape.rank)
        finite &= tf.reduce_all(taken, 0)
        return learn(self, state, transitions, seed, finite)

    monkeypatch.setattr(kind, "learn", refuse_the_illegal)
    run = Silent()
    config = configure(env=env, **quick)
    sampler = samplers.create("straight_through_gumbel_softmax")
    policy = AGENTS.module(config.agent.name).train(config.model_copy(update={"sampler": sampler}), run)
    assert isinstance(policy, RecurrentPolicy)
    assert np.isfinite(run.records[-1]["losses/policy"])
    assert np.isfinite(run.records[-1]["sampler/relaxed_entropy"])


def test_minibatches_are_whole_sequences():
    config = configure(num_minibatches=3, num_steps=15)
    with pytest.raises(ValueError, match=r"env.num_envs to be a multiple of agent.num_minibatches.*num_envs=8"):
        ppo.make_policy(config, SPACE, Discrete(3))


def test_a_policy_without_a_memory_says_so_of_a_network_with_one():
    with pytest.raises(ValueError, match=r"a network without memory here.*policy_for makes a policy that acts"):
        Policy(SPACE, Discrete(3), samplers.create("categorical"), NETWORK)


@pytest.mark.parametrize("name", ALL_AGENTS)
def test_every_agent_remembers(name):
    short = {"sequence_length": 6, "burn_in": 2, "prioritized": False}
    agent = {field: value for field, value in short.items() if field in AGENTS[name].model_fields}
    policy = make_policy(AGENTS.module(name), small_config(name, network=NETWORK, agent=agent))
    assert isinstance(policy, RecurrentPolicy)
    assert policy.state_size
