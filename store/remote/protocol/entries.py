"""Entries of batches: a batch that is complete somewhere has one, and it never changes.

The entry `batches/<dataset>/<stage>/<fingerprint>` says which objects hold the files of the batch, what its seal says,
and how many rows it has, so that a planner needs none of the files. Of two workers that made the same batch the first
one counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.remote.protocol.errors import StoreError
from store.remote.protocol.objects import Objects
from store.remote.protocol.records import FileRecord

FOLDER = "batches/"


@dataclass(frozen=True)
class BatchEntry:
    """What is known of a complete batch."""

    files: Mapping[str, FileRecord]  # by name: the output, and the rejects where there are any
    rows: Mapping[str, int]  # by name
    seal: str  # the text of the seal of the output

    def to_bytes(self) -> bytes:
        """The entry as it is stored."""
        files = {name: record.to_json() for name, record in self.files.items()}
        return json.dumps({"files": files, "rows": dict(self.rows), "seal": self.seal}).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> BatchEntry:
        """The entry of `to_bytes`."""
        content: dict[str, Any] = json.loads(body)
        files = {name: FileRecord.from_json(stored) for name, stored in content["files"].items()}
        return cls(files, content["rows"], content["seal"])


class Entries:
    """The entries of a home. What was seen of them is remembered, as they do not change."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[str, BatchEntry] = {}
        self._listed: dict[str, set[str]] = {}

    def list(self, folder: str) -> set[str]:
        """Look which batches `<dataset>/<stage>` has; returns their fingerprints."""
        prefix = f"{FOLDER}{folder}/"
        found = {one.name.removeprefix(prefix) for one in self._objects.list(prefix)}
        self._listed[folder] = found
        return found

    def has(self, folder: str, fingerprint: str) -> bool:
        """Whether a batch is complete; of a folder that was listed, whether it was then, or was added since."""
        if folder not in self._listed:
            return self.read(folder, fingerprint) is not None
        return fingerprint in self._listed[folder]

    def read(self, folder: str, fingerprint: str) -> BatchEntry | None:
        """The entry of a batch; None where it is not complete."""
        name = f"{folder}/{fingerprint}"
        if name not in self._known:
            found = self._objects.get(FOLDER + name)
            if found is None:
                self._listed.get(folder, set()).discard(fingerprint)
                return None
            try:
                entry = BatchEntry.from_bytes(found.body)
                if not set(entry.files) <= {f"{fingerprint}.parquet", f"{fingerprint}.rejects.parquet"}:
                    raise ValueError("a file is not of this batch")
                self._known[name] = entry
            except (ValueError, KeyError, TypeError, AttributeError):
                raise StoreError(
                    f"The entry of the batch {name} in {self._objects.address.url} is damaged: delete the object "
                    f"{self._objects.address.key(FOLDER + name)}, and the batch is made again."
                ) from None
        return self._known[name]

    def add(self, folder: str, fingerprint: str, entry: BatchEntry) -> BatchEntry:
        """Say that a batch is complete, with files that are in the store; returns the entry that counts."""
        name = f"{folder}/{fingerprint}"
        written = self._objects.put_if(FOLDER + name, entry.to_bytes(), None)
        if folder in self._listed:
            self._listed[folder].add(fingerprint)
        if written is None:
            self._known.pop(name, None)
            return self.read(folder, fingerprint) or entry
        self._known[name] = entry
        return entry

    def remove(self, folder: str, fingerprint: str) -> None:
        """Forget a batch whose files are damaged or not needed."""
        self._objects.delete(f"{FOLDER}{folder}/{fingerprint}")
        self._known.pop(f"{folder}/{fingerprint}", None)
        self._listed.get(folder, set()).discard(fingerprint)
