"""Paths that tables and metadata files name: always relative to the archive's root, and never out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from cohorts.archive import remote
from cohorts.archive.outages import ABSENT, explain_folder, is_ignored, outage
from cohorts.archive.outages import DENIED as DENIED_ERRORS

PATHS_PER_TASK = 4096
STAT_THREADS = 16  # network file systems handle many requests at once
DENIED = "denied"  # the stamp of a file that is there and may not be opened


class OutsideRootError(ValueError):
    """A path that is absolute, climbs with `..` or follows a link out of the archive."""


def inside(root: Path, relative: str) -> Path:
    """The file `relative` to `root`; OutsideRootError when it would lie anywhere else."""
    if not stays_inside(relative):
        raise OutsideRootError("The path is absolute or climbs out of the archive.")
    if remote.is_remote(root):
        return root.joinpath(*PurePosixPath(relative).parts)
    resolved_root = os.path.realpath(root)
    resolved = os.path.realpath(os.path.join(resolved_root, relative))
    if not resolved.startswith(resolved_root.rstrip("/") + "/"):
        raise OutsideRootError("A link in the path leads out of the archive.")
    return Path(resolved)


def stays_inside(relative: str) -> bool:
    """Whether a path stays below its root; links are not followed."""
    if not relative or "\0" in relative or "\\" in relative:
        return False
    return not relative.startswith("/") and ".." not in relative.split("/")


def clean_path(path: str) -> str:
    """A path of a table with `/` between its parts, and without parts that lead nowhere. Where it leads stays."""
    slashed = path.strip().replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    return ("/" if slashed.startswith("/") else "") + "/".join(parts)


def files_in(root: Path, folder: Path) -> Iterator[str]:
    """Paths, relative to the root, of the files at any depth of a folder below it, in a fixed order.

    CohortError names a folder that cannot be listed.
    """
    if remote.is_remote(root):
        yield from sorted(remote.list_objects(root, "" if folder == root else folder.relative_to(root).as_posix()))
        return
    for parent, folders, names in os.walk(folder, onerror=_raise_unless_ignored):
        folders.sort()
        prefix = "" if parent == str(root) else parent[len(str(root)) + 1 :] + "/"
        yield from (prefix + name for name in sorted(names))


def are_files(root: Path, relatives: Sequence[str]) -> np.ndarray:
    """For each relative path whether a file lies there, as a bool array in their order."""
    return np.array([bool(stamp) for stamp in file_stamps(root, relatives)], dtype=bool)


def file_stamps(root: Path, relatives: Sequence[str]) -> list[str]:
    """For each relative path the size and time of the file there, as text.

    It is empty where there is no file, and DENIED where this user may not open it or a folder above it. OutageError
    where the file system cannot tell.
    """
    if remote.is_remote(root):
        return remote.file_stamps(root, relatives)
    chunks = [relatives[start : start + PATHS_PER_TASK] for start in range(0, len(relatives), PATHS_PER_TASK)]
    base = str(root) + "/"
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        found = list(pool.map(lambda chunk: [file_stamp(base + path) for path in chunk], chunks))
    return [stamp for stamps in found for stamp in stamps]


def file_stamp(path: str) -> str:
    """The stamp of one file on a disk, as `file_stamps` gives it."""
    try:
        found = os.stat(path)
    except ValueError:  # a null byte, which no file name has
        return ""
    except OSError as error:
        if error.errno in ABSENT:
            return ""
        if error.errno in DENIED_ERRORS:
            return DENIED
        raise outage(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}" if os.access(path, os.R_OK) else DENIED


def _raise_unless_ignored(error: OSError) -> None:
    is_file = isinstance(error, NotADirectoryError)  # its name matched that of a folder, as images_001.tar.gz does
    if not is_file and not is_ignored(error.filename):
        raise explain_folder(error, error.filename) from error
