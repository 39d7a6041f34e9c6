"""scripts.benchmark: contestants take turns in processes of their own, and the tables say what they measured."""

import math

import pytest

from scripts.benchmark import __main__ as benchmark
from scripts.benchmark import tables
from scripts.benchmark.contest import Contestant, Entry, take_turns


def test_contestants_take_turns_and_report():
    with Contestant("tests.toy_contestant") as contestant:
        slow, quick = (Entry(f"{seconds}", contestant, seconds=seconds) for seconds in (0.05, 0.0))
        take_turns([slow, quick], rounds=3, calls=2)
        assert len(slow.seconds) == len(quick.seconds) == 6
        assert slow.median >= 0.05 > quick.median
        assert slow.facts == {"steps": 10}
        assert slow.peak_mb > 1
        slow.forget()
        assert "KeyError" in (slow.run(1) or slow.absent)


@pytest.mark.parametrize(
    ("module", "case", "why"),
    [
        ("tests.toy_contestant", {"seconds": 0, "fail": True}, "ValueError: unwilling"),
        ("no_such_peer", {}, "not installed (no_such_peer)"),
    ],
)
def test_a_contestant_that_cannot_take_part_says_why(module, case, why):
    with Contestant(module) as contestant:
        entry = Entry("absent", contestant, **case)
        take_turns([entry], rounds=2)
    assert why in entry.absent
    assert entry.seconds == []
    assert math.isnan(entry.median)


def test_tables_are_put_between_their_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin speed -->\nold\n<!-- end speed -->\nafter\n")
    table = tables.Table("speed", "How fast", ["", "ms"], [["ours", tables.milliseconds(0.00123)]])
    assert tables.write(table, page)
    shown = "How fast\n\n|  | ms |\n| --- | ---: |\n| ours | 1.23 |"
    assert page.read_text() == f"before\n<!-- begin speed -->\n{shown}\n<!-- end speed -->\nafter\n"
    assert not tables.write(table._replace(name="other"), page)


def test_numbers_are_shown_only_where_there_are_some():
    assert tables.ratio(1.0, 4.0) == "0.25"
    assert tables.ratio(1.0, float("nan")) == tables.ratio(1.0, 0.0) == tables.milliseconds(float("nan")) == "-"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["samplers", "--only", "zgr"], ["zgr", "Forward and backward at [8, 3]"]),
        pytest.param(["pieces", "--only", "act"], ["head acting for 8 environments, XLA"], marks=pytest.mark.slow),
        pytest.param(
            ["games", "--only", "foraging"],
            ["Games of several agents", "rlsample/Foraging-v0, 2 at once"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["replay", "--only", "gymnasium"],
            ["dqn, Gymnasium's CartPole", "rlsample"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["training", "--only", "gymnasium"],
            ["PPO, Gymnasium's CartPole", "rlsample, 4 environments"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_smallest_contest_of_each_suite(words, expected, capsys):
    """With peers that are not installed in this environment, or are: either way there is a table with our figures."""
    assert benchmark.main([*words, "--tiny"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in expected)
    ours = next(line for line in shown.splitlines() if expected[-1] in line or (expected[0] in line and "zgr" in line))
    assert "absent" not in ours


def test_an_unknown_suite_is_refused(capsys):
    with pytest.raises(SystemExit) as exit_code:
        benchmark.main(["speed"])
    assert exit_code.value.code == 2
    choices = "games, pieces, replay, samplers, scaling, torso, training"
    assert f"Unknown suite 'speed'. Choose one of: {choices}." in capsys.readouterr().err
