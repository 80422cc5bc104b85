"""Says what lies at a path: published datasets, an export that has to be described, or nothing that can be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cohorts.archive.folders import is_file, is_folder
from cohorts.described.description_file import SUFFIXES as DESCRIPTIONS
from ingestion.inspection import sheets
from ingestion.inspection.archives import ARCHIVE, Archive, list_archive, recognise_archives
from ingestion.inspection.columns import IMAGE_SUFFIXES
from ingestion.inspection.describe import as_yaml
from ingestion.inspection.errors import InspectionError
from ingestion.inspection.guess import Guess, guess_manifest
from ingestion.inspection.listing import Listing, list_folder
from ingestion.inspection.recognise import recognise
from ingestion.inspection.trees import Tree, guess_tree, look_at_headers

if TYPE_CHECKING:
    from ingestion.inspection.progress import Log
    from ingestion.inspection.sheets import Sheet

MANIFEST, TREE = "manifest", "DICOM tree"
HOME_MARKS = ("mlflow.db", "checkpoints", "results", "dagster")  # of which a home has at least two
MOST_LISTED = 3000  # files of a tree whose headers are all read


@dataclass(frozen=True)
class Export:
    """An export that no published layout describes, with the description to start from."""

    kind: str  # MANIFEST or TREE
    root: Path
    guess: Guess
    archive: Archive | None  # as the description reads it; None: only a sample was looked at
    tree: Tree | None = None

    def describe(self, root: str) -> str:
        """The text of the description; `root` is what it says of the folder, empty for its own."""
        return as_yaml(self.guess, root)


@dataclass(frozen=True)
class Inspection:
    """What was found at a path."""

    path: Path
    listing: Listing
    archives: list[Archive]  # published datasets and described exports, those that can be used first
    export: Export | None  # what else it is, where no archive can be used
    problems: list[str]  # a sentence about each table that cannot be read

    @property
    def is_usable(self) -> bool:
        """Whether something at the path can be read."""
        found = [*self.archives, *([self.export.archive] if self.export and self.export.archive else [])]
        sampled = self.export is not None and self.export.archive is None
        return sampled or any(archive.is_usable for archive in found)


def inspect(path: Path, log: Log) -> Inspection:
    """Look at a folder, a table or a description. No pixels are opened, and nothing is written.

    Raises:
        UserError: there is no such path, or nothing there that could be read; the message is one sentence.
    """
    if not os.path.lexists(path):
        raise InspectionError(f"There is no {path}: name the folder of an archive, a table or an archive.yaml.")
    if is_folder(path):
        return _inspect_folder(path, log)
    if not is_file(path):
        raise InspectionError(f"{path} is neither a folder nor a regular file; name the folder of an archive.")
    if path.suffix.lower() in DESCRIPTIONS:
        return Inspection(path, list_folder(path.parent, log), [_list_described(path, path, log)], None, [])
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InspectionError(f"{path} is one image; name the folder that holds the archive.")
    return _inspect_table(path, log)


def _inspect_folder(path: Path, log: Log) -> Inspection:
    listing = list_folder(path, log)
    if is_home(listing):
        raise InspectionError(
            f"{path} is a home of Radalign, where everything that is computed lies; name the folder of an archive."
        )
    archives = recognise_archives(path, recognise(listing), log)
    if any(archive.is_usable for archive in archives):
        return Inspection(path, listing, archives, None, [])
    tables, problems = sheets.read_sheets(listing, log)
    export = _find_manifest(tables, listing, log) or _find_tree(tables, listing, log)
    if not archives and export is None:
        raise InspectionError(explain_nothing(listing, problems))
    return Inspection(path, listing, archives, export, problems)


def _inspect_table(path: Path, log: Log) -> Inspection:
    """A manifest, whose paths count from its folder or from one above it in the archive."""
    listing = list_folder(path.parent, log)
    sheet = sheets.read_sheet(listing, path.name)
    others, problems = sheets.read_sheets(listing, log)
    export = _find_manifest([sheet], listing, log, [other for other in others if other.path != sheet.path])
    if export is None:
        raise InspectionError(
            f"{path} has no column with paths of images below {path.parent.resolve()}; name the folder that holds both "
            "the table and the images."
        )
    return Inspection(path, listing, [], export, problems)


def is_home(listing: Listing) -> bool:
    """Whether a folder is where results of this project are kept."""
    there = {name for name in HOME_MARKS if name in listing.names or name in listing.names.get("", ())}
    datasets = {folder.rpartition("/")[0] for folder in listing.names if folder.split("/")[-1] == "inventory"}
    return len(there) > 1 or any(
        f"{dataset}/{stage}".lstrip("/") in listing.names
        for dataset in datasets
        if "/" not in dataset
        for stage in ("studies", "rejects")
    )


def explain_nothing(listing: Listing, problems: Sequence[str] = ()) -> str:
    """One sentence about a folder that holds nothing that could be read."""
    endings = [f"{count} {ending or 'without an ending'}" for ending, count in listing.suffixes().most_common(4)]
    if not endings:
        return f"{listing.root} holds no files; name the folder of an archive."
    unread = f" and a table that cannot be read: {problems[0].rstrip('.')}" if problems else ""
    return (
        f"{listing.root} is none of the published datasets, has no table with paths of its images and no DICOM files "
        f"(it has {', '.join(endings)}{unread}); write a table with a row per image, with the columns image, patient "
        "and report."
    )


def _find_manifest(
    tables: Sequence[Sheet], listing: Listing, log: Log, others: Sequence[Sheet] | None = None
) -> Export | None:
    """The table that describes most images, read from the folder that its paths count from."""
    best: tuple[int, Path, Guess] | None = None
    for sheet in tables:
        for base in _folders_above(sheet.path):
            inner = listing.below(base)
            beside = [one for one in (tables if others is None else others) if one is not sheet]
            guess = guess_manifest(_move(sheet, base), _moved(beside, base), inner)
            if guess is not None:
                size = guess.rows * (1 + len(guess.description.columns.facts()))
                if best is None or size > best[0]:
                    best = size, inner.root, guess
                break
    if best is None:
        return None
    _, root, guess = best
    return Export(MANIFEST, root, guess, _list_guess(guess, root, log))


def _find_tree(tables: Sequence[Sheet], listing: Listing, log: Log) -> Export | None:
    tree = look_at_headers(listing, log)
    if tree is None:
        return None
    guess = guess_tree(tree, tables, listing)
    is_small = listing.is_whole and listing.estimate <= MOST_LISTED
    return Export(TREE, listing.root, guess, _list_guess(guess, listing.root, log) if is_small else None, tree)


def _list_guess(guess: Guess, root: Path, log: Log) -> Archive:
    """The export as its description reads it. Neither the description nor the key of identifiers is kept."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "archive.yaml"
        path.write_text(as_yaml(guess, str(root.resolve())), encoding="utf-8")
        return _list_described(path, root, log)


def _list_described(path: Path, shown: Path, log: Log) -> Archive:
    with TemporaryDirectory() as home:
        return replace(list_archive(ARCHIVE, [path], log, Path(home), shown), root=shown)


def _folders_above(path: str) -> list[str]:
    """The folder of a relative path and those above it, the nearest first."""
    return ["" if str(folder) == "." else folder.as_posix() for folder in PurePosixPath(path).parents]


def _move(sheet: Sheet, base: str) -> Sheet:
    return replace(sheet, path=sheet.path.removeprefix(f"{base}/")) if base else sheet


def _moved(tables: Sequence[Sheet], base: str) -> list[Sheet]:
    """The tables below a folder, by their paths from there."""
    return [_move(sheet, base) for sheet in tables if not base or sheet.path.startswith(f"{base}/")]
