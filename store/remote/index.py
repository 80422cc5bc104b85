"""What a mirror has of a scope: the manifest as it was last brought or published, and what its files were then.

The index is a file of the mirror, which the processes of the machine share.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from store.remote.protocol.manifests import Entry, Manifest

Placed = tuple[int, int, int]  # size, time of modification, inode


@dataclass(frozen=True)
class Index:
    """A manifest, and the state of those of its files that are in the mirror."""

    manifest: Manifest = field(default_factory=Manifest)
    placed: Mapping[str, Placed] = field(default_factory=dict)

    def after(self, manifest: Manifest, changes: Mapping[str, Entry | None], mirror: Path) -> Index:
        """The index once the changes were published, or brought."""
        kept = {name: state for name, state in self.placed.items() if name not in changes}
        return Index(manifest, {**kept, **_states(mirror, changes)})

    def is_as_placed(self, mirror: Path, name: str) -> bool:
        """Whether a file is in the mirror as it was when it was brought or published; a large one may be absent."""
        state = _state(mirror / name)
        return state == self.placed.get(name)


class Indices:
    """The indices of a mirror."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], Index]] = {}

    def read(self, scope: str) -> Index:
        """The index of a scope; empty where nothing was brought yet."""
        path = self._path(scope)
        try:
            found = path.stat()
        except FileNotFoundError:
            return Index()
        state = found.st_mtime_ns, found.st_ino
        if scope not in self._read or self._read[scope][0] != state:
            self._read[scope] = state, _parse(path)
        return self._read[scope][1]

    def is_known(self, scope: str) -> bool:
        """Whether a scope was ever brought."""
        return self._path(scope).is_file()

    def write(self, scope: str, index: Index) -> None:
        """Replace the index of a scope."""
        path = self._path(scope)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        head = json.dumps({"etag": index.manifest.etag, "placed": dict(index.placed)}).encode()
        partial.write_bytes(head + b"\n" + index.manifest.to_bytes())
        partial.replace(path)

    def remove(self, scope: str) -> None:
        """Forget what is known of a scope."""
        self._path(scope).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget what is known of all scopes."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, scope: str) -> Path:
        return self._folder / scope.replace("/", "%")


def _parse(path: Path) -> Index:
    """An index that cannot be read is taken for none, and everything is brought again."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        head, _, body = path.read_bytes().partition(b"\n")
        stored = json.loads(head)
        placed = {name: (state[0], state[1], state[2]) for name, state in stored["placed"].items()}
        return Index(Manifest.from_bytes(body, stored["etag"]), placed)
    return Index()


def _states(mirror: Path, names: Mapping[str, object]) -> dict[str, Placed]:
    found = {name: _state(mirror / name) for name in names}
    return {name: state for name, state in found.items() if state is not None}


def _state(path: Path) -> Placed | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
