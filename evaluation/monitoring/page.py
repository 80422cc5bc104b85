"""The nights of a network as one HTML page. It loads no other file and runs no script; all texts are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.figures.pictures import data_uri
from evaluation.monitoring.drift import FAMILIES, name_quantity
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
        warned[row["night"]] += [name_quantity(row)] if row["warned"] else []
    return environment.get_template("drift.html").render(
        title=title,
        facts=facts,
        nights=[(night, warned[night.name]) for night in nights],
        families=_by_family(latest),
        pictures={caption: data_uri(png) for caption, png in pictures.items()},
        simulated=simulated,
        style=(TEMPLATES / "drift.css").read_text(encoding="utf-8"),
    )


def _by_family(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of a night by family and number of nights, as headings call them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for family in FAMILIES:
        for row in rows:
            if row["family"] == family:
                several = f", {row['nights']} nights together" if row["nights"] > 1 else ""
                found.setdefault(f"{family}{several}", []).append(row)
    return found
