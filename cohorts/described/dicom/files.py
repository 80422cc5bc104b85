"""Finds every file of a tree. Links are followed to files inside the root and to nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cohorts.archive.folders import is_folder
from cohorts.archive.names import escape_bytes
from cohorts.archive.outages import explain_folder, is_ignored
from cohorts.archive.paths import DENIED, file_stamps, files_in
from cohorts.archive.remote import is_remote


@dataclass(frozen=True)
class Found:
    """A name in the tree that is no folder: its path relative to the root, and its stamp where it can be opened, or why
    it cannot."""

    path: str
    stamp: str = ""
    problem: str = ""  # a reason of `rows.DETAILS`


def find_files(root: Path) -> tuple[list[Found], int]:
    """Everything in the tree that is no folder, sorted by path; CohortError names a folder that cannot be listed.

    Hidden files and folders are left out, and counted in the second value. Links to folders of the tree are left out,
    too, as what they hold is found without them.
    """
    if is_remote(root):
        listed = list(files_in(root, root))
        paths = [path for path in listed if not _is_hidden(path)]
        hidden = len(listed) - len(paths)
        problems: dict[str, str] = {}
    else:
        paths, problems, hidden = _walk(root)
    found = [Found(path, problem=problem) for path, problem in problems.items()]
    for path, stamp in zip(paths, file_stamps(root, paths), strict=True):
        problem = "unreadable_file" if stamp == DENIED else "" if stamp else "not_a_file"
        found.append(Found(path, stamp, problem))
    return sorted(found, key=lambda each: each.path), hidden


def _walk(root: Path) -> tuple[list[str], dict[str, str], int]:
    """Paths that may be files, the reason against those that nobody may or can open, and the number of hidden names."""
    hidden = 0
    paths: list[str] = []
    problems: dict[str, str] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in _entries(root, folder):
            path = f"{folder}{entry.name}"
            if _is_hidden(entry.name):
                hidden += 1
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{path}/")
            elif escape_bytes(path) != path:
                problems[escape_bytes(path)] = "unreadable_name"
            elif entry.is_symlink() and not _leads_inside(root, path):
                problems[path] = "path_outside_root"
            elif not entry.is_symlink() or not is_folder(root / path):
                paths.append(path)
    return paths, problems, hidden


def _entries(root: Path, folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(f"{root}/{folder}") as entries:
            yield from list(entries)
    except OSError as error:
        if not is_ignored(folder.rstrip("/")):
            raise explain_folder(error, f"{root}/{folder}") from error


def _leads_inside(root: Path, path: str) -> bool:
    target, base = os.path.realpath(root / path), os.path.realpath(root)
    return target == base or target.startswith(f"{base}/")


def _is_hidden(path: str) -> bool:
    return os.path.basename(path).startswith(".")
