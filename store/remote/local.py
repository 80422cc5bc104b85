"""The mirror of a home: its folder, which scope each path is in, and who changes the files of a scope at present."""

from __future__ import annotations

import fcntl
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from store.atomic import PARTIAL
from store.remote import scopes
from store.remote.index import Indices
from store.remote.protocol.errors import StoreError

OWN = ".remote"  # in the mirror: what only the keeper reads


class LocalMirror:
    """The folder of a mirror. Paths are relative to it where they are texts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.own = folder, folder / OWN
        self.indices = Indices(self.own / "index")
        self._real = os.path.realpath(folder)
        self._locks: dict[str, threading.RLock] = defaultdict(threading.RLock)
        self._depth: dict[str, int] = defaultdict(int)

    def relative(self, path: Path) -> str:
        """A path relative to the mirror; links of folders above it are followed, itself it is not."""
        parent, name = os.path.split(os.path.abspath(path))
        if os.path.abspath(path) == str(self.folder):
            return ""
        return os.path.relpath(os.path.join(os.path.realpath(parent), name), self._real)

    def place(self, name: str, leads_to: str = "") -> Path:
        """Where a file of the store is placed, or a link to `leads_to`.

        StoreError where that is outside the mirror: what the store says is not trusted.
        """
        path = self.folder / name
        for end in (path.parent, path.parent / leads_to):
            if not f"{os.path.realpath(end)}/".startswith(f"{self._real}/"):
                raise StoreError(
                    f"The store names {name}, which would be outside the mirror {self.folder}, so it is not fetched: "
                    "see who can write into the bucket."
                )
        return path

    def target(self, path: Path) -> str:
        """The file that a path leads to; links may lead to what is not in the mirror."""
        return os.path.relpath(os.path.realpath(path), self._real)

    def scope(self, path: Path) -> str:
        """The scope of a path, or the scope that is this very folder."""
        relative = self.relative(path)
        inside = scopes.scope_of(f"{relative}/x")
        return inside if inside == relative else scopes.scope_of(relative)

    @contextmanager
    def alone(self, scope: str) -> Iterator[bool]:
        """Be the only thread of this machine that changes the files of a scope; yields whether it was not before."""
        with ExitStack() as stack:
            stack.enter_context(self._locks[scope])
            if self._depth[scope] == 0:
                stack.enter_context(_flock(self.own / "locks" / scope.replace("/", "%")))
            self._depth[scope] += 1
            try:
                yield self._depth[scope] == 1
            finally:
                self._depth[scope] -= 1

    def write_text(self, path: Path, text: str) -> None:
        """Write a file at once, without publishing it."""
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)

    def find_stray(self) -> str:
        """A file of a folder that was never a mirror, such as a home of this machine; empty where there is none."""
        if self.own.exists():
            return ""
        found = (os.path.relpath(path, self.folder) for path in files_below(self.folder) if path != self.folder)
        return next((name for name in found if not scopes.is_local(name) and not scopes.is_batch(name)), "")

    def files_of(self, scope: str) -> set[str]:
        """The files of a scope that are in the mirror and would be published."""
        if scope == scopes.HOME:
            return set()
        found = set()
        for folder, folders, names in os.walk(self.folder / scope):
            place = os.path.relpath(folder, self.folder)
            folders[:] = [one for one in folders if scopes.scope_of(f"{place}/{one}/x/x") == scope]
            links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
            found |= {f"{place}/{name}" for name in (*names, *links)}
        return {name for name in found if not scopes.is_local(name) and not scopes.is_batch(name)}


def files_below(path: Path) -> Iterable[Path]:
    """A file or a link itself; of a folder all files and links in it."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        found += [Path(folder, name) for name in (*names, *links)]
    return found


@contextmanager
def _flock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # to close the file would leave it to a process that was forked meanwhile
