"""Environments of several agents: their spaces, what packages make of them, collecting, and policies."""

import functools

import gymnasium as gym
import lbforaging  # noqa: F401 (registers its environments)
import numpy as np
import pytest
import rware  # noqa: F401 (likewise)
from gymnasium import spaces
from lbforaging.foraging.environment import Action

import envs  # noqa: F401 (likewise)
from rlsample import networks, samplers, schedules
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.environments.observations import read
from rlsample.rollouts.several_agents.agents import Agents, is_several
from rlsample.rollouts.several_agents.collector import JointCollector
from rlsample.rollouts.several_agents.gymnasium_tuples import SeveralAgents
from rlsample.rollouts.several_agents.pettingzoo_environments import FromPettingZoo
from rlsample.rollouts.several_agents.policy import JointPolicy, NetworkOfEach
from rlsample.rollouts.several_agents.registration import register
from rlsample.runs import EnvConfig

BOX = spaces.Box(0.0, 9.0, (2,))
PAIR = {"b": spaces.Discrete(3), "a": spaces.Discrete(2, start=5)}
PAIR_SEEN = {"b": BOX, "a": spaces.Discrete(4)}


class Leaving:
    """A parallel environment of PettingZoo's form: `first` leaves after two steps, `second` after four.

    Options say how they leave, what is paid, and what is masked.
    """

    metadata = {"name": "leaving"}  # noqa: RUF012
    possible_agents = ["first", "second"]  # noqa: RUF012

    def __init__(self, cut=False, silent=False, unpaid=False, masks=None):
        self.cut, self.silent, self.unpaid, self.masks = cut, silent, unpaid, masks
        self.agents, self.seen = [], []

    def observation_space(self, name):
        return BOX if self.masks != "observation" else spaces.Dict({"action_mask": spaces.MultiBinary(3), "see": BOX})

    def action_space(self, name):
        return spaces.Discrete(3 if name == "first" else 2)

    def reset(self, seed=None, options=None):
        self.agents, self.time = list(self.possible_agents), 0
        return self._observe(), {name: self._info() for name in self.agents}

    def step(self, actions):
        self.seen.append(dict(actions))
        self.time += 1
        acted = self.agents
        over = {name: not self.silent and self.time >= last for name, last in (("first", 2), ("second", 4))}
        cut = {name: over[name] and self.cut and name == "second" for name in acted}
        terminated = {name: over[name] and not cut[name] for name in acted}
        rewards = {name: 1.0 + 9 * (name == "second") for name in acted if not self.unpaid}
        observations, infos = self._observe(), {name: self._info() for name in acted}
        gone = {"first"} if self.time >= 2 else set()
        self.agents = [name for name in acted if not over[name] and name not in gone]
        return observations, rewards, terminated, cut, infos

    def _observe(self):
        seen = np.full(2, float(self.time), np.float32)
        if self.masks != "observation":
            return dict.fromkeys(self.agents, seen)
        masks = {"first": np.array([1, 0, 1], np.int8), "second": np.array([0, 1], np.int8)}
        return {name: {"see": seen, "action_mask": masks[name]} for name in self.agents}

    def close(self):
        pass

    def _info(self):
        return {"action_mask": np.array([0, 1])} if self.masks == "info" else {}


class Joining(Leaving):
    """`first` alone takes a step, and then `second`."""

    def __init__(self):
        super().__init__(masks="observation")

    def reset(self, seed=None, options=None):
        self.agents, self.time = ["first"], 0
        return self._observe(), {"first": {}}

    def step(self, actions):
        self.seen.append(dict(actions))
        acted, self.agents = self.agents, ["second"] if self.agents == ["first"] else []
        ended = dict.fromkeys(acted, True)
        return self._observe(), dict.fromkeys(acted, 1.0), ended, dict.fromkeys(acted, False), {}


class Tupled(gym.Env):
    """Two agents as lbforaging has them; three steps."""

    action_space = spaces.Tuple((spaces.Discrete(3), spaces.Discrete(2)))
    observation_space = spaces.Tuple((BOX, BOX))

    def __init__(self, rewards=(1, 2.5)):
        self.rewards, self.time = rewards, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.time += 1
        return self.observation_space.sample(), self.rewards, self.time == 3, False, {}


