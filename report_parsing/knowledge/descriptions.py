"""Descriptions of findings, read from CSV files: ours in `data/knowledge.csv` and those that a user adds.

Columns: kind, name, aliases (joined by |), description, source. Lines that start with `#` are remarks; one of ours says
`# version: N`. A user's file adds findings that the vocabulary does not have, of kind `unseen`, and describes those
that it has, of kind `entity`, in other words.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from report_parsing.knowledge.term_index import key_of
from report_parsing.resources import read_cell
from store.errors import UserError

COLUMNS = ("kind", "name", "aliases", "description", "source")
ENTITY = "entity"
KINDS = (ENTITY, "unseen")
_VERSION = re.compile(r"^#\s*version:\s*(\S+)", re.MULTILINE)


class Description(NamedTuple):
    """What is known about a name: its kind (entity, position, unseen), description, source and other names."""

    kind: str
    name: str
    description: str
    source: str
    aliases: tuple[str, ...]


class DescriptionError(UserError, ValueError):
    """A file of descriptions that cannot be used, in one sentence that names file, row and column."""


def read_shipped() -> tuple[str, list[Description]]:
    """Version and rows of `data/knowledge.csv`.

    Raises:
        DescriptionError: a row is wrong, or no line gives the version.
    """
    text = (files("report_parsing") / "data" / "knowledge.csv").read_text(encoding="utf-8")
    version = _VERSION.search(text)
    if version is None:
        raise DescriptionError("knowledge.csv has no line `# version: N`; put one at its top.")
    return version[1], _parse(text, "knowledge.csv")


def read_own(path: Path, known: Collection[Description]) -> list[Description]:
    """The findings that a user describes in a CSV file, checked against those that are `known`.

    One of kind `entity` has the name of one of these, and takes its place.

    Raises:
        DescriptionError: the file cannot be read, or a row repeats, contradicts or leaves out something.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DescriptionError(f"{path} cannot be read ({reason}); give the path of a CSV file.") from None
    entities = {key_of(item.name): item for item in known if item.kind == ENTITY}
    return _parse(text, str(path), known, entities)


def _parse(
    text: str,
    file: str,
    known: Collection[Description] = (),
    entities: Mapping[str, Description] | None = None,
) -> list[Description]:
    """The rows; where there are `entities` by the key of their name, rows of that kind are other words for these."""
    meanings = _Meanings(known)
    found = []
    replaced: set[str] = set()
    for place, row in _rows(text, file):
        item = _description(row, place)
        if item.kind == ENTITY and entities is not None:
            item = _replace(item, entities, replaced, place)
        else:
            meanings.add_name(item, place)
        found.append((place, item))
    for place, item in found:
        meanings.add_aliases(item, place)
    return [item for _, item in found]


def _rows(text: str, file: str) -> Iterable[tuple[str, dict[str, str]]]:
    """("file, row n", cells by column) of every row; n counts the lines of the file, as a text editor does."""
    taken: list[int] = []

    def lines() -> Iterable[str]:
        for number, line in enumerate(text.splitlines(), 1):
            if not line.startswith("#"):
                taken.append(number)
                yield line

    reader = csv.DictReader(lines(), restkey="", restval="")
    if absent := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
        raise DescriptionError(f"{file} has no column `{absent[0]}`; its first line must be {','.join(COLUMNS)}.")
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DescriptionError(f"{file}, row {taken[-1]} is no row of CSV ({error}).") from None
        if row is None:
            return
        place = f"{file}, row {taken[-1]}"
        if "" in row:
            raise DescriptionError(f"{place} has more cells than there are columns; quote a cell that holds a comma.")
        yield place, {column: row[column].strip() for column in COLUMNS}


def _replace(item: Description, entities: Mapping[str, Description], replaced: set[str], place: str) -> Description:
    """The entity that `item` names, in its words."""
    before = entities.get(key_of(item.name))
    if before is None:
        raise DescriptionError(
            f"{place}, column `name`: `{item.name}` is none of the {len(entities)} entities; write the kind `unseen`, "
            "or the name of one."
        )
    if before.name in replaced:
        raise DescriptionError(f"{place}, column `name`: `{before.name}` is described twice; leave one out.")
    replaced.add(before.name)
    aliases = dict.fromkeys((*before.aliases, *item.aliases))
    return item._replace(name=before.name, aliases=tuple(aliases))


def _description(row: dict[str, str], place: str) -> Description:
    for column in ("name", "description", "source"):
        if not row[column] or (column == "name" and not key_of(row[column])):
            raise DescriptionError(f"{place}, column `{column}` is empty; every finding needs one.")
    if row["kind"] not in KINDS:
        allowed = " or ".join(f"`{kind}`" for kind in KINDS)
        raise DescriptionError(f"{place}, column `kind`: `{row['kind']}` is no kind of finding here; write {allowed}.")
    return Description(row["kind"], row["name"], row["description"], row["source"], read_cell(row["aliases"]))


class _Meanings:
    """What names and aliases stand for so far."""

    def __init__(self, known: Collection[Description]) -> None:
        self._names = {key_of(item.name): item.name for item in known}
        self._aliases = {key_of(alias): item.name for item in known for alias in item.aliases}

    def add_name(self, item: Description, place: str) -> None:
        taken = self._names.setdefault(key_of(item.name), item.name)
        if taken is not item.name:
            raise DescriptionError(f"{place}, column `name`: `{taken}` is there already; choose another name.")

    def add_aliases(self, item: Description, place: str) -> None:
        for alias in item.aliases:
            key = key_of(alias)
            meaning = self._names.get(key) or self._aliases.setdefault(key, item.name)
            if meaning != item.name:
                raise DescriptionError(
                    f"{place}, column `aliases`: `{alias}` already means `{meaning}`; leave it out or make it the name."
                )
