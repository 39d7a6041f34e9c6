from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Text, Tuple
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsample import spaces
from tests.helpers import ALL_SPACES, space_name

BATCH = 6
each_space = pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)


def same(left, right):
    """Equal in value, dtype and nesting."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left.dtype == right.dtype and np.array_equal(left, right)


def sampled(space, count, seed=0):
    """Distinct sampled actions and the same as one batch, stacked by Gymnasium."""
    space.seed(seed)
    actions = [space.sample() for _ in range(count)]
    return actions, concatenate(space, actions, create_empty_array(space, n=count))


def random_indices(factors, batch, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, factors.sizes, size=(*batch, factors.num_factors)).reshape(
        (*batch, *factors.action_shape)
    )


def one_hots(factors, indices, dtype=np.float32):
    return np.eye(factors.num_categories, dtype=dtype)[indices]


# The shape of a space


@pytest.mark.parametrize(
    ("space", "sizes", "names"),
    [
        (Discrete(4), (4,), ("Discrete",)),
        (MultiDiscrete([2, 5]), (2, 5), ("MultiDiscrete[0]", "MultiDiscrete[1]")),
        (MultiBinary((1, 2)), (2, 2), ("MultiBinary[0][0]", "MultiBinary[0][1]")),
        (Tuple((Discrete(3), MultiDiscrete([2]))), (3, 2), ("Tuple[0]", "Tuple[1][0]")),
        (Dict({"b": Discrete(3), "a": Discrete(2)}), (2, 3), ("Dict['a']", "Dict['b']")),
        (Dict({"b": Discrete(3), "a": Discrete(2)}, sort_keys=False), (3, 2), ("Dict['b']", "Dict['a']")),
        (Dict({7: Tuple((Dict({"x": Discrete(2)}),))}), (2,), ("Dict[7][0]['x']",)),
        (MultiDiscrete(np.array(3)), (3,), ("MultiDiscrete",)),
    ],
    ids=space_name,
)
def test_factors_follow_the_order_of_the_space(space, sizes, names):
    factors = spaces.factorise(space)
    assert factors.sizes == sizes
    assert factors.names == names
    assert factors.num_factors == len(sizes)
    assert factors.num_categories == max(sizes)


def test_only_a_plain_discrete_has_no_factor_axis():
    assert spaces.factorise(Discrete(4)).event_shape == (4,)
    assert spaces.factorise(Discrete(4)).action_shape == ()
    assert spaces.factorise(MultiDiscrete([4])).event_shape == (1, 4)
    assert spaces.factorise(Tuple((Discrete(4),))).action_shape == (1,)


def test_padding_mask_marks_the_categories_that_exist():
    np.testing.assert_array_equal(spaces.factorise(MultiDiscrete([1, 3])).padding_mask, [[1, 0, 0], [1, 1, 1]])
    assert spaces.factorise(MultiDiscrete([3, 3])).padding_mask is None
    assert spaces.factorise(Discrete(3)).padding_mask is None


def test_equal_spaces_have_equal_factors():
    assert spaces.factorise(MultiDiscrete([2, 3])) == spaces.factorise(MultiDiscrete([2, 3]))
    assert spaces.factorise(MultiDiscrete([2, 3])) != spaces.factorise(MultiDiscrete([2, 3], start=[0, 1]))


# Actions there and back


@each_space
def test_every_action_makes_the_round_trip(space):
    factors = spaces.factorise(space)
    actions, batch = sampled(space, BATCH)
    for action in actions:
        indices = factors.from_env(action)
        assert indices.dtype == np.int32
        assert indices.shape == factors.action_shape
        assert same(factors.to_env(indices), action)
    indices = factors.from_env(batch)
    assert indices.shape == (BATCH, *factors.action_shape)
    assert same(factors.to_env(indices), batch)
    np.testing.assert_array_equal(indices, [factors.from_env(action) for action in actions])


@each_space
def test_every_index_is_an_action_of_the_space(space):
    factors = spaces.factorise(space)
    seen = set()
    for row in np.indices((max(factors.sizes),)).T:
        indices = np.minimum(row, np.array(factors.sizes) - 1)
        indices = indices[0] if factors.single else indices
        action = factors.to_env(indices)
        assert space.contains(action)
        np.testing.assert_array_equal(factors.from_env(action), indices)
        seen.add(str(action))
    assert len(seen) == factors.num_categories


@each_space
def test_a_batch_is_what_gymnasium_batches(space):
    factors = spaces.factorise(space)
    batch = factors.to_env(random_indices(factors, (BATCH,)))
    batched = batch_space(space, BATCH)
    assert batched.contains(batch)
    rows = list(iterate(batched, batch))
    assert len(rows) == BATCH
    assert all(row in space for row in rows)


@each_space
def test_one_hots_and_indices_decode_alike(space):
    factors = spaces.factorise(space)
    indices = random_indices(factors, (2, 3))
    expected = factors.to_env(indices)
    relaxed = 0.6 * one_hots(factors, indices) + 0.4 / factors.num_categories
    for draw in (one_hots(factors, indices), relaxed, tf.constant(indices), tf.constant(relaxed)):
        assert same(factors.to_env(draw), expected)
    for dtype in (tf.float16, tf.bfloat16, tf.float64):
        assert same(factors.to_env(tf.cast(one_hots(factors, indices), dtype)), expected)
    np.testing.assert_array_equal(factors.from_env(expected), indices)


@each_space
def test_no_rows_make_an_empty_batch(space):
    factors = spaces.factorise(space)
    batch = factors.to_env(np.zeros((0, *factors.event_shape), np.float32))
    assert factors.from_env(batch).shape == (0, *factors.action_shape)
    assert factors.mask(np.ones((0, sum(factors.sizes)), bool)).shape == (0, *factors.event_shape)


def test_one_discrete_action_is_a_numpy_integer():
    action = spaces.factorise(Discrete(3, start=5)).to_env(np.int32(2))
    assert isinstance(action, np.int64)
    assert action == 7
    assert spaces.factorise(Discrete(3, start=5)).from_env(7) == 2


@pytest.mark.parametrize("space", [MultiDiscrete(np.array(3)), MultiBinary(())], ids=space_name)
def test_a_space_without_axes_still_gets_an_array(space):
    factors = spaces.factorise(space)
    action = factors.to_env([1])
    assert space.contains(action)
    np.testing.assert_array_equal(factors.from_env(action), [1])


def test_starts_beyond_int64_stay_exact():
    space = MultiDiscrete(np.array([3], np.uint64), dtype=np.uint64, start=np.array([2**64 - 4], np.uint64))
    factors = spaces.factorise(space)
    action = factors.to_env(np.array([2]))
    assert int(action[0]) == 2**64 - 2
    np.testing.assert_array_equal(factors.from_env(action), [2])


def test_the_result_shares_no_memory_with_the_draw():
    draw = np.zeros((2, 3), np.int64)
    spaces.factorise(MultiDiscrete([2, 2, 2])).to_env(draw)[:] = 1
    assert not draw.any()


class Recorder(gym.Env):
    """Accepts only actions of its space, and keeps them."""

    observation_space = Discrete(2)

    def __init__(self, space, masks=()):
        self.action_space = space
        self.masks = list(masks)
        self.actions = []

    def _info(self):
        mask = self.masks.pop(0) if self.masks else None
        return {} if mask is None else {"action_mask": mask}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, self._info()

    def step(self, action):
        assert action in self.action_space
        self.actions.append(action)
        return 0, 0.0, False, False, self._info()


@each_space
def test_a_vector_environment_takes_the_batch(space):
    envs = gym.vector.SyncVectorEnv([lambda: Recorder(space)] * 3)
    factors = spaces.factorise(envs.single_action_space)
    envs.reset(seed=0)
    indices = random_indices(factors, (3,))
    envs.step(factors.to_env(indices))
    for env, row in zip(envs.envs, indices, strict=True):
        np.testing.assert_array_equal(factors.from_env(env.actions[0]), row)


# Random spaces

leaves = st.one_of(
    st.builds(lambda n, start: Discrete(n, start=start), st.integers(1, 5), st.integers(-9, 9)),
    st.lists(st.tuples(st.integers(1, 5), st.integers(-9, 9)), min_size=1, max_size=3).map(
        lambda rows: MultiDiscrete([n for n, _ in rows], start=[start for _, start in rows])
    ),
    st.lists(st.integers(1, 2), min_size=1, max_size=2).map(MultiBinary),
)
nested_spaces = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(Tuple),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(Dict),
    ),
    max_leaves=5,
)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(space=nested_spaces, seed=st.integers(0, 2**16))
def test_any_nested_space_makes_the_round_trip(space, seed):
    factors = spaces.factorise(space)
    assert len(set(factors.names)) == factors.num_factors
    actions, batch = sampled(space, 3, seed)
    indices = factors.from_env(batch)
    assert (indices >= 0).all()
    assert (indices < np.array(factors.sizes)).all()
    assert same(factors.to_env(one_hots(factors, indices)), batch)
    assert all(same(factors.to_env(row), action) for row, action in zip(indices, actions, strict=True))


# What is refused


@pytest.mark.parametrize(
    ("space", "path"),
    [
        (Box(-1, 1, (2,)), "Box"),
        (Dict({"steer": Box(-1, 1, (2,)), "gear": Discrete(3)}), "Dict['steer']"),
        (Tuple((Discrete(2), Dict({"a": Tuple((Text(3),))}))), "Tuple[1]['a'][0]"),
        (Dict({"steer": Graph(Discrete(2), Discrete(2))}), "Dict['steer']"),
        (Tuple((Sequence(Discrete(2)),)), "Tuple[0]"),
        (OneOf((Discrete(2), Discrete(3))), "OneOf"),
    ],
    ids=["Box", "Box in Dict", "Text", "Graph", "Sequence", "OneOf"],
)
def test_an_unsupported_space_is_named_by_its_path(space, path):
    with pytest.raises(ValueError, match="MultiDiscrete, MultiBinary, or a Tuple or Dict of these") as error:
        spaces.factorise(space)
    assert f"Received: {path}=" in str(error.value)
    assert ("DiscretizeAction" in str(error.value)) == ("Box(" in str(error.value))


@pytest.mark.parametrize(
    ("space", "path"),
    [
        (Tuple(()), "Tuple"),
        (Dict({}), "Dict"),
        (Dict({"a": Discrete(2), "b": Tuple((Dict({}),))}), "Dict['b'][0]"),
        (MultiDiscrete(np.zeros((0,), int)), "MultiDiscrete"),
    ],
    ids=space_name,
)
def test_an_empty_space_is_named_by_its_path(space, path):
    with pytest.raises(ValueError, match="at least one action factor") as error:
        spaces.factorise(space)
    assert f"Received: {path}=" in str(error.value)


def test_what_is_no_space_is_refused():
    with pytest.raises(ValueError, match=r"to be a Gymnasium space.*single_action_space"):
        spaces.factorise(5)


def test_a_factor_too_large_for_int32_is_refused():
    with pytest.raises(ValueError, match=r"Tuple\[0\]=2147483648"):
        spaces.factorise(Tuple((Discrete(2**31),)))


RAGGED = spaces.factorise(Dict({"arm": MultiDiscrete([2, 3], start=[0, 5]), "steer": Discrete(3, start=2)}))
PAIR = spaces.factorise(Tuple((Discrete(2), Discrete(2))))


@pytest.mark.parametrize(
    ("factors", "actions", "message"),
    [
        (RAGGED, {"arm": [[0, 5], [1, 8]], "steer": [2, 2]}, r"Dict\['arm'\]\[1\] to be from 5 to 7.*action=8, row=1"),
        (RAGGED, {"arm": [0, 5], "steer": 1}, r"Dict\['steer'\] to be from 2 to 4. Received: action=1\.$"),
        (RAGGED, {"arm": np.zeros((2, 3), int), "steer": [2, 2]}, r"Dict\['arm'\] to have shape \[..., 2\].*\(2, 3\)"),
        (RAGGED, {"arm": [[0, 5]], "steer": [2, 2]}, r"one batch shape.*Dict\['arm'\]=\(1,\), Dict\['steer'\]=\(2,\)"),
        (RAGGED, {"arm": [0, 5], "steer": 2.0}, r"Dict\['steer'\] to be integers. Received: dtype='float64'"),
        (RAGGED, {"arm": [0, 5], "steer": True}, r"Dict\['steer'\] to be integers. Received: dtype='bool'"),
        (RAGGED, {"arm": [0, 5]}, r"Dict to be a dict with keys \['arm', 'steer'\]. Received: action=\['arm'\]"),
        (RAGGED, 3, "Dict to be a dict with keys .* Received: action='int'"),
        (RAGGED, {"arm": [[0], [0, 5]], "steer": 2}, "action to be an array with rows of one length"),
        (PAIR, [(0, 1), (1, 0)], "Tuple to be a tuple of 2 entries.*A batch is a tuple of batches"),
        (PAIR, (0, 1, 1), "Tuple to be a tuple of 2 entries"),
        (spaces.factorise(Discrete(3)), 2**70, "Discrete to be integers"),
        (spaces.factorise(Discrete(3)), [[0, 1], [2, 3]], r"Discrete to be from 0 to 2.*action=3, row=\(1, 1\)"),
    ],
)
def test_an_action_outside_the_space_is_refused(factors, actions, message):
    with pytest.raises(ValueError, match=message):
        factors.from_env(actions)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (np.array([[2, 0, 0]]), r"an index from 0 to 1 for Dict\['arm'\]\[0\]. Received: index=2, row=0"),
        (np.array([0, 0, -1]), r"an index from 0 to 2 for Dict\['steer'\]. Received: index=-1\.$"),
        (np.zeros((4, 2), int), r"factor indices of shape \[..., 3\]. Received: shape=\(4, 2\)"),
        (np.zeros((3, 2), np.float32), r"one-hots of shape \[..., 3, 3\]. Received: shape=\(3, 2\)"),
        (np.zeros((3, 3), bool), "Received: dtype='bool'"),
        (np.zeros((2, 3, 3), np.float32), "positive entry and no NaN.*row=0"),
        (np.full((3, 3), np.nan, np.float32), "positive entry and no NaN"),
        (np.eye(3, dtype=np.float32)[[[2, 0, 0]]], r"an index from 0 to 1 for Dict\['arm'\]\[0\]. Received: index=2"),
    ],
)
def test_a_draw_that_is_no_action_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        RAGGED.to_env(draw)


def test_symbolic_tensors_are_refused_with_the_way_out():
    @tf.function
    def convert(draw):
        return RAGGED.to_env(draw)

    with pytest.raises(ValueError, match=r"runs on the host. Within tf\.function work with factor indices"):
        convert(tf.zeros((3, 3)))
