"""Lists the files of a folder, or an even sample of its folders where there are many."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from cohorts.archive.folders import is_file
from cohorts.archive.outages import ABSENT, DENIED, explain_folder, is_ignored, outage
from cohorts.archive.paths import OutsideRootError, inside
from cohorts.errors import CohortError
from ingestion.inspection.progress import EVERY, Log

MOST_FOLDERS = 1000  # that are listed at one depth
MOST_DEPTH = 16


@dataclass(frozen=True)
class Listing:
    """What lies below a folder."""

    root: Path
    names: dict[str, list[str]]  # folder, relative to the root ("" for itself) -> names of its files, sorted
    estimate: int  # of all files; exact where `is_whole`
    is_whole: bool  # False: only some of the folders were listed
    closed: int  # folders that may not be opened
    links_out: int  # links to folders that lie elsewhere; they are not followed

    def paths(self) -> Iterator[str]:
        """The files that were seen, by their paths relative to the root, those near it first."""
        for folder, names in self.names.items():
            prefix = f"{folder}/" if folder else ""
            yield from (prefix + name for name in names)

    def below(self, folder: str) -> Listing:
        """The same of one of its folders."""
        if not folder:
            return self
        prefix = f"{folder}/"
        names = {
            one.removeprefix(folder).removeprefix("/"): files
            for one, files in self.names.items()
            if one == folder or one.startswith(prefix)
        }
        return replace(self, root=self.root / folder, names=names, estimate=sum(map(len, names.values())))

    def folders_with(self, path: str) -> list[str]:
        """The folders from which a relative path leads to one of the files that were seen."""
        above, _, name = path.rpartition("/")
        ending = f"/{above}" if above else ""
        return [
            folder[: len(folder) - len(ending)] if ending else folder
            for folder in self._folders_by_name.get(name, ())
            if not ending or folder.endswith(ending)
        ]

    @cached_property
    def _folders_by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for folder, names in self.names.items():
            for name in names:
                found.setdefault(name, []).append(folder)
        return found

    def share_there(self, paths: Sequence[str]) -> float:
        """The share of some relative paths at which a file lies below the root; links that lead out do not count."""
        return sum(map(self._is_there, paths)) / len(paths) if paths else 0.0

    def _is_there(self, path: str) -> bool:
        try:
            return is_file(inside(self.root, path))
        except (OutsideRootError, CohortError):
            return False

    def suffixes(self) -> Counter[str]:
        """How many of the files seen have each ending, in lower case, such as `.dcm`; "" for none."""
        return Counter(PurePosixPath(name).suffix.lower() for names in self.names.values() for name in names)


def list_folder(root: Path, log: Log) -> Listing:
    """List a folder level by level. Of a level with more than MOST_FOLDERS folders an even sample is listed.

    Raises:
        CohortError: the folder itself may not be opened, or the disk below it has failed.
    """
    real = os.path.realpath(root)
    names: dict[str, list[str]] = {}
    level, weight, estimate = [""], 1.0, 0.0
    closed = links_out = seen = 0
    is_whole = True
    reported = time.monotonic()
    for _ in range(MOST_DEPTH):
        chosen = _sample(level)
        weight *= len(level) / len(chosen)
        is_whole &= len(chosen) == len(level)
        below: list[str] = []
        for folder in chosen:
            try:
                files, folders, out = _list_one(real, folder)
            except PermissionError as error:
                if not folder:
                    raise explain_folder(error, root) from error
                closed += not is_ignored(folder)
                continue
            names[folder] = files
            below += folders
            links_out += out
            seen += len(files)
            estimate += len(files) * weight
            if time.monotonic() - reported > EVERY:
                log(f"Looking into folders: {seen} files so far.")
                reported = time.monotonic()
        level = sorted(below)
        if not level:
            return Listing(root, names, round(estimate), is_whole, closed, links_out)
    return Listing(root, names, round(estimate), False, closed, links_out)


def _sample(folders: list[str]) -> list[str]:
    if len(folders) <= MOST_FOLDERS:
        return folders
    return [folders[number * len(folders) // MOST_FOLDERS] for number in range(MOST_FOLDERS)]


def _list_one(real: str, folder: str) -> tuple[list[str], list[str], int]:
    """Names of the files in a folder, paths of the folders in it, and the number of links to folders elsewhere."""
    files, folders, out = [], [], 0
    try:
        with os.scandir(os.path.join(real, folder)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not _is_folder(entry):
                    files.append(entry.name)
                elif entry.is_symlink() and not _stays_inside(real, entry.path):
                    out += 1
                else:
                    folders.append(f"{folder}/{entry.name}" if folder else entry.name)
    except OSError as error:
        if error.errno in DENIED:
            raise PermissionError(error.errno, error.strerror) from error
        if error.errno not in ABSENT:
            raise outage(os.path.join(real, folder), error) from error
    return sorted(files), folders, out


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _stays_inside(real: str, link: str) -> bool:
    """Whether a link leads to a folder below the root that does not hold the link itself."""
    target = os.path.realpath(link)
    return target.startswith(real.rstrip("/") + "/") and not link.startswith(target + "/")
