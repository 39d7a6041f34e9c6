"""What the site takes from the code; that it builds is `make docs`, which needs the extra `docs`."""

from __future__ import annotations

import re

import pytest

from rlsample.runs.describe import describe_fields
from scripts.catalogue import known_agents
from scripts.site import configuration, docstrings, errors, links, reference


def converted(text):
    return "\n".join(docstrings.to_restructured_text(text.split("\n")))


def test_an_indented_block_is_literal_and_text_is_no_markup():
    text = converted("A rule.\n\n    forward   p * (g - <p, g>)\n\n    backward  |g|\n\nThen |g| * 2 and c_ again.")
    assert text == (
        "A rule.\n\n::\n\n    forward   p * (g - <p, g>)\n\n    backward  |g|\n\nThen \\|g\\| \\* 2 and c\\_ again."
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("See `Sampler.draw`.", "See `Sampler.draw`."),
        ("float `[..., K]`", "float ``[..., K]``"),
        (
            "as `head.temperature.assign(\nschedule(step))` does",
            "as ``head.temperature.assign(\nschedule(step))`` does",
        ),
        ("Args:\n    **kwargs: as of `Trunk`", "Args:\n    **kwargs: as of `Trunk`"),
        ("Args:\n    size: K. A number", "Args:\n    size: K\\. A number"),
        ("Returns:\n    (a, b): two", ":returns:\n    (a, b): two"),
        ("Examples:\n    >>> a * b | c_", "Examples:\n    >>> a * b | c_"),
        (
            "Attributes:\n    rate: of it\n        all.",
            ".. rubric:: Attributes\n\n``rate``\n        of it\n        all.",
        ),
    ],
)
def test_sections(given, expected):
    assert converted(given) == expected


def test_every_key_is_on_the_page_with_its_sentence_and_default():
    page, agents = configuration.configuration_page(), known_agents()
    for name in agents:
        for key, default, _, sentence in describe_fields(agents[name], "agent."):
            assert re.search(
                rf"`{re.escape(key)}` \| {re.escape(sentence)} \*Default `{re.escape(default)}`\*", page
            ), key
    assert (
        "| `env.num_envs` | Environments stepped together while training. *Default `8`*; whole number >= 1. |" in page
    )
    assert "sync, async, vector_entry_point or null" in page
    assert "*Required*; whole number >= 1 and <= 2000000000." in page


def test_every_public_name_is_in_the_reference(tmp_path):
    gone = tmp_path / "names" / "rlsample.gone.rst"
    gone.parent.mkdir()
    gone.touch()
    reference.write(tmp_path)
    assert not gone.exists()
    assert {path.stem for path in tmp_path.glob("*.rst")} == {"rooms", *reference.ROOMS}
    assert "   ReinMax\n" in (tmp_path / "samplers.rst").read_text()
    assert "rlsample.learning.returns\n---" in (tmp_path / "learning.rst").read_text()
    assert reference.documented_at()["rlsample.samplers.reinmax.ReinMax"] == "rlsample.samplers.ReinMax"


def test_the_rooms_of_the_reference_are_those_of_the_library():
    from tests.test_layout import LEVEL

    assert set(reference.ROOMS) == set(LEVEL) - {"lazy"}


def test_an_error_is_read_from_its_source_with_the_way_out():
    source = """
hint = "Pad it."
if x:
    raise checks.invalid(f"{name} of size {n}", size=3, hint=hint)
raise invalid("a rule", hint=f"{other}")
raise checks.unknown("sampler", name, names)
raise ConfigError(f"Expected {path} as it was. Received: {what}, or {nothing}. {hint} Or not.")
raise ValueError("Expected a rule. Received: none.")
raise ValueError("something else")
"""
    assert list(errors.messages(source)) == [
        ("Expected ... of size ...", "Pad it."),
        ("Expected a rule", ""),
        ("Unknown sampler ...", ""),
        ("Expected ... as it was", "Pad it. Or not."),
        ("Expected a rule", ""),
    ]


def test_every_error_is_on_the_page():
    page = errors.page()
    assert page.count("\n| `") > 250
    assert "| `Expected logits to be a dense tensor [..., K]` | Pad and pass a mask. |" in page


def test_a_link_that_leads_nowhere_is_told(tmp_path, capsys):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "index.html").write_text('<h1 id="a b">A</h1><a name="old"></a><a href="../page.html">up</a>')
    good = ["below", "below/#a%20b", "below/index.html?x=1#old", "#top", "https://a.b/c#d", "mailto:a@b.c", "below#old"]
    text = "".join(f'<a href="{link}">x</a>' for link in good)
    (tmp_path / "page.html").write_text(f'<p id="top">{text}<img src="data:image/png,"></p>')
    assert links.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "6 links inside of the site, 0 of them dead; 3 to others\n"
    (tmp_path / "worse.html").write_text('<a href="page.html#gone">x</a><img src="gone.png"><a href="#gone">x</a>')
    assert links.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == "worse.html: page.html#gone\nworse.html: gone.png\nworse.html: #gone\n"
    assert links.main([str(tmp_path / "nowhere")]) == 1
