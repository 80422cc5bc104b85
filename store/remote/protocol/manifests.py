"""Manifests: which files a scope has, and what is in them. A reader sees the manifest before a change or after it.

A manifest is one object, `manifests/<scope>`, and is only ever replaced on the condition that nobody else has replaced
it meanwhile. It carries the token of each lease under which it was changed last: a writer whose token is older is
refused, however long it was paused.
"""

from __future__ import annotations

import gzip
import json
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from store.remote.protocol.errors import LeaseLostError, StoreError
from store.remote.protocol.objects import Objects
from store.remote.protocol.records import FileRecord
from store.remote.scopes import is_name_in

FOLDER = "manifests/"
CONFLICT_SECONDS = 60.0  # how long a change is tried again where others change the same manifest
LINK = "link"

Entry = FileRecord | str  # of a file, or where a symbolic link leads
Tokens = Mapping[str, int]  # by the name of a lease


@dataclass(frozen=True)
class Manifest:
    """The files of a scope by their paths relative to the home."""

    files: Mapping[str, Entry] = field(default_factory=dict)
    tokens: Tokens = field(default_factory=dict)
    etag: str = ""  # of the object; empty where there is none yet

    def to_bytes(self) -> bytes:
        """The manifest as it is stored, with a number of its own, so that no two writers write the same bytes."""
        files = {
            path: {LINK: entry} if isinstance(entry, str) else entry.to_json() for path, entry in self.files.items()
        }
        content = {"written_as": uuid.uuid4().hex, "tokens": dict(self.tokens), "files": files}
        return gzip.compress(json.dumps(content).encode(), mtime=0)

    @classmethod
    def from_bytes(cls, body: bytes, etag: str) -> Manifest:
        """The manifest of `to_bytes`; others raise an exception of no fixed class."""
        content = json.loads(gzip.decompress(body))
        return cls({path: _entry(stored) for path, stored in content["files"].items()}, content["tokens"], etag)


class Manifests:
    """The manifests of a home."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def read(self, scope: str, known: str = "") -> Manifest | None:
        """The manifest of a scope, empty where there is none; None where its tag is still `known`."""
        found = self._objects.get(FOLDER + scope, known)
        if found is None:
            return Manifest()
        if found.etag == known:
            return None
        try:
            manifest = Manifest.from_bytes(found.body, found.etag)
            if not all(is_name_in(scope, name) for name in manifest.files):
                raise ValueError("a file is not of this scope")
            return manifest
        except Exception:
            raise StoreError(
                f"The manifest of {scope} in {self._objects.address.url} is damaged: restore an earlier version of the "
                f"object {self._objects.address.key(FOLDER + scope)}, or choose another home."
            ) from None

    def list(self) -> dict[str, str]:
        """Scope -> tag of its manifest."""
        return {one.name.removeprefix(FOLDER): one.etag for one in self._objects.list(FOLDER)}

    def publish(
        self, scope: str, changes: Mapping[str, Entry | None], tokens: Tokens, guess: Manifest | None = None
    ) -> tuple[Manifest, Manifest]:
        """Change the files of a scope at once; None removes one. Returns the manifest before and after.

        Args:
            scope: its name.
            changes: by paths relative to the home.
            tokens: of the leases that this writer holds.
            guess: the manifest as it probably is, which saves a request where it is.

        Raises:
            LeaseLostError: somebody has published under a later token of one of the leases.
        """
        deadline, before = time.monotonic() + CONFLICT_SECONDS, guess
        while True:
            before = before or self.read(scope) or Manifest()
            for lease, token in tokens.items():
                if token < before.tokens.get(lease, 0):
                    raise LeaseLostError.of(lease)
            files = {**before.files, **{path: entry for path, entry in changes.items() if entry is not None}}
            files = {path: entry for path, entry in files.items() if changes.get(path, entry) is not None}
            after = Manifest(files, {**before.tokens, **tokens})
            etag = self._objects.put_if(FOLDER + scope, after.to_bytes(), before.etag or None)
            if etag is not None:
                return before, Manifest(after.files, after.tokens, etag)
            if time.monotonic() > deadline:
                raise StoreError(f"Too many runs change {scope} at once: give the same command again.")
            time.sleep(random.uniform(0.01, 0.1))
            before = None

    def remove(self, scope: str) -> None:
        """Forget all files of a scope."""
        self._objects.delete(FOLDER + scope)


def _entry(stored: Mapping[str, Any]) -> Entry:
    return str(stored[LINK]) if LINK in stored else FileRecord.from_json(stored)
