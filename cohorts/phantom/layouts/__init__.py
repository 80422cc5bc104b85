"""Simulated studies in the layouts of published datasets, so that their readers run without the published files.

A file here is a layout. It has one function `write(root, studies)`, and the name of the file is the name of the layout.
A dataset may have further layouts, whose names begin with its own: `open_i_kaggle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from cohorts.phantom.marker import mark

if TYPE_CHECKING:
    from cohorts.phantom.simulated import SimulatedStudy


def layout_names() -> list[str]:
    """The names of all layouts, sorted. No layout is imported."""
    return sorted(module.name for module in iter_modules(__path__))


def layout_writer(name: str) -> Callable[[Path, Sequence[SimulatedStudy]], None]:
    """The function that writes studies in the layout `name` and marks the folder as simulated.

    Raises:
        KeyError: there is no layout of this name.
    """
    if name not in layout_names():
        raise KeyError(name)
    write = import_module(f"{__name__}.{name}").write

    def write_marked(root: Path, studies: Sequence[SimulatedStudy]) -> None:
        write(root, studies)
        mark(root)

    return write_marked
