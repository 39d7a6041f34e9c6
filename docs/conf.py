"""How Sphinx builds the site; `make docs` runs it, and needs no network."""

import pydoc
from pathlib import Path

from sphinx.util.nodes import make_refnode

from rlsample import __version__
from scripts.site import configuration, docstrings, errors, mathematics, reference

DOCS = Path(__file__).parent

project = "rlsample"
author = "the authors of rlsample"
copyright = "the authors of rlsample. Apache-2.0"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "scripts.site.mathematics",
]
exclude_patterns = ["_build", "images/audit/*.csv"]
templates_path = ["_templates"]
highlight_language = "none"  # formulas; code says what it is in
nitpicky = True
# What Python and other libraries define is not looked up, which would need the network. Nor is an argument's name.
nitpick_ignore_regex = [(r"py:.*", r"(?s)(?!rlsample\.).*")]
default_role = "py:obj"

myst_heading_anchors = 3
# Notebooks are pages of text: they are run here, and what fails is an error.
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_in_temp = True
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

toc_object_entries_show_parents = "hide"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: f"rlsample.types.{name}" for name in ("TensorLike", "Objective")}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source", ("Call arguments", "params_style")]

html_math_renderer = mathematics.NAME
html_theme = "pydata_sphinx_theme"
html_title = "rlsample"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "rlsample"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-light",
    "pygments_dark_style": "a11y-dark",
}
html_sidebars = {"index": [], "start": [], "results": [], "performance": [], "errors": [], "changelog": []}

PLACES = reference.documented_at()


def write_pages(app, config):
    """Writes the pages that come from the code, before Sphinx looks for pages."""
    reference.write(DOCS / "generated" / "reference")
    config.autosummary_generate = [f"generated/reference/{room}.rst" for room in reference.ROOMS]
    configuration.write(DOCS / "generated")
    errors.write(DOCS / "generated")


def read_docstring(app, what, name, obj, options, lines):
    """Makes reStructuredText of a docstring."""
    lines[:] = docstrings.to_restructured_text(list(lines))


def leave_out(app, what, name, obj, skip, options):
    """Leaves out what only says how a named tuple is made, and what other libraries put into a class."""
    foreign = not (getattr(obj, "__module__", None) or "rlsample").startswith("rlsample")
    return True if foreign or str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else skip


def find_reference(app, env, node, contnode):
    """Finds names as the code says them: where they are defined, or without the package in front."""
    target = node.get("reftarget", "")
    for name in (PLACES.get(target), PLACES.get(f"rlsample.{target}"), f"rlsample.{target}"):
        if name and name in env.domains.python_domain.objects:
            found = env.domains.python_domain.objects[name]
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, contnode)
    # Not public, but there: parents that estimators share, values that go between them.
    return contnode if pydoc.locate(target) is not None else None


def setup(app):
    """Connects the above."""
    app.connect("config-inited", write_pages)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("missing-reference", find_reference)
