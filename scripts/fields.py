"""What a configuration can say, for `--help` and the shell: every field, of one agent where one is asked about."""

from __future__ import annotations

from collections.abc import Sequence

from rlsample.runs import RunConfig, yaml_files
from rlsample.runs.agents import Agents
from rlsample.runs.describe import FieldText, describe_fields, help_text
from rlsample.runs.shipped import find_config


def fields_help(words: Sequence[str], agents: Agents) -> str:
    """The fields as lines to print; arguments as of `fields_of`."""
    blocks = fields_of(words, agents)
    return "\n\n".join(f"fields of {owner}:\n{help_text(fields)}" for owner, fields in blocks.items())


def fields_of(words: Sequence[str], agents: Agents) -> dict[str, list[FieldText]]:
    """The fields that every run has, and those of each agent, by whose they are.

    Args:
        words: a configuration and what is laid over it. If they name an agent, the others are left out.
        agents: the agents that may be named. One whose source does not say its fields plainly is imported.
    """
    chosen = _agent_of(words)
    names = list(agents) if chosen is None or chosen not in agents else [chosen]
    blocks = {"a configuration": [_with_names(field, agents) for field in describe_fields(RunConfig)]}
    for name in names:
        blocks[f"the agent {name}"] = agents.peek(name) or list(describe_fields(agents[name], "agent."))
    return blocks


def _with_names(field: FieldText, agents: Agents) -> FieldText:
    return field._replace(choices=", ".join(agents)) if field.key == "agent" else field


def _agent_of(words: Sequence[str]) -> str | None:
    """The agent of a configuration and the words over it; None where they do not name one."""
    with_file = bool(words) and "=" not in words[0]
    try:
        below = yaml_files.read(find_config(words[0])) if with_file else {}
        block = yaml_files.override(below, words[1:] if with_file else words).get("agent")
    except ValueError:
        return None
    return block.get("name") if isinstance(block, dict) else None
