from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsample import spaces
from tests.helpers import ALL_SPACES, space_name
from tests.test_spaces import Recorder, nested_spaces

each_space = pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)


def random_legal(factors, batch, seed=0):
    """For each factor a mask [*batch, size], int8, with at least one legal category everywhere."""
    generator = np.random.default_rng(seed)
    masks = []
    for size in factors.sizes:
        legal = generator.random((*batch, size)) < 0.5
        np.put_along_axis(legal, generator.integers(0, size, (*batch, 1)), True, axis=-1)
        masks.append(legal.astype(np.int8))
    return masks


def padded(factors, masks):
    """The reference: every factor's mask copied row by row into its place."""
    batch = masks[0].shape[:-1]
    legal = np.zeros((*batch, factors.num_factors, factors.num_categories), bool)
    for row in np.ndindex(batch):
        for factor, mask in enumerate(masks):
            for category, entry in enumerate(mask[row]):
                legal[(*row, factor, category)] = entry == 1
    return legal[..., 0, :] if factors.single else legal


def as_sample_takes_it(space, masks):
    """Nests an iterator over the factors' masks as `space.sample(mask=...)` takes them."""
    if isinstance(space, Dict):
        return {key: as_sample_takes_it(entry, masks) for key, entry in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(as_sample_takes_it(entry, masks) for entry in space.spaces)
    if isinstance(space, Discrete):
        return next(masks)
    if isinstance(space, MultiBinary):
        bits = [np.where(mask.all(-1), 2, mask[..., 1]) for mask in (next(masks) for _ in range(np.prod(space.shape)))]
        return np.stack(bits, axis=-1).reshape(*bits[0].shape, *space.shape).astype(np.int8)
    return in_axes_of(space.nvec, masks)


def in_axes_of(nvec, masks):
    return tuple(in_axes_of(row, masks) for row in nvec) if nvec.ndim else next(masks)


@each_space
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
def test_every_form_reads_alike(space, batch):
    factors = spaces.factorise(space)
    masks = random_legal(factors, batch)
    expected = padded(factors, masks)
    flat = np.concatenate(masks, axis=-1)
    forms = {
        "flat": flat,
        "flat bool": flat.astype(bool),
        "flat int64": flat.astype(np.int64),
        "padded": expected,
        "as sample takes it": as_sample_takes_it(space, iter(masks)),
    }
    if not factors.single:
        forms |= {"list of factors": masks, "tuple of bool factors": tuple(mask.astype(bool) for mask in masks)}
    for name, form in forms.items():
        result = factors.mask(form)
        assert result.dtype == bool, name
        np.testing.assert_array_equal(result, expected, err_msg=name)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(space=nested_spaces, seed=st.integers(0, 2**16))
def test_gymnasium_samples_only_what_the_mask_allows(space, seed):
    factors = spaces.factorise(space)
    nested = as_sample_takes_it(space, iter(random_legal(factors, (), seed)))
    space.seed(seed)
    indices = np.reshape([factors.from_env(space.sample(mask=nested)) for _ in range(8)], (8, factors.num_factors))
    legal = np.reshape(factors.mask(nested), (factors.num_factors, factors.num_categories))
    assert legal[np.arange(factors.num_factors), indices].all()


@each_space
def test_no_mask_is_the_padding_mask(space):
    factors = spaces.factorise(space)
    if factors.padding_mask is None:
        assert factors.mask() is None
        assert factors.mask(batch=3) is None
    else:
        np.testing.assert_array_equal(factors.mask(), factors.padding_mask)
        np.testing.assert_array_equal(factors.mask(batch=3), [factors.padding_mask] * 3)


def test_entries_without_a_mask_are_free():
    factors = spaces.factorise(Dict({"a": MultiDiscrete([2, 3]), "b": Discrete(2)}))
    legal = factors.mask({"a": (None, [0, 0, 1]), "b": None})
    np.testing.assert_array_equal(legal, [[1, 1, 0], [0, 0, 1], [1, 1, 0]])


def test_entries_may_mix_forms_and_batches():
    factors = spaces.factorise(Tuple((MultiDiscrete([2, 3]), MultiBinary(2))))
    legal = factors.mask((np.array([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1]]), np.array([2, 0])))
    np.testing.assert_array_equal(legal[0], [[1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(legal[1], [[0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 0]])


def test_a_written_out_list_is_a_flat_mask():
    factors = spaces.factorise(MultiDiscrete([2, 3]))
    np.testing.assert_array_equal(factors.mask([True, False, True, True, False]), [[1, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(spaces.factorise(Discrete(3)).mask([1, 0, 1]), [True, False, True])


def test_ragged_lists_are_one_mask_per_factor():
    factors = spaces.factorise(MultiDiscrete([2, 3]))
    np.testing.assert_array_equal(factors.mask([[0, 1], [1, 1, 0]]), [[0, 1, 0], [1, 1, 0]])


def test_what_a_padded_mask_says_of_the_padding_is_ignored():
    factors = spaces.factorise(MultiDiscrete([1, 3]))
    mask = np.ones((2, 3), bool)
    np.testing.assert_array_equal(factors.mask(mask), factors.padding_mask)
    assert mask.all()  # the caller's array is left alone


def test_integers_in_the_shape_of_a_multibinary_are_gymnasiums():
    factors = spaces.factorise(MultiBinary(2))
    both_ways = np.array([[0, 1], [1, 1]])
    np.testing.assert_array_equal(factors.mask(both_ways), [[[1, 0], [0, 1]], [[0, 1], [0, 1]]])
    np.testing.assert_array_equal(factors.mask(both_ways.astype(bool)), both_ways)


def test_a_mask_is_broadcast_to_the_batch_and_copied():
    factors = spaces.factorise(Discrete(3))
    mask = np.array([True, False, True])
    legal = factors.mask(mask, batch=(2, 2))
    assert legal.shape == (2, 2, 3)
    legal[0, 0] = False
    np.testing.assert_array_equal(legal[1, 1], mask)
    factors.mask(mask)[:] = False
    assert mask.any()


def test_absent_rows_are_free():
    factors = spaces.factorise(MultiDiscrete([2, 3]))
    flat = np.array([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0]], np.int8)
    legal = factors.mask(flat, present=[True, False])
    np.testing.assert_array_equal(legal, [[[1, 0, 0], [0, 1, 0]], factors.padding_mask])


# Masks as vector environments hand them over: only the second and third environment report one.


@each_space
def test_masks_survive_a_vector_environment(space):
    factors = spaces.factorise(space)
    masks = random_legal(factors, (3,))
    rows = [None, *(as_sample_takes_it(space, iter([mask[i] for mask in masks])) for i in (1, 2))]
    envs = gym.vector.SyncVectorEnv([lambda row=row: Recorder(space, [row]) for row in rows])
    _, info = envs.reset(seed=0)
    legal = factors.mask(info["action_mask"], batch=3, present=info["_action_mask"])
    expected = padded(factors, masks)
    expected[0] = True if factors.padding_mask is None else factors.padding_mask
    np.testing.assert_array_equal(legal, expected)


def test_flags_inside_a_dict_free_the_rows_without_a_mask():
    space = Dict({"a": Discrete(2), "b": Dict({"c": Discrete(2)})})
    rows = [{"a": np.array([0, 1], np.int8)}, {"a": np.array([1, 0], np.int8), "b": {"c": np.array([0, 1], np.int8)}}]
    envs = gym.vector.SyncVectorEnv([lambda row=row: Recorder(space, [row]) for row in rows])
    _, info = envs.reset(seed=0)
    legal = spaces.factorise(space).mask(info["action_mask"])
    np.testing.assert_array_equal(legal, [[[0, 1], [1, 1]], [[1, 0], [0, 1]]])


def test_taxi_reports_a_mask_for_every_row():
    envs = gym.make_vec("Taxi-v4", num_envs=3, vectorization_mode="sync")
    factors = spaces.factorise(envs.single_action_space)
    _, info = envs.reset(seed=0)
    legal = factors.mask(info["action_mask"], batch=3, present=info["_action_mask"])
    np.testing.assert_array_equal(legal, info["action_mask"] == 1)
    assert not legal.all()
    envs.close()


# What is refused

SINGLE = spaces.factorise(Discrete(3))
RAGGED = spaces.factorise(MultiDiscrete([2, 3]))
BITS = spaces.factorise(Dict({"bits": MultiBinary(3)}))
NESTED = spaces.factorise(Dict({"arm": MultiDiscrete([2, 3]), "steer": Discrete(3)}))


@pytest.mark.parametrize(
    ("factors", "mask", "message"),
    [
        (SINGLE, np.ones(4, bool), r"the mask of Discrete to have shape \[..., 3\]. Received: shape=\(4,\)"),
        (SINGLE, True, r"shape \[..., 3\]. Received: shape=\(\)"),
        (SINGLE, np.ones(3, np.float32), "bool, or integers 0 and 1. Received: dtype='float32'"),
        (SINGLE, "110", "bool, or integers 0 and 1"),
        (SINGLE, object(), "bool, or integers 0 and 1. Received: dtype='object'"),
        (SINGLE, np.array([0, 1, 2]), "the mask of Discrete to have entries 0 and 1. Received: entry=2"),
        (SINGLE, np.array([0, 1, -1]), "entries 0 and 1. Received: entry=-1"),
        (SINGLE, {"a": 1}, r"the mask of Discrete to be an array or a sequence. Received: mask=\{'a': 1\}"),
        (SINGLE, [[1, 0], [1, 0, 0]], "mask to be an array with rows of one length"),
        (SINGLE, [[0, 1, 1], [0, 0, 0]], "at least one legal category of Discrete. Received: legal=0, row=1.*present"),
        (SINGLE, [0, 0, 0], r"at least one legal category of Discrete. Received: legal=0\. "),
        (RAGGED, np.ones((2, 4), bool), r"MultiDiscrete to have shape \[..., 5\] or \[..., 2, 3\]. Received"),
        (RAGGED, [[1, 1], [1, 1, 1], [1]], "the mask of MultiDiscrete to have 2 entries. Received: length=3"),
        (RAGGED, [[1, 1, 1], [1, 1, 1]], r"MultiDiscrete\[0\] to have shape \[..., 2\]. Received: shape=\(3,\)"),
        (RAGGED, [[[1, 1]] * 2, [[1, 1, 1]] * 3], r"one batch shape.*\[0\]=\(2,\), MultiDiscrete\[1\]=\(3,\)"),
        (RAGGED, np.array([[0, 0, 1], [1, 1, 1]], bool), r"at least one legal category of MultiDiscrete\[0\]"),
        (BITS, {"bits": np.array([0, 1, 3])}, r"Dict\['bits'\] to have entries 0, 1 and 2. Received: entry=3"),
        (BITS, {"bits": np.ones(3, bool)}, r"\[..., 6\] or \[..., 3, 2\] or \[..., 3\] \(integers\)"),
        (NESTED, {"arm": None}, r"the mask of Dict to be a dict with keys \['arm', 'steer'\]"),
        (NESTED, {"arm": None, "steer": None, "_other": None}, "to be a dict with keys"),
        (NESTED, {"arm": None, "steer": [[1, 1, 1], [0, 0, 0]]}, r"legal category of Dict\['steer'\].*row=1"),
    ],
)
def test_a_mask_of_no_known_form_is_refused(factors, mask, message):
    with pytest.raises(ValueError, match=message):
        factors.mask(mask)


def test_a_mask_that_does_not_fit_the_batch_is_refused():
    with pytest.raises(ValueError, match=r"batch shape \(3,\). Received: batch=\(2,\)"):
        SINGLE.mask(np.ones((2, 3), bool), batch=3)
    with pytest.raises(ValueError, match=r"present to have the batch shape .*present=\(3,\), batch=\(2,\)"):
        SINGLE.mask(np.ones((2, 3), bool), present=np.ones(3, bool))


def test_a_row_that_holds_several_masks_is_refused():
    rows = np.full(2, None, object)
    rows[1] = np.ones((2, 3), bool)
    with pytest.raises(ValueError, match=r"one mask per row\. Received: row=1"):
        SINGLE.mask(rows)
