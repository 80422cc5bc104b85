"""Brings files of the store into the mirror: small ones of whole scopes, large ones when somebody opens them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from store.atomic import PARTIAL
from store.remote import scopes
from store.remote.local import LocalMirror
from store.remote.protocol.entries import BatchEntry, Entries
from store.remote.protocol.errors import StoreError
from store.remote.protocol.manifests import Entry, Manifest, Manifests
from store.remote.protocol.objects import TRIES, Objects
from store.remote.protocol.records import FileRecord, Located

SMALL = 4 << 20  # bytes; larger files are fetched when they are opened
WORKERS = 16  # files on their way at once


class Fetching:
    """What the store has, and how it comes into a mirror. Threads may share it."""

    def __init__(self, local: LocalMirror, objects: Objects, manifests: Manifests, entries: Entries) -> None:
        self._local, self._objects, self._manifests, self._entries = local, objects, manifests, entries

    def refresh(self) -> None:
        """Bring the small files that others have published since into the mirror."""
        for scope, etag in self._manifests.list().items():
            if scopes.is_fetched_at_once(scope) and self._local.indices.read(scope).manifest.etag != etag:
                self.sync(scope)

    def bring(self, path: Path) -> None:
        """Bring the small files of the scope of a path, or of the scope that is the folder `path`, into the mirror."""
        self.sync(self._local.scope(path))

    def bring_below(self, folder: Path) -> None:
        """Bring the small files of all scopes in a folder into the mirror."""
        prefix = f"{self._local.relative(folder)}/"
        for scope, etag in self._manifests.list().items():
            if scope.startswith(prefix) and self._local.indices.read(scope).manifest.etag != etag:
                self.sync(scope)

    def bring_whole(self, folder: Path) -> None:
        """Bring all files of a folder of a scope into the mirror."""
        self.bring(folder)
        relative = self._local.relative(folder)
        files = self._local.indices.read(self._local.scope(folder)).manifest.files
        self._fetch_all([name for name in files if name.startswith(f"{relative}/")])

    def fetch(self, path: Path) -> bool:
        """Bring a file and its seal into the mirror; whether it is there now."""
        relative = self._find(path)
        if scopes.is_batch(relative):
            return self.fetch_batch(relative)
        if (self._local.folder / relative).is_file():
            return True
        record = self._record(relative)
        return isinstance(record, FileRecord) and self._fetch_file(relative, record)

    def is_kept(self, path: Path) -> bool:
        """Whether the store has a file."""
        relative = self._find(path)
        if scopes.is_batch(relative):
            folder, name = relative.rsplit("/", 1)
            match = scopes.BATCH.fullmatch(name)
            assert match is not None
            if not self._entries.has(folder, match[1]):
                return False
            return not match[2] or self.rows_of(path) is not None
        return self._record(relative) is not None

    def seal_text(self, path: Path) -> str | None:
        """What the seal of a file says that is not in the mirror."""
        relative = self._find(path)
        if not scopes.is_batch(relative):
            seal = self._local.folder / (relative + scopes.SEAL)
            return seal.read_text(encoding="utf-8") if self.fetch(seal) else None
        entry = self._entry(relative) if self.is_kept(path) else None
        return entry.seal if entry else None

    def rows_of(self, path: Path) -> int | None:
        """Rows of a batch, or of what it rejected; None where it is not in the store."""
        relative = self._find(path)
        entry = self._entry(relative) if scopes.is_batch(relative) else None
        return entry.rows.get(path.name) if entry else None

    def locate(self, path: Path) -> Located | None:
        """The object of a file; None where the store has none. Links are followed."""
        relative = self._find(path)
        if scopes.is_batch(relative):
            entry = self._entry(relative)
            record: Entry | None = entry.files.get(relative.rsplit("/", 1)[1]) if entry else None
        else:
            record = self._record(relative)
        return Located(self._objects.address.key(record.key), record) if isinstance(record, FileRecord) else None

    def look_for_batches(self, folder: Path) -> set[str]:
        """Look which batches of a stage are complete by now; returns their fingerprints."""
        return self._entries.list(self._local.relative(folder))

    def learn_batches(self, outputs: Sequence[Path]) -> None:
        """Read the entries of some batches of one stage at once."""
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda path: self._entry(self._local.relative(path)), outputs))

    def reject(self, path: Path) -> None:
        """Set aside what the store has of a file and is not what was published; it counts as not written then."""
        located, relative = self.locate(path), self._find(path)
        if located is not None:
            self._objects.set_aside(located.record.key)
            self._forget_damaged(relative)

    def sync(self, scope: str, reset: str | None = None) -> None:
        """Make the files of a scope in the mirror those of its manifest.

        What changed in the store since the last time is brought. All else in the folder `reset`, which the caller holds
        the lease of, becomes as it is in the store as well. Elsewhere in the scope, another process of this machine may
        have written what it has not published yet.
        """
        with self._local.alone(scope):
            known = self._local.indices.read(scope)
            manifest = self._manifests.read(scope, known.manifest.etag) or known.manifest
            if manifest is known.manifest and reset is None and self._local.indices.is_known(scope):
                return
            changed = [
                name
                for name, entry in manifest.files.items()
                if known.manifest.files.get(name) != entry
                or (_is_below(name, reset) and not known.is_as_placed(self._local.folder, name))
            ]
            gone = set(known.manifest.files) - set(manifest.files)
            if reset is not None:
                here = {name for name in self._local.files_of(scope) if _is_below(name, reset)}
                gone |= here - set(manifest.files)
            for name in gone:
                self._local.place(name).unlink(missing_ok=True)
            self._place(manifest, changed)
            changes = {name: manifest.files.get(name) for name in (*changed, *gone)}
            self._local.indices.write(scope, known.after(manifest, changes, self._local.folder))

    def _place(self, manifest: Manifest, names: Sequence[str]) -> None:
        """Bring files of a manifest: contents first, then their seals; large ones only when somebody opens them."""
        links = [name for name in names if isinstance(manifest.files[name], str)]
        files = sorted({*names} - {*links})
        seals = [name for name in files if name.endswith(scopes.SEAL)]
        contents = [name for name in files if not name.endswith(scopes.SEAL)]
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda name: self._announce(manifest, name), seals))
            list(pool.map(lambda name: self._place_one(manifest, name), contents))
            list(pool.map(lambda name: self._place_one(manifest, name), seals))
        for name in links:
            self._place_link(name, str(manifest.files[name]))

    def _announce(self, manifest: Manifest, name: str) -> None:
        """Have a seal that is there already allow the new content, so that nobody takes that for damage meanwhile."""
        path, record = self._local.place(name), manifest.files[name]
        if path.is_file() and isinstance(record, FileRecord):
            found = self._objects.get(record.key)
            if found is not None and hashlib.sha256(found.body).hexdigest() == record.sha256:
                with suppress(OSError, ValueError):
                    self._local.write_text(path, path.read_text(encoding="utf-8") + found.body.decode())

    def _place_one(self, manifest: Manifest, name: str) -> None:
        record = manifest.files[name]
        assert isinstance(record, FileRecord)
        path = self._local.place(name)
        if record.size > SMALL:
            if path.is_file() and FileRecord.of(path) != record:
                path.unlink()
        elif not self._download(name, record):
            path.unlink(missing_ok=True)

    def _place_link(self, name: str, target: str) -> None:
        path = self._local.place(name, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.replace(path)
        scope = scopes.scope_of(os.path.normpath(f"{os.path.dirname(name)}/{target}/x"))
        if scope != scopes.scope_of(name) and not scopes.is_fetched_at_once(scope):
            self.sync(scope)  # what the link of a pool leads to

    def _fetch_all(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda name: self.fetch(self._local.folder / name), names))

    def fetch_batch(self, relative: str) -> bool:
        """All files of a batch; its seal last, as it says that they are whole."""
        folder, name = relative.rsplit("/", 1)
        place = self._local.folder / folder
        output = place / f"{scopes.fingerprint_of(name)}.parquet"
        seal = output.with_name(output.name + scopes.SEAL)
        if seal.is_file() and (place / name).is_file():
            return True
        entry = self._entry(relative)
        if entry is None:
            return (place / name).is_file()
        for one, record in entry.files.items():
            if not (place / one).is_file() and not self._download(f"{folder}/{one}", record):
                self._forget_damaged(relative)
                return False
        if not seal.is_file():
            self._local.write_text(seal, entry.seal)
        return (place / name).is_file()

    def _fetch_file(self, relative: str, record: FileRecord) -> bool:
        if not self._download(relative, record):
            self._forget_damaged(relative)
            return False
        return True

    def _forget_damaged(self, relative: str) -> None:
        if scopes.is_batch(relative):
            folder, name = relative.rsplit("/", 1)
            self._entries.remove(folder, scopes.fingerprint_of(name))
            return
        scope = scopes.scope_of(relative)
        record = self._record(relative)
        manifest = self._manifests.read(scope) or Manifest()
        if manifest.files.get(relative) == record:  # and not made again meanwhile
            self._manifests.publish(scope, {relative: None}, {}, manifest)
        self.sync(scope)

    def _download(self, relative: str, record: FileRecord) -> bool:
        """Place a file of the store in the mirror; False where the store does not have what was published.

        An object that comes with the same wrong content twice is set aside. StoreError where it is another one each
        time: then something on the way changes it.
        """
        path = self._local.place(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
        try:
            wrong: set[str] = set()
            for _ in range(TRIES):
                if not self._objects.download(record.key, partial):
                    return False
                found = FileRecord.of(partial).sha256
                if found == record.sha256:
                    os.replace(partial, path)
                    return True
                if found in wrong:
                    self._objects.set_aside(record.key)
                    return False
                wrong.add(found)
            raise StoreError.of_changed(relative)
        finally:
            partial.unlink(missing_ok=True)

    def _entry(self, relative: str) -> BatchEntry | None:
        folder, name = relative.rsplit("/", 1)
        return self._entries.read(folder, scopes.fingerprint_of(name))

    def _record(self, relative: str) -> Entry | None:
        """What the manifest says of a file, as it was when its scope was last looked at."""
        scope = scopes.scope_of(relative)
        if scopes.is_local(relative):
            return None
        if not scopes.is_fetched_at_once(scope) and not self._local.indices.is_known(scope):
            self.sync(scope)
        return self._local.indices.read(scope).manifest.files.get(relative)

    def _find(self, path: Path) -> str:
        """The file that a path leads to, relative to the mirror; links may lead to what is not in the mirror."""
        if not os.path.lexists(path):
            relative = self._local.relative(path)
            scope = scopes.scope_of(relative)
            if not scopes.is_fetched_at_once(scope) and not self._local.indices.is_known(scope):
                self.sync(scope)
        return self._local.target(path)


def _is_below(name: str, folder: str | None) -> bool:
    """Whether a file is in a folder of the home, which is "" for the home itself and None for no folder."""
    return folder is not None and name.startswith(f"{folder}/" if folder else "")