def own(agents, features):
    return NetworkOfEach(agents, networks.create("mlp").fitted(agents.space, hidden_sizes=(4,)), 3).own(features)


class TestAgents:
    def test_a_dict_names_them_and_the_order_is_that_of_actions(self):
        agents = Agents.of(spaces.Dict(PAIR_SEEN), spaces.Dict(PAIR, sort_keys=False))
        assert agents.names == ("b", "a")
        assert agents.factors.sizes == (3, 2)
        # Dict sorts its keys: a's four features come first, then b's two.
        features = np.arange(12, dtype=np.float32).reshape(2, 6)
        expected = [[[r + 4, r + 5, 0, 0], [r, r + 1, r + 2, r + 3]] for r in (0, 6)]
        np.testing.assert_array_equal(own(agents, features), expected)

    def test_a_tuple_and_an_axis_number_them(self):
        actions = spaces.Tuple([spaces.Discrete(2)] * 3)
        for seen in (spaces.Tuple([BOX] * 3), spaces.Box(0.0, 1.0, (3, 2))):
            agents = Agents.of(seen, actions)
            assert agents.names == ("agent_0", "agent_1", "agent_2")
            np.testing.assert_array_equal(own(agents, np.arange(6, dtype=np.float32)), [[0, 1], [2, 3], [4, 5]])

    @pytest.mark.parametrize(
        ("seen", "actions", "message"),
        [
            (spaces.Dict(PAIR_SEEN), spaces.Dict(PAIR | {"a": BOX}), "the actions of agent 'a' to be Discrete"),
            (BOX, spaces.Discrete(3), "a Tuple or Dict space, with an entry for each agent"),
            (BOX, spaces.Dict(PAIR), r"an observation of each of the agents \['a', 'b'\]"),
            (spaces.Dict({"a": BOX}), spaces.Dict(PAIR), "an observation of each of the agents"),
            (spaces.Dict(PAIR_SEEN | {"b": spaces.Text(3)}), spaces.Dict(PAIR), r"observation\['b'\]"),
        ],
    )
    def test_what_is_no_room_of_agents_is_refused_by_name(self, seen, actions, message):
        with pytest.raises(ValueError, match=message):
            Agents.of(seen, actions)

    def test_values_by_name(self):
        agents = Agents.of(spaces.Dict(PAIR_SEEN), spaces.Dict(PAIR))
        assert agents.read({"b": 2}, 0) == [0, 2]
        with pytest.raises(ValueError, match=r"Unknown agent 'c'|agent"):
            agents.read({"c": 2}, 0)

    def test_who_is_several(self):
        assert is_several(spaces.Dict(PAIR_SEEN), spaces.Dict(PAIR))
        assert not is_several(BOX, spaces.Dict(PAIR))
        assert not is_several(spaces.Tuple([BOX] * 3), spaces.Tuple([spaces.Discrete(2)] * 2))


