"""Memory learned from a replay: sequences, what was remembered before them, burn-in, and both loops that keep them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import dqn
from agents import relaxed_actor_critic as relaxed
from rlsample import runs
from rlsample.learning.remembering import remembering_actor
from rlsample.learning.ring import add_rows, sequence_places, start_ring
from rlsample.learning.sequence_replay import SequenceReplay
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.in_graph_collector import InGraphCollector, in_graph_env
from rlsample.rollouts.off_policy import from_replay
from rlsample.rollouts.off_policy.in_graph_sequences import WithSequences
from rlsample.rollouts.recurrent.policy import RecurrentPolicy
from rlsample.rollouts.recurrent.recall import Recall
from rlsample.rollouts.recurrent.sequences import Sequences, one_step
from rlsample.runs.agents import make_policy
from tests.helpers_agents import AGENTS, small_config
from tests.helpers_runs import Silent

NETWORK = {"name": "recurrent", "units": 5, "encoder": {"name": "mlp", "hidden_sizes": [7]}}
CELLS = {"gru": 1, "lstm": 2}  # how often 5 numbers each remembers
AGENT = {"dqn": {"prioritized": False, "num_steps": 3}, "relaxed_actor_critic": {"audit_draws": 0}}
ENDS = "rlsample/TMaze-v0"


def configure(name, env=ENDS, num_envs=4, total_steps=200, cell="gru", **hyper):
    where = {"id": env, "num_envs": num_envs}
    if env == ENDS:
        where["kwargs"] = {"length": 2, "max_episode_steps": 5}
    agent = {"sequence_length": 8, "burn_in": 3, **AGENT[name], **hyper}
    return small_config(name, env=where, network=NETWORK | {"cell": cell}, agent=agent, total_steps=total_steps)


def learner_of(config):
    made = config.env.make()
    module = AGENTS.module(config.agent.name)
    learner = module.Learner(config, made.single_observation_space, made.single_action_space)
    learner.state = learner.start(0)
    return learner, made


def one_by_one(network, weights, observations, memory, starts):
    """What a network gives for the steps of one environment, and its states after them, in a loop over them."""
    outputs, states, layers = [], [], network.split(weights)
    state = np.array(memory[network.columns])
    for observation, start in zip(observations, starts, strict=True):
        state = state * ~start
        remembered = np.zeros([1, network.columns.stop], np.float32)
        remembered[0, network.columns] = state
        output, after = network.go(layers, one_step(tf.constant(observation[None]), tf.constant(remembered)))
        state = after.numpy()[0]
        outputs.append(output.numpy()[0])
        states.append(state)
    return np.array(outputs), np.array(states)


def drawn_steps(sequences, memory_size, count=2, seed=0):
    """Sequences of random steps, as a replay gives them; episodes end at random."""
    generator, shape = np.random.default_rng(seed), (count, sequences.drawn)
    starts, terminated = generator.random((2, *shape)) < 0.3
    starts[:, 1:] |= terminated[:, :-1]
    drawn = {
        "observation": generator.random((*shape, 4)),
        "action": generator.integers(3, size=shape).astype(np.int32),
        "reward": generator.normal(size=shape),
        "next_observation": generator.random((*shape, 4)),
        "memory": generator.normal(size=(count, memory_size)),
    }
    floats = {name: column if name == "action" else column.astype(np.float32) for name, column in drawn.items()}
    return floats | {"starts": starts, "terminated": terminated}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_rows_and_what_networks_say_of_them_are_those_of_a_slow_loop(jit_compile, cell):
    learner, _ = learner_of(configure("dqn", cell=cell))
    sequences, state = learner.sequences, learner.state
    drawn = drawn_steps(sequences, 5 * CELLS[cell])

    @tf.function(autograph=False, jit_compile=jit_compile)
    def program(drawn):
        row = dqn.Batch(**learner.rows(drawn))
        return learner.values(state.network, row.observation), learner.target(state, row)

    values, targets = program(tf.nest.map_structure(tf.constant, drawn))
    count, index = len(drawn["reward"]), 0
    layers = learner.network.split(state.network)
    loops = [
        one_by_one(learner.network, state.network, *(drawn[key][row] for key in ("observation", "memory", "starts")))
        for row in range(count)
    ]
    ended = np.concatenate([drawn["starts"][:, 1:], np.zeros([count, 1], bool)], 1) | drawn["terminated"]
    for step in range(sequences.burn_in, sequences.length):
        for row in range(count):
            outputs, states = loops[row]
            np.testing.assert_allclose(values[index], outputs[step], rtol=1e-4, atol=1e-5)
            last, target, discount = step, drawn["reward"][row, step], learner.agent.discount
            while last < step + 2 and not ended[row, last]:
                last += 1
                target, discount = target + discount * drawn["reward"][row, last], discount * learner.agent.discount
            if not drawn["terminated"][row, last]:
                following = tf.constant(drawn["next_observation"][row, last][None])
                best, _ = learner.network.go(layers, one_step(following, tf.constant(states[last][None])))
                target += discount * np.max(best)  # the target network is still the same
            np.testing.assert_allclose(targets[index], target, rtol=1e-4, atol=1e-5)
            index += 1
    assert index == len(values)


def test_burn_in_has_no_gradient_and_every_step_after_it_has():
    learner, _ = learner_of(configure("dqn"))
    drawn = tf.nest.map_structure(tf.constant, drawn_steps(learner.sequences, 5))
    drawn["starts"] = tf.zeros_like(drawn["starts"])
    with tf.GradientTape() as tape:
        tape.watch([drawn["observation"], drawn["memory"]])
        row = dqn.Batch(**learner.rows(drawn))
        loss = tf.reduce_sum(tf.square(learner.values(learner.state.network, row.observation)[-2:]))
    by_observation, by_memory = tape.gradient(loss, [drawn["observation"], drawn["memory"]])
    assert by_memory is None or not np.any(by_memory)
    reached = np.any(by_observation != 0, -1)
    np.testing.assert_array_equal(reached, [[False] * 3 + [True] * 5 + [False] * 2] * 2)  # two steps of rewards alone


@pytest.mark.parametrize("cell", CELLS)
def test_each_critic_has_a_memory_of_its_own(cell):
    learner, _ = learner_of(configure("relaxed_actor_critic", cell=cell))
    drawn = drawn_steps(learner.sequences, 3 * 5 * CELLS[cell])
    row = relaxed.Batch(**learner.rows(tf.nest.map_structure(tf.constant, drawn)))
    critics = [learner.state.critics[0], [weights + 0.1 for weights in learner.state.critics[1]]]
    found = learner.judge(critics, row.observation)(row.action).numpy()
    values = []
    for critic, weights in zip(learner.critics, critics, strict=True):
        head = critic._parts[1]
        loops = [
            one_by_one(critic, weights, *(drawn[key][index] for key in ("observation", "memory", "starts")))[0]
            for index in range(2)
        ]
        features = np.stack(loops, 1)[3:8].reshape(10, -1)
        values.append(head.apply(critic.split(weights)[1], tf.constant(features), row.action))
    np.testing.assert_allclose(found, np.min(values, 0), rtol=1e-4, atol=1e-5)
    assert np.any(values[0] != values[1])


# ---- what is drawn


@pytest.mark.parametrize(("added", "first"), [(5, 0), (8, 0), (13, 5)])
def test_sequences_in_tensors_are_steps_of_one_environment_and_uniform(added, first):
    ring, draw = start_ring(24, tf.TensorSpec([], tf.int32)), tf.function(sequence_places, jit_compile=True)
    for step in range(added):
        ring = add_rows(ring, 10 * step + tf.range(3))
    found = tf.gather(ring.rows, draw(ring, (6000, 4), 3, tf.constant([1, added]))).numpy()
    np.testing.assert_array_equal(np.diff(found, axis=1), 10)
    begins, lanes = found[:, 0] // 10, found[:, 0] % 10
    counts = np.zeros([added - first - 3, 3])
    np.add.at(counts, (begins - first, lanes), 1)
    assert scipy.stats.chisquare(counts.ravel()).pvalue > 1e-6


def kept_by(replay, steps, generator):
    """Adds steps of three lanes, of which some are left out: lane -> the numbers that were added."""
    added = {lane: [] for lane in range(3)}
    for step in range(steps):
        lanes = np.flatnonzero(generator.random(3) < [0.9, 0.5, 0.2])
        number = np.array([100 * lane + len(added[lane]) for lane in lanes], np.int64)
        mask = np.arange(4) != (number % 4)[:, None] if step > 5 else np.ones([len(lanes), 4], bool)
        replay.add({"number": number, "first": number, "mask": mask, "lane": lanes})
        for lane, each in zip(lanes, number, strict=True):
            added[lane].append((int(each), mask[list(lanes).index(lane)]))
    return added


def test_sequences_on_the_host_are_steps_of_one_lane_and_uniform():
    replay = SequenceReplay(20, 3, 4, masks=["mask"], first=["first"])
    with pytest.raises(ValueError, match=r"a replay that holds 4 steps of an environment"):
        replay.sample(np.random.default_rng(0), (1,))
    added = kept_by(replay, 18, np.random.default_rng(1))
    again = SequenceReplay(20, 3, 4, masks=["mask"], first=["first"])
    again.restore(*replay.snapshot())
    found, same = (each.sample(np.random.default_rng(2), (50, 120)) for each in (replay, again))
    np.testing.assert_equal(found, same)
    assert found["number"].shape == (50, 120, 4)
    np.testing.assert_array_equal(found["first"], found["number"][..., 0])
    np.testing.assert_array_equal(np.diff(found["number"], axis=-1), 1)
    masks = {number: mask for lane in added.values() for number, mask in lane}
    bits = np.unpackbits(found["mask"], axis=-1, count=4).astype(bool).reshape(-1, 4)
    np.testing.assert_array_equal(bits, [masks[number] for number in found["number"].ravel()])
    held = [[number for number, _ in lane][-7:] for lane in added.values()]
    begins = [begin for lane in held for begin in lane[: max(0, len(lane) - 3)]]
    numbers, counts = np.unique(found["first"], return_counts=True)
    np.testing.assert_array_equal(numbers, sorted(begins))
    assert scipy.stats.chisquare(counts).pvalue > 1e-6
    more = kept_by(again, 5, np.random.default_rng(3))  # goes on where it was
    assert len(again) >= len(replay)
    assert more


# ---- what is kept


@pytest.mark.parametrize(("name", "cell"), [("dqn", "lstm"), ("relaxed_actor_critic", "gru")])
def test_the_compiled_loop_keeps_what_was_remembered_before_each_step(name, cell):
    learner, made = learner_of(configure(name, total_steps=20_000, cell=cell))
    kept = WithSequences(learner, 64, 4, masked=False)
    collector = InGraphCollector(in_graph_env(made), 4, 5)

    @tf.function(autograph=False)
    def turn(state, running, seed):
        act, memory = remembering_actor(kept, state), kept.memory(state)
        steps, running, _ = collector.collect(act, running, 5, seed, memory, next_masks=True)
        rows, begun = kept._rows(state, steps)
        return rows, state._replace(begun=begun), running

    state, running, found = kept.start(0), collector.start(tf.constant([0, 1])), []
    for index in range(3):
        rows, state, running = turn(state, running, tf.constant([index, 2]))
        found.append(rows)
    rows = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *found)
    assert rows["starts"][0].all()
    assert rows["starts"][1:].any()
    for lane in range(4):
        observation, starts, found = (rows[key][:, lane] for key in ("observation", "starts", "memory"))
        check_memory(learner, observation, starts, found)
        assert np.any(found != 0)
    assert not np.any(rows["memory"][rows["starts"]])


def check_memory(learner, observation, starts, found):
    """That rows of an environment, from the start of an episode on, hold what their networks remembered."""
    zeros = np.zeros(found.shape[1], np.float32)
    for network, weights in zip(learner.networks, learner.weights(learner.state), strict=True):
        _, states = one_by_one(network, weights, observation, zeros, starts)
        expected = np.concatenate([[states[0] * 0], states[:-1]]) * ~starts[:, None]
        np.testing.assert_allclose(found[:, network.columns], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("autoreset", list(gym.vector.AutoresetMode)[:2])
@pytest.mark.thinned(2)
def test_python_s_loop_keeps_the_same_and_leaves_resets_out(autoreset, cell):
    learner, _ = learner_of(configure("relaxed_actor_critic", cell=cell))
    kwargs = {"length": 2, "max_episode_steps": 5, "vector_kwargs": {"autoreset_mode": autoreset}}
    collector = GymnasiumCollector(gym.make_vec(ENDS, 3, "sync", **kwargs), learner.policy.factors, seed=0)
    recall = Recall(learner, learner.policy.factors, (3, 3 * 5 * CELLS[cell]), lambda: collector.starts)
    act, rows = recall.actor(learner.state, 0.5, np.array([1, 2], np.int32)), []
    resets = 0
    for _ in range(15):
        step = collector.step(act(collector.observation, collector.mask))._asdict()
        resets += int((~step["valid"]).sum())
        rows.append(recall.add(step))
    assert (resets > 0) == (autoreset is gym.vector.AutoresetMode.NEXT_STEP)
    for lane in range(3):
        picked = [(each, list(each["lane"]).index(lane)) for each in rows if lane in each["lane"]]
        observation, starts, found, ended = (
            np.array([each[key][index] for each, index in picked])
            for key in ("observation", "starts", "memory", "terminated")
        )
        check_memory(learner, observation, starts, found)
        assert starts[0]
        assert starts[1:][ended[:-1]].all()  # a row that ends an episode is followed by one that begins another
    recall.restore(recall.snapshot())
    assert recall.memory.any()
    recall.restore({})
    assert not recall.memory.any()


# ---- agents


@pytest.mark.parametrize(
    ("name", "env", "cell"),
    [
        pytest.param("dqn", "rlsample/GridWorld-v0", "gru", marks=pytest.mark.slow),
        pytest.param("dqn", "rlsample/GridWorld-v0", "lstm", marks=pytest.mark.slow),
        pytest.param("dqn", "Taxi-v4", "gru", marks=pytest.mark.slow),
        pytest.param("dqn", "Taxi-v4", "lstm", marks=pytest.mark.slow),
        pytest.param("relaxed_actor_critic", "rlsample/GridWorld-v0", "gru", marks=pytest.mark.slow),
        pytest.param("relaxed_actor_critic", "rlsample/GridWorld-v0", "lstm", marks=pytest.mark.slow),
        pytest.param("relaxed_actor_critic", "Taxi-v4", "gru", marks=pytest.mark.slow),
    ],
)
def test_masks_and_both_loops_are_learned_with(name, env, cell, monkeypatch):
    learn, legal = AGENTS.module(name).Learner.learn_from, []

    def look(self, state, rows, seed):
        assert rows["next_mask"].dtype == tf.bool
        legal.append(rows["next_mask"].shape)
        return learn(self, state, rows, seed)

    monkeypatch.setattr(AGENTS.module(name).Learner, "learn_from", look)
    run = Silent()
    policy = AGENTS.module(name).train(configure(name, env, cell=cell), run)
    assert isinstance(policy, RecurrentPolicy)
    assert np.isfinite([value for record in run.records for value in record.values()]).all()
    assert legal[0][0] == 10  # two sequences of five steps after the burn-in


@pytest.mark.slow
def test_a_population_trains():
    run = Silent()
    AGENTS.module("dqn").train(configure("dqn", population=2), run)
    assert run.records[-1]["update"] == 200 - 2 * 10 * 4


def test_priorities_are_refused():
    with pytest.raises(runs.ConfigError, match=r"a uniform replay for a network with a memory.*prioritized=false"):
        make_policy(dqn, configure("dqn", prioritized=True))


@pytest.mark.slow
def test_several_factors_and_another_critic():
    run = Silent()
    config = configure("relaxed_actor_critic", "rlsample/RaggedDict-v0", critic="concatenating")
    AGENTS.module("relaxed_actor_critic").train(config, run)
    assert np.isfinite(run.records[-1]["losses/critic"])


@pytest.mark.parametrize("cell", CELLS)
def test_a_dueling_network_has_one_memory(cell):
    learner, _ = learner_of(configure("dqn", dueling=True, cell=cell))
    drawn = drawn_steps(learner.sequences, 5 * CELLS[cell])
    row = dqn.Batch(**learner.rows(tf.nest.map_structure(tf.constant, drawn)))
    plain, _ = learner_of(configure("dqn", cell=cell))
    assert len(learner.state.network) == len(plain.state.network) + 5 + 1
    assert learner.values(learner.state.network, row.observation).shape == (10, 3)


@pytest.mark.parametrize("name", ["dqn", "relaxed_actor_critic"])
@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"burn_in": 8}, r"agent.burn_in below agent.sequence_length. Received: burn_in=8, sequence_length=8"),
        ({"replay_capacity": 31, "num_steps": 1}, r"agent.replay_capacity of at least 32, a sequence of each env"),
        ({"sequence_length": 30, "num_steps": 1}, r"total_steps above 240, after which the first sequences are"),
    ],
)
def test_sequences_that_do_not_fit_are_refused_first(name, hyper, message):
    own = {key: value for key, value in hyper.items() if name == "dqn" or key != "num_steps"}
    with pytest.raises(runs.ConfigError, match=message):
        make_policy(AGENTS.module(name), configure(name, **own))


def test_without_a_memory_sequences_play_no_part():
    assert Sequences.planned(small_config("dqn", agent={"burn_in": 50, "sequence_length": 2})) is None


def test_the_word_is_enough():
    for name in ("dqn_cartpole", "cartpole"):
        config = runs.load_config(f"agents/configs/{name}.yaml", ["network=recurrent"], agents=AGENTS)
        assert isinstance(make_policy(AGENTS.module(config.agent.name), config), RecurrentPolicy)


def test_both_loops_are_chosen_as_without_a_memory(monkeypatch):
    monkeypatch.setattr(from_replay, "InGraphReplayLoop", None)
    run = Silent()
    AGENTS.module("dqn").train(configure("dqn", "FrozenLake-v1"), run)
    assert run.records[-1]["update"] == 120


@pytest.mark.slow
@pytest.mark.parametrize("config", ["dqn_t_maze", "relaxed_actor_critic_t_maze"])
def test_it_solves_what_nothing_solves_without_memory(config):
    loaded = runs.load_config(f"agents/configs/{config}.yaml", ["tracking.wandb=disabled"], agents=AGENTS)
    policy = AGENTS.module(loaded.agent.name).train(loaded, Silent())
    assert runs.evaluate(policy, loaded).mean_return == 1
