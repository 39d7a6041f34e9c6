"""The pages of the documentation, and how their code is run: block after block, as a reader in a clone would."""

from __future__ import annotations

import functools
import linecache
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROOMS_OF_A_CLONE = ("agents", "envs", "scripts")


def pages():
    """The pages by their name: README, and `docs` without what Sphinx makes."""
    files = [path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in ("generated", "_build")]
    return {"README": ROOT / "README.md"} | {
        path.relative_to(DOCS).with_suffix("").as_posix(): path for path in sorted(files)
    }


CELL_OPTIONS = r"(?:---\n(?:[^\n`]*\n)*?---\n)?"
"""What a cell of a notebook says of itself before its code, such as the text of its picture."""


SKIPPED = ":tags: [skip-execution]\n"
"""What a cell begins with that is for hosted notebooks alone."""


def blocks(name, language=r"(?:python|\{code-cell\} ipython3)"):
    """The fenced blocks of a page, cells of notebooks among them: (line number, code)."""
    text = pages()[name].read_text()
    found = re.finditer(rf"^```{language}\n{CELL_OPTIONS}(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found if not match[1].startswith(SKIPPED)]


@functools.cache
def run_page(name):
    """What is defined once every block of a page has run, in order and in one namespace; later ones replace earlier."""
    module = ModuleType(f"page_{name.replace('/', '_')}")
    sys.modules[module.__name__] = module
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.chdir(folder)
        for room in ROOMS_OF_A_CLONE:
            Path(room).symlink_to(ROOT / room)
        if name.startswith("notebooks/"):
            import matplotlib.pyplot as plt

            plt.switch_backend("Agg")
            patch.setattr(plt, "show", plt.close)
        for line, code in blocks(name):
            # TensorFlow reads the source of what it traces.
            file = f"{name}.md:{line}"
            linecache.cache[file] = len(code), None, code.splitlines(keepends=True), file
            exec(compile(code, file, "exec"), vars(module))
    return module
