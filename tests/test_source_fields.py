"""The fields of a `Config` read from its source, against the class; where the source is not plain, nothing is read."""

from __future__ import annotations

import pytest

from rlsample.runs.agents import Agents
from rlsample.runs.describe import describe_fields
from rlsample.runs.source_fields import read_fields
from scripts.catalogue import known_agents
from tests import toy_agents

HEAD = "from typing import Annotated, ClassVar, Literal\nfrom pydantic import Field\nfrom rlsample import runs\n"


def written(folder, text):
    (folder / "mine.py").write_text(HEAD + text)
    return folder / "mine.py"


@pytest.mark.parametrize("agents", [known_agents(), Agents(toy_agents)], ids=["ours", "toy"])
def test_what_is_read_is_what_the_class_says(agents):
    for name in agents:
        assert agents.peek(name) == list(describe_fields(agents[name], "agent."))


def test_every_plain_form_is_read(tmp_path):
    path = written(
        tmp_path,
        """
class Config(runs.PopulationConfig):
    members_differ_in = ("rate",)
    others: ClassVar = ("sizes",)
    name: str = "mine"
    rate: float = Field(default=-1e-3, description="Of "
        "the optimizer.")
    sizes: tuple[int, ...] = Field(default=(8, 8))
    kind: Literal["one", "two"] | None = None
    flag: bool = True
    needed: int
    wanted: int = Field(ge=1, description="No default.")
    _hidden: int = 3

    def method(self) -> None:
        inside: int = 3
""",
    )
    definition: dict = {}
    exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), definition)
    fields = read_fields(path, "agent.")
    assert fields == list(describe_fields(definition["Config"], "agent."))
    assert ("agent.rate", "-0.001", "number", "Of the optimizer.") in fields
    assert [field.key for field in fields if field.default == "required"] == ["agent.needed", "agent.wanted"]
    choices = {field.key: field.choices for field in fields}
    assert choices["agent.kind"] == "one, two or null"
    assert choices["agent.sizes"] == "list of whole number"
    assert choices["agent.wanted"] == "whole number >= 1"
    assert choices["agent.flag"] == "true or false"


@pytest.mark.parametrize(
    "text",
    [
        "class Config(",
        "class Configuration(runs.AgentConfig):\n    rate: float = 1.0",
        "class Config(runs.AgentConfig):\n    rate: float = 1.0\nclass Config(runs.AgentConfig):\n    x: float = 1.0",
        "class Config:\n    rate: float = 1.0",
        "class Config(Other):\n    rate: float = 1.0",
        "class Config(runs.AgentConfig, Mixin):\n    rate: float = 1.0",
        "class Config(runs.AgentConfig, metaclass=Meta):\n    rate: float = 1.0",
        "if True:\n    class Config(runs.AgentConfig):\n        rate: float = 1.0",
        "class Config(runs.AgentConfig):\n    rate: float = RATE",
        "class Config(runs.AgentConfig):\n    rate: Rate = 1.0",
        "class Config(runs.AgentConfig):\n    rate: list[float] = [1.0]",
        "class Config(runs.AgentConfig):\n    rate: float = rate_of(3)",
        "class Config(runs.AgentConfig):\n    rate: float = Field(1.0)",
        "class Config(runs.AgentConfig):\n    rate: float = Field(default=RATE)",
        "class Config(runs.AgentConfig):\n    rate: float = Field(default_factory=float)",
        "class Config(runs.AgentConfig):\n    rate: float = Field(default=1.0, alias='pace')",
        "class Config(runs.AgentConfig):\n    rate: float = Field(**options)",
        "class Config(runs.AgentConfig):\n    rate: float = Field(default=1.0, description=f'{x}')",
        "class Config(runs.AgentConfig):\n    rate: Annotated[float, Field(description='Of it.')] = 1.0",
    ],
)
def test_in_doubt_nothing_is_read(tmp_path, text):
    assert read_fields(written(tmp_path, text)) is None


def test_the_fields_of_an_agent_beside_it_are_read_with_its_own(tmp_path):
    base = "class Config(runs.AgentConfig):\n    rate: float = 1.0\n    size: int = 3"
    (tmp_path / "base.py").write_text(HEAD + base)
    path = written(tmp_path, "from . import base\nclass Config(base.Config):\n    rate: float = 2.0")
    assert [(field.key, field.default) for field in read_fields(path)] == [("rate", "2.0"), ("size", "3")]


@pytest.mark.parametrize("text", ["import base", "from . import base as base", "from .. import base", "base = ppo"])
def test_of_a_base_from_elsewhere_nothing_is_read(tmp_path, text):
    (tmp_path / "base.py").write_text(HEAD + "class Config(runs.AgentConfig):\n    rate: float = 1.0")
    assert read_fields(written(tmp_path, f"{text}\nclass Config(base.Config):\n    size: int = 3")) is None


def test_a_file_that_is_not_there_has_nothing_to_read(tmp_path):
    assert read_fields(tmp_path / "none.py") is None
