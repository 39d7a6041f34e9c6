from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from rlsample import samplers, schedules
from rlsample.runs import (
    AgentConfig,
    ConfigError,
    RunConfig,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    load_config,
    yaml_files,
)
from rlsample.runs.agents import Agents
from rlsample.runs.loading import check_config
from scripts.catalogue import known_agents
from tests import toy_agents


class ToyConfig(AgentConfig):
    hidden: tuple[int, ...] = (8,)
    learning_rate: float = Field(default=1e-3, gt=0)


class OtherConfig(AgentConfig):
    discount: float = 0.99


AGENTS = {"toy": ToyConfig, "other": OtherConfig}
PLAIN = {"agent": "toy", "env": "CartPole-v1", "total_steps": 100}
CARTPOLE = Path(__file__).parent.parent / "agents" / "configs" / "cartpole.yaml"


def built(**changes) -> RunConfig:
    return config_from_dict(PLAIN | changes, agents=AGENTS)


def refused(**changes) -> str:
    with pytest.raises(ConfigError) as caught:
        built(**changes)
    return str(caught.value)


def written(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


PLAIN_YAML = "agent: toy\nenv: CartPole-v1\ntotal_steps: 100\n"


def test_bare_names_stand_for_blocks():
    config = built(sampler="straight_through", temperature=0.5)
    assert config.agent == ToyConfig(name="toy")
    assert config.env.id == "CartPole-v1"
    assert config.sampler == samplers.create("straight_through")
    assert config.temperature == schedules.create(0.5)


def test_the_whole_of_the_cartpole_config_loads():
    class Config(AgentConfig):
        pass

    config = load_config(CARTPOLE, agents={"relaxed_actor_critic": Config})
    assert (config.env.id, config.env.num_envs, config.total_steps, config.seed) == ("CartPole-v1", 8, 30_000, 1)
    assert config.sampler.name == "straight_through_gumbel_softmax"
    assert float(config.temperature(0)) == 1.0
    assert float(config.temperature(30_000)) == pytest.approx(0.1)
    assert config.tracking.wandb == "offline"
    assert config.evaluation.episodes == 20


def test_it_does_not_change():
    config = built()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 2
    assert isinstance(built(agent={"name": "toy", "hidden": [3, 4]}).agent.hidden, tuple)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": "straight_thru"}, ["sampler:", "Did you mean 'straight_through'?", "gumbel_softmax"]),
        ({"sampler": {"name": "straight_through", "num_sample": 3}}, ["sampler:", "num_sample"]),
        ({"temperature": "exponental"}, ["temperature:", "Did you mean 'exponential'?", "cosine"]),
        ({"temperature": {"name": "exponential", "strat": 1.0}}, ["temperature:", "Did you mean 'start'?"]),
        ({"agent": "toi"}, ["agent:", "Did you mean 'toy'?", "other"]),
        ({"agent": {"name": "toy", "hiden": [3]}}, ["agent.hiden:", "Did you mean 'hidden'?", "learning_rate"]),
        ({"env": "CartPole-v9"}, ["env.id:", "Did you mean 'CartPole-v1'?", "--import MODULE"]),
        ({"env": {"id": "CartPole-v1", "num_env": 3}}, ["env.num_env:", "Did you mean 'num_envs'?"]),
        ({"total_step": 3}, ["total_step:", "Did you mean 'total_steps'?"]),
        ({"tracking": {"wand": "offline"}}, ["tracking.wand:", "Did you mean 'wandb'?"]),
    ],
)
def test_a_misspelt_name_gets_its_place_the_nearest_and_the_list(changes, words):
    message = refused(**changes)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"seed": True}, "seed:"),
        ({"seed": 1.5}, "seed:"),
        ({"seed": "1"}, "seed:"),
        ({"seed": -1}, "seed:"),
        ({"seed": 2**31}, "seed:"),
        ({"total_steps": 0}, "total_steps:"),
        ({"total_steps": None}, "total_steps:"),
        ({"env": {"id": "CartPole-v1", "num_envs": 0}}, "env.num_envs:"),
        ({"env": {}}, "env.id:"),
        ({"env": {"id": "CartPole-v1", "kwargs": {"num_envs": 3}}}, "env.kwargs:"),
        ({"env": {"id": "CartPole-v1", "kwargs": {"functional": "os:system"}}}, "env.kwargs: Expected no code"),
        ({"env": {"id": "CartPole-v1", "wrappers": [[]]}}, "env.wrappers: Expected a wrapper's name or a mapping"),
        ({"env": {"id": "CartPole-v1", "kwargs": {"x": math.nan}}}, "env.kwargs"),
        ({"env": {"id": "CartPole-v1", "vectorization_mode": "parallel"}}, "env.vectorization_mode:"),
        ({"agent": None}, "agent:"),
        ({"agent": {"hidden": [3]}}, "agent:"),
        ({"agent": {"name": ["toy"]}}, "agent:"),
        ({"agent": {"name": "toy", "learning_rate": math.nan}}, "agent.learning_rate:"),
        ({"agent": {"name": "toy", "learning_rate": math.inf}}, "agent.learning_rate:"),
        ({"agent": {"name": "toy", "learning_rate": "abc"}}, "agent.learning_rate:"),
        ({"agent": {"name": "toy", "learning_rate": 0}}, "agent.learning_rate:"),
        ({"sampler": 5}, "sampler:"),
        ({"sampler": None}, "sampler:"),
        ({"sampler": {"name": ["x"]}}, "sampler:"),
        ({"temperature": 0}, "temperature:"),
        ({"temperature": -1.0}, "temperature:"),
        ({"temperature": True}, "temperature:"),
        ({"temperature": math.nan}, "temperature:"),
        ({"temperature": math.inf}, "temperature:"),
        ({"temperature": {"name": "exponential", "start": math.inf}}, "temperature:"),
        ({"temperature": {"name": "piecewise", "boundaries": 5, "values": [1.0]}}, "temperature:"),
        ({"tracking": {"wandb": False}}, "tracking.wandb:"),
        ({"tracking": {"tags": "one"}}, "tracking.tags:"),
        ({"evaluation": {"episodes": 0}}, "evaluation.episodes:"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(changes, place):
    assert place in refused(**changes)


def test_every_problem_is_told_at_once():
    message = refused(seed=True, sampler="none", agent={"name": "toy", "hiden": 3})
    assert all(place in message for place in ("seed:", "sampler:", "agent.hiden:"))


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="total_steps: Expected a value"):
        config_from_dict({"agent": "toy", "env": "CartPole-v1"}, agents=AGENTS)
    with pytest.raises(ConfigError, match="agent: Expected a value"):
        config_from_dict({"env": "CartPole-v1", "total_steps": 1}, agents=AGENTS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sampler=gumbel_softmax"], {"name": "gumbel_softmax"}),
        (["sampler={name: gumbel_softmax}"], {"name": "gumbel_softmax"}),
        (["sampler.name=gumbel_softmax"], {"name": "gumbel_softmax"}),
        (["sampler.num_samples=10"], {"name": "straight_through", "num_samples": 10, "other": 1}),
        (["sampler.num_samples=10", "sampler=gumbel_rao"], {"name": "gumbel_rao", "num_samples": 10}),
        (["sampler.num_samples=10", "sampler.name=gumbel_rao"], {"name": "gumbel_rao", "num_samples": 10}),
    ],
)
def test_a_word_for_a_block_replaces_it_and_one_for_a_key_edits_it(words, expected):
    below = {"sampler": {"name": "straight_through", "other": 1}}
    assert yaml_files.override(below, words)["sampler"] == expected