class TestTuples:
    def test_rewards_are_summed_and_kept_apart(self):
        env = SeveralAgents(Tupled())
        env.reset(seed=0)
        _, reward, terminated, truncated, info = env.step((0, 1))
        assert (reward, terminated, truncated) == (3.5, False, False)
        np.testing.assert_array_equal(info["agent_rewards"], np.float32([1.0, 2.5]))

    def test_a_shared_reward_stays(self):
        env = SeveralAgents(Tupled(rewards=4.0))
        env.reset(seed=0)
        _, reward, *_, info = env.step((0, 1))
        assert (reward, info) == (4.0, {})

    def test_another_number_of_rewards_is_refused(self):
        env = SeveralAgents(Tupled(rewards=(1, 2, 3)))
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"a reward for each agent. Received: agents=2, rewards=\(1, 2, 3\)"):
            env.step((0, 1))

    @pytest.mark.parametrize(
        ("name", "kwargs", "limit"),
        [
            ("Foraging-8x8-2p-2f-coop-v3", {}, 50),
            ("rware-tiny-2ag-v2", {"max_steps": 20}, 20),
            ("mpe2/simple_speaker_listener-v4", {}, 25),
        ],
    )
    def test_a_timeout_is_a_truncation_at_the_packages_own_limit(self, name, kwargs, limit):
        config = EnvConfig(id=name, num_envs=2, kwargs=kwargs)
        assert config.own_limit() == limit
        vector = config.make()
        vector.reset(seed=1)
        idle = gym.vector.utils.create_empty_array(vector.single_action_space, 2, fn=np.zeros)
        for step in range(1, limit + 1):
            _, _, terminated, truncated, info = vector.step(idle)
            assert not terminated.any()
            assert truncated.all() == (step == limit)
        assert info["agent_rewards"].shape == (2, 2)
        vector.close()

    def test_what_foraging_leaves_to_each_agent_is_its_mask(self):
        env, generator = SeveralAgents(gym.make("Foraging-8x8-2p-2f-coop-v3")), np.random.default_rng(0)
        _, info = env.reset(seed=1)
        for _ in range(20):
            field, mask = env.unwrapped, info["action_mask"]
            for player, row in zip(field.players, mask, strict=True):
                assert row.tolist() == [action in field._valid_actions[player] for action in Action]
            *_, info = env.step(tuple(generator.choice(np.flatnonzero(row)) for row in mask))

    def test_the_last_food_gathered_at_the_limit_is_still_an_end(self):
        vector = EnvConfig(id="Foraging-8x8-2p-2f-coop-v3", num_envs=1).make()
        vector.reset(seed=1)
        field = vector.envs[0].unwrapped
        field.field[:] = 0
        _, _, terminated, truncated, _ = vector.step((np.zeros(1, int), np.zeros(1, int)))
        assert (terminated[0], truncated[0]) == (True, False)
        vector.close()


