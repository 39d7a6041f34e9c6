"""Streams of random numbers: no two consumers, and no two runs, share one."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest

from rlsample.streams import PURPOSES, Streams


def test_no_two_purposes_seeds_or_members_share_a_stream():
    keys = list(itertools.product(range(1, 6), PURPOSES, range(4)))
    for kind in ("integer", "pair"):
        seeds = [tuple(np.atleast_1d(getattr(Streams(seed), kind)(purpose, index))) for seed, purpose, index in keys]
        assert len(set(seeds)) == len(keys)
    draws = [Streams(seed).generator(purpose, index).integers(2**62) for seed, purpose, index in keys]
    assert len(set(draws)) == len(keys)


def test_vector_environments_of_adjacent_runs_share_no_episode():
    """A vector environment gives its copies consecutive seeds."""
    starts = []
    for seed in (1, 2):
        envs = gym.make_vec("Acrobot-v1", num_envs=20, vectorization_mode="sync")
        observations, _ = envs.reset(seed=Streams(seed).integer("evaluation environments"))
        starts.append({row.tobytes() for row in observations})
        envs.close()
    assert not starts[0] & starts[1]


def test_the_same_seed_gives_the_same_streams():
    assert Streams(3).integer("weights") == Streams(3).integer("weights")
    assert Streams(3).generator("replay").random() == Streams(3).generator("replay").random()
    assert 0 <= Streams(3).integer("weights") < 2**31
    assert Streams(3).pair("turns").dtype == np.int32


def test_bad_input():
    with pytest.raises(ValueError, match=r"Unknown purpose of random numbers 'weight'. Did you mean 'weights'"):
        Streams(1).integer("weight")
    with pytest.raises(ValueError, match="Expected seed to be a whole number >= 0"):
        Streams(-1)
