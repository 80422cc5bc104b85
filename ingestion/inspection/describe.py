"""Writes a guessed description as YAML, a line per key, with a comment above each line that is doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from cohorts.described.description import Columns, LabelSource
from ingestion.inspection.errors import InspectionError
from ingestion.inspection.guess import Guess
from store.atomic import write_text

WIDEST = 1 << 20  # characters of a line; it is never broken
HEADER = "# An export as `radalign inspect` sees it. Comments say what is doubtful. Keys: docs/guides/your_archive.md"


def as_yaml(guess: Guess, root: str) -> str:
    """The text of `archive.yaml`; `root` is what it says of the folder of the files, empty for its own."""
    return "\n".join([HEADER, *_lines(guess, root)]) + "\n"


def write_description(text: str, path: Path, force: bool) -> None:
    """Write a description to a file that is not there, or is there and may be replaced."""
    if path.is_dir():
        raise InspectionError(f"{path} is a folder; name the file to write, such as {path / 'archive.yaml'}.")
    if path.exists() and not force:
        raise InspectionError(f"{path} is there already; choose another name, or give --force to replace it.")
    if not path.parent.is_dir():
        raise InspectionError(f"There is no folder {path.parent} to write {path.name} into.")
    write_text(path, text)


def root_beside(path: Path, root: Path) -> str:
    """How a description in the file `path` names the folder `root`: nothing where it lies in it."""
    return "" if path.resolve().parent == root.resolve() else str(root.resolve())


def _lines(guess: Guess, root: str) -> Iterator[str]:
    description = guess.description
    said = {"root": root} if root else {}
    said |= {name: value for name, value in _said(description).items() if name != "split"}
    if not description.columns.split:
        said["split"] = description.split
    for name, value in said.items():
        yield from (f"# {note}" for note in guess.notes.get(name, ()))
        yield f"{name}: {_flow(value)}"
    for name, notes in guess.notes.items():
        if name not in said:
            yield from (f"# {note}" for note in notes)


def _said(described: Any) -> dict[str, Any]:
    """The fields of a description that are not what they are by themselves, as YAML has them."""
    empty = type(described)()
    said: dict[str, Any] = {}
    for item in fields(described):
        value = getattr(described, item.name)
        if value == getattr(empty, item.name):
            continue
        if isinstance(value, LabelSource) and value.columns:
            value = value.columns
        said[item.name] = _said(value) if is_dataclass(value) else value
    if isinstance(described, Columns):  # what every reader looks for comes first
        order = ("image", "patient", "study")
        said = dict(sorted(said.items(), key=lambda one: order.index(one[0]) if one[0] in order else len(order)))
    return said


def _flow(value: str | bool | Sequence[str] | Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=WIDEST, allow_unicode=True, sort_keys=False)
    return text.strip().removesuffix("...").strip()