class TestPettingZoo:
    def test_agents_leave_one_after_the_other(self):
        env = FromPettingZoo(Leaving())
        observation, info = env.reset(seed=0)
        assert list(observation) == ["first", "second"]
        assert info["agent_present"].all()
        outcomes = [env.step({"first": 2, "second": 1}) for _ in range(4)]
        assert [reward for _, reward, *_ in outcomes] == [11.0, 11.0, 10.0, 10.0]
        assert [(done, cut) for _, _, done, cut, _ in outcomes] == [(False, False)] * 3 + [(True, False)]
        infos = [outcome[-1] for outcome in outcomes]
        assert [info["agent_present"].tolist() for info in infos] == [[True] * 2, *[[False, True]] * 2, [False] * 2]
        assert [info["agent_terminated"].tolist() for info in infos] == [[False] * 2, *[[True, False]] * 2, [True] * 2]
        assert infos[2]["agent_rewards"].tolist() == [0.0, 10.0]
        np.testing.assert_array_equal(outcomes[2][0]["first"], [0.0, 0.0])
        assert env.env.seen[2] == {"second": 1}

    def test_what_one_that_left_sees_is_an_observation_of_its_space(self):
        inner = Leaving()
        own = spaces.Dict(a=spaces.Discrete(4, start=3), b=spaces.MultiDiscrete([2, 3], start=[5, -7]), c=BOX)
        space = {"first": own, "second": inner.observation_space("second")}
        inner.observation_space = space.__getitem__
        env = FromPettingZoo(inner)
        missing = env._observation({})
        assert env.observation_space.contains(missing)
        read(env.observation_space, missing)
        np.testing.assert_array_equal(missing["first"]["b"], [5, -7])

    def test_who_was_cut_makes_it_a_truncation(self):
        env = FromPettingZoo(Leaving(cut=True))
        env.reset(seed=0)
        outcomes = [env.step({"first": 0, "second": 0}) for _ in range(4)]
        assert outcomes[-1][2:4] == (False, True)
        assert outcomes[-1][4]["agent_terminated"].tolist() == [True, False]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"silent": True}, "agent 'first' to be terminated or truncated before it leaves"),
            ({"unpaid": True}, "a reward for agent 'first', which acted"),
        ],
    )
    def test_what_breaks_the_interface_is_named(self, options, message):
        env = FromPettingZoo(Leaving(**options))
        env.reset(seed=0)
        env.env.time = 1
        with pytest.raises(ValueError, match=message):
            env.step({"first": 0, "second": 0})

    def test_masks_come_from_either_place(self):
        _, info = FromPettingZoo(Leaving(masks="observation")).reset()
        np.testing.assert_array_equal(info["action_mask"], [[True, False, True], [False, True, True]])
        with pytest.raises(ValueError, match="a mask of the 3 actions of agent 'first'"):
            FromPettingZoo(Leaving(masks="info")).reset()

    def test_masks_in_what_is_observed_hold_with_an_id_too(self):
        register("test/Masked-v0", functools.partial(Leaving, masks="observation"))
        vector = EnvConfig(id="test/Masked-v0", num_envs=2).make()
        _, rows = collect(vector, 6)
        vector.close()
        assert rows[0].mask[0].tolist() == [[True, False, True], [False, True, False]]
        assert {int(row.action[0, 0]) for row in rows if row.valid[0] and row.present[0, 0]} <= {0, 2}
        assert {int(row.action[0, 1]) for row in rows if row.valid[0] and row.present[0, 1]} == {1}

    def test_one_may_join_later_and_has_its_mask_then(self):
        env = FromPettingZoo(Joining())
        _, info = env.reset(seed=0)
        assert info["agent_present"].tolist() == [True, False]
        _, _, terminated, truncated, info = env.step({"first": 2, "second": 1})
        assert not terminated
        assert not truncated
        assert info["agent_present"].tolist() == [False, True]
        assert info["agent_terminated"].tolist() == [True, False]
        assert info["action_mask"].tolist() == [[True, True, True], [False, True, True]]
        *_, terminated, truncated, info = env.step({"first": 0, "second": 1})
        assert (terminated, truncated) == (True, False)
        assert [sorted(each) for each in env.env.seen] == [["first"], ["second"]]

    def test_who_is_not_there_from_the_start_is_not_counted(self):
        vector = gym.vector.SyncVectorEnv([lambda: FromPettingZoo(Joining())] * 2)
        _, rows = collect(vector, 2)
        assert [row.present[0].tolist() for row in rows] == [[True, False], [False, True]]

    def test_with_an_id_it_is_named_by_configurations_and_its_faults_name_it(self):
        register("test/Leaving-v0", Leaving)
        register("test/Leaving-v0", Leaving)
        vector = EnvConfig(id="test/Leaving-v0", num_envs=2).make()
        vector.reset(seed=0)
        vector.close()
        vector = EnvConfig(id="test/Leaving-v0", num_envs=1, kwargs={"silent": True}).make()
        vector.reset(seed=0)
        actions = {"first": np.zeros(1, int), "second": np.zeros(1, int)}
        vector.step(actions)
        with pytest.raises(EnvironmentFault, match=r"test/Leaving-v0 \(environment 0\).*agent 'first'"):
            vector.step(actions)

    def test_a_configuration_does_not_decide_what_is_imported(self):
        with pytest.raises(TypeError, match="parallel_env"):
            EnvConfig(id="test/Leaving-v0", kwargs={"parallel_env": "os:getcwd"}).make()


def collect(vector, steps, seed=3):
    agents = Agents.of(vector.single_observation_space, vector.single_action_space)
    collector, generator = JointCollector(vector, agents, seed), np.random.default_rng(0)
    rows = []
    for _ in range(steps):
        rows.append(collector.step((generator.random(collector.mask.shape) * collector.mask).argmax(-1)))
    return collector, rows


