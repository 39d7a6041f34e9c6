"""Rows of several steps: against their definition, one step at a time."""

from __future__ import annotations

import numpy as np
import pytest

from rlsample.learning.n_step import BEGINNING, END, NStep


def play(steps, num_envs, seed=0):
    """Steps of environments that end at random; the step after an end only resets, and is not valid."""
    generator, played = np.random.default_rng(seed), []
    resetting = np.zeros(num_envs, bool)
    for step in range(steps):
        place = 100.0 * step + np.arange(num_envs, dtype=np.float32)
        ends = (generator.random((2, num_envs)) < 0.2) & ~resetting
        fields = {name: place + index for index, name in enumerate((*BEGINNING, *END[:2]))}
        fields |= {"reward": generator.normal(size=num_envs).astype(np.float32), "valid": ~resetting}
        played.append(fields | {"terminated": ends[0], "truncated": ends[1]})
        resetting = ends.any(0)
    return played


def expected(played, env, num_steps, discount):
    """First step -> (sum of rewards, discount, last step), for every row that is complete."""
    rows = {}
    for first in [step for step, fields in enumerate(played) if fields["valid"][env]]:
        total, factor = 0.0, 1.0
        for step in range(first, min(first + num_steps, len(played))):
            fields = played[step]
            total, factor = total + factor * fields["reward"][env], factor * discount
            if fields["terminated"][env] or fields["truncated"][env] or step - first + 1 == num_steps:
                rows[first] = total, factor, step
                break
    return rows


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5])
def test_rows_are_those_of_the_definition(num_steps):
    played, num_envs, discount = play(40, 3), 3, 0.9
    n_step = NStep(num_steps, discount)
    made = [n_step.add(fields) for fields in played]
    rows = {name: np.concatenate([each[name] for each in made]) for name in made[0]}
    assert rows["reward"].dtype == rows["discount"].dtype == np.float32
    found = {}
    for index, observation in enumerate(rows["observation"]):
        first, env = divmod(int(observation), 100)
        last = int(rows["next_observation"][index]) // 100
        assert rows["mask"][index] == observation + 1
        assert rows["action"][index] == observation + 2
        assert rows["next_mask"][index] == rows["next_observation"][index] + 1
        assert rows["terminated"][index] == played[last]["terminated"][env]
        found[env, first] = rows["reward"][index], rows["discount"][index], last
    wanted = {
        (env, first): row
        for env in range(num_envs)
        for first, row in expected(played, env, num_steps, discount).items()
    }
    assert len(rows["observation"]) == len(found)
    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        np.testing.assert_allclose(found[key], row, rtol=1e-5, atol=1e-6)


def test_it_goes_on_from_a_snapshot_or_begins_anew():
    played = play(12, 4, seed=1)
    whole, halted, begun_anew = NStep(3, 0.9), NStep(3, 0.9), NStep(3, 0.9)
    for fields in played[:7]:
        whole.add(fields)
        halted.add(fields)
        begun_anew.add(fields)
    other = NStep(3, 0.9)
    other.restore(halted.snapshot())
    begun_anew.restore({})
    begun_anew_rows = [begun_anew.add(fields) for fields in played[7:]]
    for fields in played[7:]:
        for one, two in zip(whole.add(fields).values(), other.add(fields).values(), strict=True):
            np.testing.assert_array_equal(one, two)
    assert min(np.concatenate([rows["observation"] for rows in begun_anew_rows])) >= 700
    assert NStep().snapshot() == {}


def test_at_least_one_step():
    with pytest.raises(ValueError, match="Expected num_steps"):
        NStep(0, 0.9)
