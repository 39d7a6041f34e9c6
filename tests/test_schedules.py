from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rlsample import schedules
from tests.helpers import MODES

START, END, STEPS = 2.0, 0.5, 100

CLOSED_FORMS = {
    "constant": ({"value": 0.7}, lambda t: 0.7),
    "linear": ({"start": START, "end": END, "steps": STEPS}, lambda t: START + (END - START) * t / STEPS),
    "exponential": ({"start": START, "end": END, "steps": STEPS}, lambda t: START * (END / START) ** (t / STEPS)),
    "cosine": (
        {"start": START, "end": END, "steps": STEPS},
        lambda t: END + (START - END) * (1 + np.cos(np.pi * t / STEPS)) / 2,
    ),
    "piecewise": (
        {"boundaries": [10, 60], "values": [1.0, 0.5, 0.1]},
        lambda t: 1.0 if t <= 10 else 0.5 if t <= 60 else 0.1,
    ),
}
ALL_SCHEDULES = tuple(schedules.create({"name": name} | options) for name, (options, _) in CLOSED_FORMS.items())
each_schedule = pytest.mark.parametrize("schedule", ALL_SCHEDULES, ids=lambda schedule: schedule.name)


def test_all_schedules_are_all():
    by_step = {name for name, kind in schedules.SCHEDULES.items() if issubclass(kind, schedules.Schedule)}
    assert {schedule.name for schedule in ALL_SCHEDULES} == by_step


@each_schedule
def test_values_are_the_closed_form(schedule):
    expected = CLOSED_FORMS[schedule.name][1]
    for step in (0, 1, 9, 10, 11, 50, 60, 61, 99, STEPS):
        value = schedule(step)
        assert value.dtype == tf.float32
        assert value.shape == ()
        np.testing.assert_allclose(value, expected(step), rtol=1e-5)


@each_schedule
def test_the_value_stays_before_the_first_step_and_past_the_last(schedule):
    expected = CLOSED_FORMS[schedule.name][1]
    for step in (-1, -(10**9)):
        np.testing.assert_allclose(schedule(step), expected(0), rtol=1e-6)
    for step in (STEPS + 1, 10**6, 2**31 - 1, 10**12):
        np.testing.assert_allclose(schedule(step), expected(STEPS), rtol=1e-5)


@pytest.mark.parametrize("mode", ["graph", "xla"])
@each_schedule
def test_a_moving_step_never_retraces(schedule, mode):
    traces, variable = [], tf.Variable(0, dtype=tf.int64)

    @MODES[mode]
    def value(step):
        traces.append(step)
        return schedule(step), schedule(variable)

    for step in (0, 11, 100, 1000):
        variable.assign(step)
        for found in value(tf.constant(step, tf.int64)):
            np.testing.assert_allclose(found, schedule(step), rtol=1e-5)
    assert len(traces) == 1


@each_schedule
def test_a_schedule_equals_what_its_config_makes_and_never_changes(schedule):
    config = schedule.to_config()
    assert schedules.create(config) == schedule
    assert schedules.create(schedule) is schedule
    assert hash(schedules.create(config)) == hash(schedule)
    assert all(isinstance(value, (str, int, float, list)) for value in config.values())
    for field in dataclasses.fields(schedule):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(schedule, field.name, 1)


@pytest.mark.parametrize("boundary", [2**24, 20_000_001, 100_000_000])
def test_steps_that_float32_does_not_tell_apart_are_told_apart(boundary):
    schedule = schedules.Piecewise(boundaries=[boundary], values=[1.0, 0.5])
    assert [float(schedule(step)) for step in (boundary, boundary + 1, 2 * boundary)] == [1.0, 0.5, 0.5]


def test_a_number_is_a_constant_and_a_name_has_defaults():
    assert schedules.create(0.5) == schedules.Constant(value=0.5)
    assert schedules.create(2) == schedules.Constant(value=2.0)
    np.testing.assert_allclose(schedules.create(2)(7), 2)
    np.testing.assert_allclose(schedules.create("exponential")(30_000), 0.1, rtol=1e-5)
    np.testing.assert_allclose(schedules.create("exponential")(15_000), 0.316, atol=5e-4)


def test_an_integer_in_a_config_is_a_float():
    assert schedules.create({"name": "linear", "start": 2, "end": 1, "steps": 10}).start == 2.0
    np.testing.assert_allclose(schedules.create({"name": "linear", "start": 2, "end": 1, "steps": 10})(5), 1.5)


def test_a_schedule_may_rise():
    rising = schedules.create({"name": "linear", "start": 1.0, "end": 3.0, "steps": 4})
    assert [float(rising(step)) for step in range(6)] == [1, 1.5, 2, 2.5, 3, 3]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("exponentail", "Did you mean 'exponential'"),
        ({"name": "linear", "begin": 1.0}, "Unknown option for the schedule 'linear' 'begin'"),
        ({"start": 1.0}, "key 'name'"),
        ({"name": ["linear"]}, "key 'name'"),
        (None, "a schedule's name"),
        (0.0, "temperature to be a finite number > 0"),
        (-1, "temperature"),
        (float("nan"), "temperature"),
        (float("inf"), "temperature"),
        (True, "temperature"),
        ({"name": "linear", "end": 0}, "end to be a finite number > 0"),
        ({"name": "linear", "start": "1"}, "start to be a number"),
        ({"name": "cosine", "steps": 0}, "steps to be a whole number >= 1"),
        ({"name": "exponential", "steps": 1.5}, "steps"),
        ({"name": "constant", "value": -2.0}, "value"),
        ({"name": "piecewise"}, "'boundaries'"),
        ({"name": "piecewise", "boundaries": [1]}, "'values'"),
        ({"name": "piecewise", "boundaries": [1], "values": [1.0]}, "one value more than boundaries"),
        ({"name": "piecewise", "boundaries": [5, 5], "values": [1, 2, 3]}, "boundaries to increase"),
        ({"name": "piecewise", "boundaries": [5], "values": [1, 0]}, "values to be a finite number > 0"),
        ({"name": "piecewise", "boundaries": [-1], "values": [1, 2]}, "boundaries"),
        ({"name": "piecewise", "boundaries": 3, "values": [1, 2]}, "boundaries"),
    ],
    ids=str,
)
def test_bad_configs_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        schedules.create(config)


@pytest.mark.parametrize("value", [1e39, 10**400, 1e-39])
def test_what_float32_does_not_hold_is_refused(value):
    with pytest.raises(ValueError, match=r"Expected (value|temperature) to be from 1.2e-38 to 3.4e\+38, as float32 is"):
        schedules.create(value)
