"""Configurations that nobody would write on purpose, and what the command says to them."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import yaml

from rlsample import samplers, schedules
from rlsample.runs import RunConfig, config_from_dict, config_to_dict, config_to_yaml, load_config, training
from rlsample.runs.agents import make_policy
from rlsample.runs.describe import describe_fields
from scripts import train
from tests.helpers_agents import AGENTS, ALL_AGENTS

ENVIRONMENTS = (
    "CartPole-v1",
    "rlsample/CartPole-v1",
    "rlsample/GridWorld-v0",
    "FrozenLake-v1",
    "Taxi-v4",
    "Pendulum-v1",
)
SHIPPED = tuple(str(path) for path in sorted(Path("agents/configs").glob("*.yaml")))
DEFAULTS = {field.key: field.default for field in describe_fields(RunConfig)}
for name in ALL_AGENTS:
    DEFAULTS |= {field.key: field.default for field in describe_fields(AGENTS[name], "agent.")}
FIELDS = [
    *DEFAULTS,
    "agent",
    "agent.name",
    "env",
    "sampler",
    "temperature",
    "temperature.start",
    "sampler.num_samples",
    "network.hidden_sizes",
]

NAMES = st.sampled_from(
    [*ALL_AGENTS, *sorted(samplers.SAMPLERS), *sorted(schedules.SCHEDULES), *ENVIRONMENTS, "offline", "disabled"]
)
# Small enough to build a network of, and to leave tables of this size in memory.
SIZES = st.integers(-2, 40)
NUMBERS = st.one_of(
    SIZES,
    st.floats(),
    st.integers(),
    st.sampled_from([0, 1, -1, 1e-3, 2**31, 2**63, 2**64, 10**400, 1e30, 1e300, 1e-300]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, NAMES, st.text(max_size=12), st.binary(max_size=4), st.dates())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["name", "id", "value", "start", "end"]), SCALARS), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
PLAIN_TEXT = st.text("abe01:-_.#&*!|>%@`'\"{}[],? \n\t~<é\x00\x85\ud800", max_size=60)


class Case(NamedTuple):
    """A file's content and the words after it."""

    content: bytes
    words: list[str]


def blocks_of(pairs: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested dictionaries; a later key replaces what is in its way."""
    tree: dict[str, Any] = {}
    for key, value in pairs.items():
        *path, last = key.split(".")
        block = tree
        for part in path:
            block[part] = block[part] if isinstance(block.get(part), dict) else {}
            block = block[part]
        block[last] = value
    return tree


def kind_of(key: str) -> st.SearchStrategy[Any]:
    """Values of the kind that a key holds; not all are in its bounds."""
    named = {"agent": ALL_AGENTS, "agent.name": ALL_AGENTS, "env": ENVIRONMENTS, "env.id": ENVIRONMENTS}
    named |= {"sampler": sorted(samplers.SAMPLERS), "tracking.wandb": ["offline", "disabled"]}
    default = DEFAULTS.get(key, "1.0")
    if key in named:
        return st.sampled_from(named[key])
    if default in ("true", "false"):
        return st.booleans()
    if key == "network.hidden_sizes":
        return st.lists(SIZES, max_size=3)
    if default.isdigit() or default == "required":
        return st.integers(-1, 10_000)
    return st.floats(-0.1, 2.0) if default.replace(".", "").isdigit() else st.one_of(st.none(), SIZES, NAMES)


@st.composite
def keys(draw: Any) -> str:
    """Mostly keys that there are."""
    return draw(st.sampled_from(FIELDS)) if draw(st.integers(0, 19)) else draw(st.text(max_size=10))


@st.composite
def values(draw: Any, key: str) -> Any:
    """Values for a key, of which most are of its kind."""
    value = draw(kind_of(key)) if draw(st.integers(0, 9)) < 7 else draw(VALUES)
    # Layers of any number of units would be built.
    return draw(kind_of(key)) if key == "network.hidden_sizes" and isinstance(value, list) else value


@st.composite
def yaml_files(draw: Any) -> bytes:
    """Mappings of fields, most of them right, as YAML; or something that looks like it; or bytes."""
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return draw(st.binary(max_size=60))
    if kind == 1:
        return draw(PLAIN_TEXT).encode("utf-8", "surrogatepass")
    if kind == 2:
        return dumped(draw(VALUES))
    if kind < 7:
        return f"base: {Path(draw(st.sampled_from(SHIPPED))).resolve()}".encode()
    right = {"agent": draw(st.sampled_from(ALL_AGENTS)), "env.id": "rlsample/CartPole-v1", "total_steps": 1000}
    pairs = {key: value for key, value in right.items() if draw(st.integers(0, 19))}
    return dumped(blocks_of(pairs | {key: draw(values(key)) for key in draw(st.lists(keys(), max_size=3))}))


@st.composite
def words(draw: Any) -> str:
    """A `key=value` word, or something that is none."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.text(max_size=20))
    key = draw(keys())
    if draw(st.integers(0, 9)) == 0:
        return f"{key}={draw(PLAIN_TEXT)}"
    return f"{key}={dumped(draw(values(key))).decode('utf-8', 'replace').removesuffix('...' + chr(10)).strip()}"


CASES = st.builds(Case, yaml_files(), st.lists(words(), max_size=2))


def said_to(case: Case, folder: Path) -> str:
    """Gives a case to `scripts.train`, which stops where it would train; checks what it says and does.

    Returns:
        "accepted", or the first line of what it said.
    """
    path, accepted, said = folder / "case.yaml", [], io.StringIO()
    path.write_bytes(case.content)

    def up_to_training(run: Any, agents: Any) -> None:
        make_policy(agents.module(run.config.agent.name), run.config)
        for step in (0, run.config.total_steps):
            assert 0 < float(run.config.temperature(step)) < float("inf")
        accepted.append(run.config)

    original, training.carry_out = training.carry_out, up_to_training
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = train.main([str(path), *case.words, "--run-dir", str(folder / "run")], AGENTS)
    except SystemExit as stop:  # An option that is none: argparse says so.
        code = stop.code
    finally:
        training.carry_out = original
        os.unlink(path)
    text = said.getvalue()
    if accepted:
        assert code == 0, text
        (config,) = accepted
        assert config_from_dict(config_to_dict(config), agents=AGENTS) == config
        saved = folder / "saved.yaml"
        saved.write_text(config_to_yaml(config), encoding="utf-8")
        assert load_config(saved, agents=AGENTS, inherit=False) == config
        return "accepted"
    # A limit of a second may be too short on a busy machine, which is then said.
    assert code == 2 or "env.step_seconds" in text, text
    assert "Traceback" not in text
    assert any(word in text for word in ("Expected", "Unknown", "should be", "usage:", "--import")), text
    return text.splitlines()[0]


def dumped(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
