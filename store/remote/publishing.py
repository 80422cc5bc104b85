"""Publishes what was written in the mirror: contents first, then the manifest of the scope, at once."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from store.remote import scopes
from store.remote.fetching import WORKERS, Fetching
from store.remote.local import LocalMirror, files_below
from store.remote.protocol.entries import BatchEntry, Entries
from store.remote.protocol.errors import LeaseLostError, StoreError
from store.remote.protocol.manifests import Entry, Manifest, Manifests, Tokens
from store.remote.protocol.objects import Objects
from store.remote.protocol.records import FileRecord

IN_MEMORY = 64 << 20  # bytes; a longer file is only ever replaced, never written to while it is read


class Publishing:
    """What was written in a mirror and is to be published. Threads may share it."""

    def __init__(
        self,
        local: LocalMirror,
        objects: Objects,
        manifests: Manifests,
        entries: Entries,
        fetching: Fetching,
        tokens: Callable[[str], Tokens],
    ) -> None:
        """`tokens` gives those of the leases that are held of a scope, or raises LeaseLostError."""
        self._local, self._objects, self._manifests, self._entries = local, objects, manifests, entries
        self._fetching, self._tokens = fetching, tokens
        self._changing = threading.Lock()
        self._noted: dict[str, set[str]] = defaultdict(set)  # scope -> paths that were written
        self._gone: dict[str, set[str]] = defaultdict(set)  # scope -> paths that were removed

    def note(self, path: Path) -> None:
        """Remember that a file was written."""
        relative = self._local.relative(path)
        if not scopes.is_local(relative) and not scopes.is_batch(relative):
            with self._changing:
                self._noted[scopes.scope_of(relative)].add(relative)

    @contextmanager
    def publishing(self, path: Path) -> Iterator[None]:
        """Publish what the block writes in the scope of `path` when it ends; of a batch, that it is complete."""
        relative = self._local.relative(path)
        if scopes.is_local(relative):
            yield
        elif scopes.is_batch(relative):
            yield
            self.keep_batches([path])
        else:
            scope = self._local.scope(path)
            with self._local.alone(scope) as outermost:
                yield
                if outermost:
                    self._flush(scope)

    def publish(self, paths: Sequence[Path], gone: Sequence[Path] = ()) -> None:
        """Publish files, links and folders of one scope at once, and forget others."""
        first = next(iter((*paths, *gone)))
        scope = self._local.scope(first)
        with self._local.alone(scope):
            for path in paths:
                for one in files_below(path):
                    self.note(one)
            known = self._local.indices.read(scope).manifest.files
            for relative in map(self._local.relative, gone):
                self._gone[scope] |= {name for name in known if name == relative or name.startswith(f"{relative}/")}
            self._flush(scope)

    def forget(self, path: Path) -> None:
        """Forget a file, a folder, a batch or a whole version that was removed for good."""
        relative = self._local.relative(path)
        if scopes.is_local(relative):
            return
        if scopes.is_batch(relative):
            folder, name = relative.rsplit("/", 1)
            self._entries.remove(folder, scopes.fingerprint_of(name))
        elif self._local.scope(path) == relative and "/" in relative:
            self._manifests.remove(relative)
            self._local.indices.remove(relative)
        else:
            self.publish((), (path,))

    def keep_batches(self, outputs: Sequence[Path]) -> None:
        """Publish those of some complete batches that the store does not have."""
        if len(outputs) > 1:
            self._fetching.look_for_batches(outputs[0].parent)
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self._keep_batch, outputs))

    def flush_all(self) -> None:
        """Publish what was noted and not published yet."""
        for scope in sorted({*self._noted, *self._gone}):
            self.flush(scope)

    def flush(self, scope: str) -> None:
        """Publish what was noted of a scope."""
        with self._local.alone(scope):
            self._flush(scope)

    def drop(self, scope: str) -> None:
        """Do not publish what was noted: the lease under which it was written has ended."""
        with self._changing:
            self._noted.pop(scope, None)
            self._gone.pop(scope, None)

    def _keep_batch(self, output: Path) -> None:
        relative = self._local.relative(output)
        folder, name = relative.rsplit("/", 1)
        if self._entries.has(folder, scopes.fingerprint_of(name)):
            return
        place = self._local.folder / folder
        seal = place / (name + scopes.SEAL)
        if not seal.is_file():
            return  # nothing of it is here
        text = seal.read_text(encoding="utf-8")
        files = {one: self._store(place / one) for one in _sealed_names(text)}
        entry = BatchEntry(files, {one: _row_count(place / one) for one in files}, text)
        counts = self._entries.add(folder, scopes.fingerprint_of(name), entry)
        if counts.seal != text:  # another worker was the first
            for one in (seal.name, *files):
                (place / one).unlink(missing_ok=True)
            self._fetching.fetch_batch(relative)

    def _flush(self, scope: str) -> None:
        """Publish what was noted of a scope; where the store fails, it stays noted. To be called while `_alone`."""
        with self._changing:
            noted, gone = self._noted.pop(scope, set()), self._gone.pop(scope, set())
        if not noted and not gone:
            return
        try:
            self._change(scope, noted, gone)
        except LeaseLostError:
            raise
        except StoreError:
            with self._changing:
                self._noted[scope] |= noted
                self._gone[scope] |= gone
            raise

    def _change(self, scope: str, noted: Collection[str], gone: Collection[str]) -> None:
        """Upload what was written, then replace the manifest."""
        tokens, known = self._tokens(scope), self._local.indices.read(scope)
        kept = self._manifests.read(scope, known.manifest.etag) or known.manifest
        changes: dict[str, Entry | None] = {name: None for name in gone}
        changes |= {name: entry for name, entry in self._upload_all(sorted(noted), kept) if entry is not None}
        before, after = self._manifests.publish(scope, changes, tokens, kept)
        if before.etag != known.manifest.etag:  # what others have published meanwhile is yet to be brought
            files = {**known.manifest.files, **{name: entry for name, entry in changes.items() if entry is not None}}
            after = Manifest({name: files[name] for name in files if changes.get(name, "") is not None}, after.tokens)
        self._local.indices.write(scope, known.after(after, changes, self._local.folder))

    def _upload_all(self, names: Sequence[str], kept: Manifest) -> list[tuple[str, Entry | None]]:
        if not threading.main_thread().is_alive():  # the interpreter ends, and starts no threads any more
            return [self._upload(name, kept) for name in names]
        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(lambda name: self._upload(name, kept), names))

    def _upload(self, relative: str, kept: Manifest) -> tuple[str, Entry | None]:
        """Store the content of a file, unless the manifest of the store has it; None for one that is gone."""
        path = self._local.folder / relative
        if path.is_symlink():
            return relative, os.readlink(path)
        try:
            return relative, self._store(path, kept.files.get(relative))
        except (FileNotFoundError, IsADirectoryError):
            return relative, None

    def _store(self, path: Path, known: Entry | None = None) -> FileRecord:
        """Store the content of a file, unless it is `known`; what is written to it meanwhile is left out."""
        with path.open("rb") as opened:
            short = os.fstat(opened.fileno()).st_size <= IN_MEMORY
            file = BytesIO(opened.read()) if short else opened
            record = FileRecord.of_content(file)
            if record != known:
                self._objects.upload(record.key, file, record.size)
        return record


def _sealed_names(text: str) -> list[str]:
    return [line.partition("  ")[2] for line in text.splitlines()]


def _row_count(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)
