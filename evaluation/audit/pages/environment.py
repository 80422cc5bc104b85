"""Renders the pages of an audit. All texts are escaped, and a page loads no other file and runs no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The page of a template: `audit.html`, `card.html`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style = (TEMPLATES / "audit.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, **values)
