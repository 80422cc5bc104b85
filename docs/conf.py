"""How Sphinx builds the site of the documentation: `make docs`. Nothing is fetched, neither here nor by the pages."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "Radalign"
version = release = version_of("radalign")
copyright = "the Radalign maintainers, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"Radalign {version}"
html_copy_source = False
html_show_sphinx = False
nitpicky = False

myst_heading_anchors = 3  # links such as configuration.md#mistakes

default_role = "code"  # docstrings write `name`, as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