class TestCollecting:
    @pytest.mark.parametrize("mode", [gym.vector.AutoresetMode.NEXT_STEP, gym.vector.AutoresetMode.SAME_STEP])
    def test_each_agent_has_its_own_rewards_ends_and_presence(self, mode):
        vector = gym.vector.SyncVectorEnv([lambda: FromPettingZoo(Leaving(cut=True))] * 2, autoreset_mode=mode)
        collector, rows = collect(vector, 9)
        valid = [row for row in rows if row.valid.all()]
        assert [row.reward[0].tolist() for row in valid[:4]] == [[1, 10], [1, 10], [0, 10], [0, 10]]
        assert [row.present[0].tolist() for row in valid[:4]] == [[True] * 2] * 2 + [[False, True]] * 2
        assert [row.terminated[0].tolist() for row in valid[:4]] == [[False] * 2, *[[True, False]] * 3]
        assert [bool(row.truncated[0]) for row in valid[:4]] == [False] * 3 + [True]
        assert valid[4].present.all()
        assert not valid[4].terminated.any()
        assert valid[0].mask[0].tolist() == [[True, True, True], [True, True, False]]
        metrics = collector.pop_episodes()
        assert (metrics["agents/return/first"], metrics["agents/return/second"]) == (2.0, 40.0)
        assert metrics["charts/episodic_return"] == 42.0
        assert "agents/return/first" not in collector.pop_episodes()

    def test_a_reward_without_agents_is_everybodys(self):
        vector = gym.make_vec("rlsample/SpeakerListener-v0", num_envs=3)
        _, rows = collect(vector, 5)
        for row in rows:
            np.testing.assert_array_equal(row.reward[:, 0], row.reward[:, 1])
            np.testing.assert_array_equal(row.terminated[:, 0], row.terminated[:, 1])
            assert row.present.all()
        assert any(row.terminated.any() for row in rows)

    def test_it_goes_on_from_a_snapshot(self):
        vector = gym.make_vec("rlsample/Foraging-v0", num_envs=3)
        collector, _ = collect(vector, 7)
        snapshot = collector.snapshot()
        other = JointCollector(gym.make_vec("rlsample/Foraging-v0", num_envs=3), collector.agents, 9)
        other.restore(snapshot, 1)
        for row in range(4):
            action = np.full((3, 2), row, np.int32)
            np.testing.assert_equal(other.step(action)._asdict(), collector.step(action)._asdict())


@pytest.mark.parametrize("shared", [False, True])
class TestJointPolicy:
    def policy(self, shared, **options):
        vector = gym.make_vec("rlsample/Foraging-v0", num_envs=2)
        seen, actions = vector.single_observation_space, vector.single_action_space
        return JointPolicy(
            seen, actions, samplers.create("straight_through"), shared=shared, hidden_sizes=(8,), **options
        )

    def test_nobody_sees_what_others_see(self, shared):
        policy, features = self.policy(shared), np.random.default_rng(1).random((5, 24), np.float32)
        before = policy.model(features).numpy()
        features[:, 12:] = 0.25  # of the second
        after = policy.model(features).numpy()
        np.testing.assert_array_equal(before[:, 0], after[:, 0])
        assert (before[:, 1] != after[:, 1]).any()

    def test_masks_hold_whether_it_draws_or_not(self, shared):
        policy = self.policy(shared)
        observations, mask = np.zeros((6, 2, 12), np.float32), np.zeros((6, 2, 6), bool)
        mask[:, 0, 2] = mask[:, 1, 4] = True
        for seed in (None, (1, 2)):
            actions = policy.act(observations, mask, seed)
            assert (actions["agent_0"].tolist(), actions["agent_1"].tolist()) == ([2] * 6, [4] * 6)
        np.testing.assert_array_equal(policy.action_probabilities(observations, mask), mask)

    def test_each_may_have_a_sampler_and_a_temperature_of_its_own(self, shared):
        policy = self.policy(shared, samplers={"agent_1": samplers.create("reinmax")})
        assert [sampler.name for sampler in policy.head.samplers] == ["straight_through", "reinmax"]
        schedule = schedules.create({"name": "linear", "start": 1.0, "end": 0.5, "steps": 10})
        policy = self.policy(shared, temperatures={"agent_1": schedule})
        policy.head.temperature.assign(2.0)
        assert policy.head.set_own(10) == {"agents/temperature/agent_0": 2.0, "agents/temperature/agent_1": 0.5}
        parts = policy.head.distribution(np.zeros((3, 2, 6), np.float32), np.ones((3, 2, 6), bool)).agents
        assert [float(part.temperature) for part in parts] == [2.0, 0.5]
        with pytest.raises(ValueError, match="agent_2"):
            self.policy(shared, samplers={"agent_2": samplers.create("reinmax")})