@pytest.mark.parametrize(
    ("words", "kwargs"),
    [
        (["env=Acrobot-v1"], None),
        (["env.id=Acrobot-v1"], None),
        (["env.kwargs.rows=9", "env.id=Acrobot-v1"], {"rows": 9}),
        (["env=GridWorld-v0"], {"rows": 8, "columns": 8}),
        (["env.num_envs=4"], {"rows": 8, "columns": 8}),
    ],
)
def test_another_environment_leaves_the_keywords_of_the_one_before(words, kwargs):
    below = {"env": {"id": "GridWorld-v0", "num_envs": 4, "kwargs": {"rows": 8, "columns": 8}}}
    env = yaml_files.override(below, words)["env"]
    assert env.get("kwargs") == kwargs
    assert env["num_envs"] == 4


def test_overrides_of_every_depth():
    config = load_config(
        CARTPOLE,
        ["agent=toy", "agent.hidden=[3, 4]", "seed=3", "temperature.start=2", "env.kwargs.sutton_barto_reward=true"],
        agents=AGENTS,
    )
    assert config.agent == ToyConfig(name="toy", hidden=(3, 4))
    assert config.seed == 3
    assert (config.temperature.start, config.temperature.end) == (2, 0.1)
    assert float(config.temperature(0)) == 2.0
    assert config.env.kwargs == {"sutton_barto_reward": True}
    assert load_config(CARTPOLE, ["agent=toy", "temperature=0.7"], agents=AGENTS).temperature == schedules.create(0.7)
    assert load_config(CARTPOLE, ["agent=toy", "seed=3", "seed=4"], agents=AGENTS).seed == 4


