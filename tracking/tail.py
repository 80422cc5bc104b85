"""Reads the `metrics.jsonl` of a training while it grows."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from training.monitoring.lines import Line, parse_lines

_warn = logging.getLogger(__name__).warning


class Tail:
    """Reads what a growing JSON-lines file has gained. A resumed run replaces its file: then it is read anew.

    Damaged lines are left out, which `warn` is told.
    """

    def __init__(self, path: Path, warn: Callable[[str], object] = _warn) -> None:
        self._path, self._warn = path, warn
        self._inode = self._offset = 0

    def read(self) -> list[Line]:
        """The complete lines since the last call."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self._inode:
                self._inode, self._offset = inode, 0
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        lines, damaged = parse_lines(complete)
        if damaged:
            self._warn(f"{self._path} has {damaged} damaged lines, which are left out.")
        return lines
