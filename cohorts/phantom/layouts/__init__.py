"""Simulated studies written down in the layouts of published datasets, so that their readers run without them.

A layout is one file with a function `write(root, studies)` and one line in LAYOUTS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from cohorts.phantom.layouts.drawn import DrawnStudy, draw

LAYOUTS: dict[str, str] = {}

__all__ = ["LAYOUTS", "DrawnStudy", "draw", "layout_writer"]


def layout_writer(name: str) -> Callable[[Path, Sequence[DrawnStudy]], None]:
    """The function that writes drawn studies in the layout `name`; KeyError for a name that is not in LAYOUTS."""
    module, function = LAYOUTS[name].split(":")
    return getattr(import_module(f"cohorts.phantom.layouts.{module}"), function)  # type: ignore[no-any-return]