def test_a_number_as_temperature_can_be_edited():
    assert yaml_files.override({"temperature": 0.5}, ["temperature.value=2.0"]) == {
        "temperature": {"name": "constant", "value": 2.0}
    }


@pytest.mark.parametrize(
    "word", ["seed", "=3", ".seed=3", "a..b=1", "seed =3", "", "--seed=3", "seed=[", "seed={a: 1, a: 2}"]
)
def test_a_word_that_is_no_override_is_refused(word):
    with pytest.raises(ConfigError):
        load_config(CARTPOLE, [word], agents=AGENTS)


def test_base_is_inherited(tmp_path):
    written(
        tmp_path, PLAIN_YAML + "sampler: {name: straight_through}\ntemperature: {name: linear, start: 2.0}", "base.yaml"
    )
    (tmp_path / "below").mkdir()
    middle = "base: ../base.yaml\ntemperature: {end: 0.5}\nseed: 5\n"
    written(tmp_path / "below", middle, "middle.yaml")
    path = written(tmp_path / "below", "base: middle.yaml\nseed: 6\nsampler: gumbel_softmax\n")
    config = load_config(path, agents=AGENTS)
    assert config.seed == 6
    assert config.sampler == samplers.create("gumbel_softmax")
    assert config.temperature == schedules.create({"name": "linear", "start": 2.0, "end": 0.5})
    with pytest.raises(ConfigError, match="base: Unknown key"):
        load_config(path, agents=AGENTS, inherit=False)


@pytest.mark.parametrize("text", ["base: run.yaml\n", "base: other.yaml\n"])
def test_a_circle_of_bases_is_refused(tmp_path, text):
    written(tmp_path, "base: run.yaml\n", "other.yaml")
    with pytest.raises(ConfigError, match="lead back"):
        load_config(written(tmp_path, text), agents=AGENTS)


def test_an_unreadable_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml", agents=AGENTS)
    with pytest.raises(ConfigError, match="a configuration file that is there"):
        load_config(tmp_path, agents=AGENTS)
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(written(tmp_path, "base: none.yaml\n"), agents=AGENTS)
    with pytest.raises(ConfigError, match="path of another file"):
        load_config(written(tmp_path, "base: [a]\n"), agents=AGENTS)
    with pytest.raises(ConfigError, match="at most 1000000 bytes"):
        load_config(written(tmp_path, "#" * 1_000_001), agents=AGENTS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("-2E+4", -2e4), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e5", 1e5), (".inf", math.inf),
        ("7", 7), ("0", 0), ("-3", -3), ("010", "010"), ("1:30", "1:30"), ("no", "no"), ("off", "off"),
        ("true", True), ("~", None), ("2020-01-01", "2020-01-01"), ("1_000", "1_000"), ("0x10", "0x10"),
        ("e5", "e5"), ("'1e-3'", "1e-3"),
    ],
)  # fmt: skip
def test_yaml_scalars_mean_what_they_look_like(text, value):
    read = yaml_files.parse(f"a: {text}", "test")["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch canary']",
        "!!python/name:os.system",
        "{a: !!python/object/new:subprocess.Popen [[touch, canary]]}",
        "!!binary aGVsbG8=",
        "!!timestamp x",
        "!!bool x",
        "!custom {}",
        "[&a [1], *a]",
        "&a [*a]",
        "{a: 1, a: 2}",
        "{1: 2}",
        "{[1]: 2}",
        "[" * 5000,
        "{" * 5000,
        "a: b: c",
        "\x00",
    ],
)
def test_yaml_that_is_not_plain_data_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    for document in (text, f"seed: {text}"):
        with pytest.raises(ConfigError):
            load_config(written(tmp_path, document), agents=AGENTS)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "value", [1e-5, 3, True, None, "1e-5", "no", "a, b", "{", "", [[4], []], {"name": "gumbel_rao", "steps": (1, 2)}]
)
def test_a_value_on_one_line_is_read_back_as_it_was(value):
    data = yaml_files.override({}, [f"key={yaml_files.flow(value)}"])
    assert data["key"] == ({**value, "steps": [1, 2]} if isinstance(value, dict) else value)


