"""Paths that tables and metadata files name: always relative to the archive's root, and never out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

PATHS_PER_TASK = 4096
STAT_THREADS = 16  # network file systems answer many questions at once


class OutsideRootError(ValueError):
    """A path that is absolute, climbs with `..` or follows a link out of the archive."""


def inside(root: Path, relative: str) -> Path:
    """The file `relative` to `root`; OutsideRootError when it would lie anywhere else."""
    if not stays_inside(relative):
        raise OutsideRootError("The path is absolute or climbs out of the archive.")
    resolved_root = os.path.realpath(root)
    resolved = os.path.realpath(os.path.join(resolved_root, relative))
    if not resolved.startswith(resolved_root.rstrip("/") + "/"):
        raise OutsideRootError("A link in the path leads out of the archive.")
    return Path(resolved)


def stays_inside(relative: str) -> bool:
    """Whether the words of a path keep it below its root, links aside."""
    if not relative or "\0" in relative or "\\" in relative:
        return False
    path = PurePosixPath(relative)
    return not path.is_absolute() and ".." not in path.parts


def are_files(root: Path, relatives: Sequence[str]) -> np.ndarray:
    """For each relative path whether a file lies there, as a bool array in their order."""
    return np.array([bool(stamp) for stamp in file_stamps(root, relatives)], dtype=bool)


def file_stamps(root: Path, relatives: Sequence[str]) -> list[str]:
    """For each relative path the size and time of the file there, as text; empty where there is none."""
    chunks = [relatives[start : start + PATHS_PER_TASK] for start in range(0, len(relatives), PATHS_PER_TASK)]
    base = str(root) + "/"
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        found = list(pool.map(lambda chunk: [_stamp(base + path) for path in chunk], chunks))
    return [stamp for stamps in found for stamp in stamps]


def _stamp(path: str) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte, which no file name has
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else ""
