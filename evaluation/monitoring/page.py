"""The nights of a network as one HTML page. It loads no other file and runs no script; all texts are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.figures.pictures import data_uri
from evaluation.monitoring.drift import FAMILIES
from evaluation.monitoring.nights import Night

TEMPLATES = Path(__file__).parent / "templates"


def render_page(
    title: str,
    facts: dict[str, str],
    nights: Sequence[Night],
    rows: Sequence[dict[str, Any]],
    pictures: dict[str, bytes],
    simulated: bool,
) -> str:
    """Render the page of a network. `rows` are those of the table of drift, `pictures` PNG by their caption."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters["number"] = lambda value: "" if value is None else f"{value:.3g}"
    latest = [row for row in rows if nights and row["night"] == nights[-1].name]
    warned: dict[str, list[str]] = {night.name: [] for night in nights}
    for row in rows:
        warned[row["night"]] += [row["quantity"]] if row["warned"] else []
    return environment.get_template("drift.html").render(
        title=title,
        facts=facts,
        nights=[(night, warned[night.name]) for night in nights],
        families={family: [row for row in latest if row["family"] == family] for family in FAMILIES},
        pictures={caption: data_uri(png) for caption, png in pictures.items()},
        simulated=simulated,
        style=(TEMPLATES / "drift.css").read_text(encoding="utf-8"),
    )