def test_a_rule_about_a_whole_block_is_told_at_the_block():
    words = ["agent=ppo", "agent.learning_rate=0"]
    with pytest.raises(ConfigError, match=r"\n  agent: Expected learning_rate > 0"):
        load_config(CARTPOLE, words, agents=known_agents())


@pytest.mark.parametrize("name", ["../toy", "os", "agents.toy", "/etc/passwd", "__init__", "toy.py", "toy\x00", ""])
def test_an_agent_is_found_by_its_listed_name_only(name):
    assert "agent: Unknown agent" in refused(agent={"name": name})


@pytest.mark.parametrize("word", ["agent.lerning_rate=1", "env.foo=1", "seed=-1", "foo=1", "agent=toi", "agent=[]"])
def test_what_is_told_without_tensorflow_is_what_is_told_with_it(word):
    messages = []
    for read in (check_config, load_config):
        with pytest.raises(ConfigError) as error:
            read(Path(toy_agents.__path__[0]) / "toy.yaml", [word], agents=Agents(toy_agents))
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_an_id_that_would_import_a_module_is_refused():
    message = refused(env="antigravity:Env-v0")
    assert "an id without a module" in message
    assert "--import antigravity and env.id=Env-v0" in message
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("key", ["api_key", "API-TOKEN".replace("-", "_"), "password", "client_secret", "credentials"])
def test_secrets_are_refused_and_not_repeated(key):
    for kwargs in ({key: "canary"}, {"nested": [{key: "canary"}]}):
        message = refused(env={"id": "CartPole-v1", "kwargs": kwargs})
        assert key in message
        assert "canary" not in message
    assert "canary" not in refused(tracking={key: "canary"})


text = st.text(max_size=8)
positive = st.floats(min_value=1e-6, max_value=1e6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z_]{1,4}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=5,
)
configs = st.fixed_dictionaries(
    {
        "agent": st.just("other")
        | st.fixed_dictionaries(
            {"name": st.just("toy"), "hidden": st.lists(st.integers(), max_size=3), "learning_rate": positive}
        ),
        "env": st.fixed_dictionaries(
            {"id": st.sampled_from(["CartPole-v1", "Acrobot-v1"])},
            optional={"num_envs": st.integers(1, 99), "kwargs": st.dictionaries(st.just("x"), json_values)},
        ),
        "total_steps": st.integers(1, 2_000_000_000),
    },
    optional={
        "seed": st.integers(0, 2**31 - 1),
        "sampler": st.sampled_from(["straight_through", "gumbel_softmax", "exact"]),
        "temperature": positive
        | st.builds(
            lambda a, b, n: {"name": "cosine", "start": a, "end": b, "steps": n},
            positive,
            positive,
            st.integers(1, 10**6),
        )
        | st.builds(lambda a, b: {"name": "piecewise", "boundaries": [5], "values": [a, b]}, positive, positive),
        "tracking": st.fixed_dictionaries(
            {}, optional={"project": text, "group": st.none() | text, "tags": st.lists(text, max_size=3)}
        ),
        "evaluation": st.fixed_dictionaries(
            {"every": st.none() | st.integers(1, 10**9), "deterministic": st.booleans()}
        ),
    },
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(configs)
def test_yaml_gives_an_equal_config_back(data):
    config = config_from_dict(data, agents=AGENTS)
    document = config_to_yaml(config)
    read = yaml_files.parse(document, "test")
    assert read == config_to_dict(config)
    assert config_from_dict(read, agents=AGENTS) == config
    assert yaml.safe_load(document).keys() == read.keys()


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_give_anything_but_data_or_a_plain_refusal(content):
    try:
        yaml_files.parse(content, "test")
    except ValueError as error:
        message = str(error)
    else:
        message = "Expected"
    assert message.startswith("Expected")


@settings(derandomize=True, max_examples=500, deadline=None)
@given(
    configs,
    st.sampled_from([*RunConfig.model_fields, "other"]),
    st.none() | st.sampled_from(["name", "id", "x"]),
    json_values,
)
def test_no_data_give_anything_but_a_config_or_a_plain_refusal(data, key, inner, value):
    data[key] = value if inner is None else {inner: value}
    try:
        config = config_from_dict(data, agents=AGENTS)
    except ConfigError as error:
        named = str(error)
    else:
        named = key
        assert config_from_dict(config_to_dict(config), agents=AGENTS) == config
    assert key in named
