"""Radiographs that were decoded: what a reader sees of one, what each network reads of it, and which are held."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from radalign.errors import RadalignError
from radalign.placing import WHOLE, Extent

MOST_HELD = 16  # radiographs
SECONDS_HELD = 1800.0  # since one was last asked for
FACTS = ("Modality", "BodyPartExamined", "ViewPosition", "PhotometricInterpretation", "BitsStored")


class GoneError(RadalignError):
    """The radiograph is not held, or no longer."""


@dataclass(frozen=True)
class Film:
    """A decoded radiograph."""

    height: int  # of the file, pixels
    width: int
    header: Mapping[str, Any]  # of a DICOM file, the attributes that ingestion keeps
    inputs: tuple[np.ndarray, ...]  # of each served network: (size, size) or (rows, columns) uint8
    display_fallback: str = ""  # as `imaging.decode.DecodedImage` has it
    inner: Extent = WHOLE  # the part inside its borders, where a network's images are cut to it
    shown: np.ndarray | None = None  # (rows, columns) uint8, in the proportions of the file

    @property
    def facts(self) -> dict[str, Any]:
        """Those attributes of the header that a reader wants to know. None identifies a patient."""
        return {name: self.header[name] for name in FACTS if name in self.header}

    @property
    def display(self) -> str:
        """How the stored values became grey levels."""
        if self.display_fallback:
            return f"{self.display_fallback}: as the file describes it, it is nearly of one grey"
        if "Rows" not in self.header:
            return "grey levels of the file"
        if "WindowCenter" in self.header and "WindowWidth" in self.header:
            return "first window of the file"
        return "no window in the file: its table of levels, or else the range of its pixels"


class HeldFilms:
    """The latest radiographs, by names that cannot be guessed; older and unused ones are let go."""

    def __init__(self, most: int = MOST_HELD, seconds: float = SECONDS_HELD) -> None:
        self._most, self._seconds = most, seconds
        self._films: OrderedDict[str, tuple[Film, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._films)

    def hold(self, film: Film) -> str:
        """The name under which it is held."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._films[name] = (film, time.monotonic())
            self._let_go()
        return name

    def find(self, name: str) -> Film:
        """The radiograph; GoneError where it is not held."""
        with self._lock:
            self._let_go()
            if name not in self._films:
                raise GoneError("This image is not held, or no longer: send it again.")
            film, _ = self._films.pop(name)
            self._films[name] = (film, time.monotonic())
        return film

    def release(self, name: str) -> None:
        """Let one go, if it is held."""
        with self._lock:
            self._films.pop(name, None)

    def _let_go(self) -> None:
        latest = time.monotonic() - self._seconds
        while self._films and (len(self._films) > self._most or next(iter(self._films.values()))[1] < latest):
            self._films.popitem(last=False)
