"""A home on object storage and its mirror in a local folder, kept together.

Published files are objects named by their content; manifests and entries of batches say which file has which content.
Small files are brought into the mirror when a process begins, large ones when somebody opens them. What is written in
the mirror is published when its seal is written: objects first, then the manifest, in one conditional request.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

from store.locks import HELD
from store.remote import scopes
from store.remote.address import Address, endpoint
from store.remote.checks import expect_conditions
from store.remote.entries import BatchEntry, Entries
from store.remote.errors import StoreError
from store.remote.index import Index, Indices
from store.remote.leases import Lease, Leases
from store.remote.manifests import Entry, Manifest, Manifests
from store.remote.objects import Objects
from store.remote.packing import LISTING, list_folder, pack_folder, unpack_folder
from store.remote.ranges import Ranges
from store.remote.records import FileRecord, Located

OWN = ".remote"  # in the mirror: what only the keeper reads
SMALL = 4 << 20  # bytes; larger files are fetched when they are opened
FIRST_PATIENCE = 6.0  # seconds to wait for a store that did not answer yet
WORKERS = 16  # files on their way at once
TRIES = 2  # to fetch an object whose content is not what its name says
LEASE = "lease="
PARTIAL = ".partial"

Log = Callable[[str], object]


class RemoteHome:
    """The keeper of a remote home. It may be used by several threads, and several processes may share a mirror."""

    def __init__(self, address: str, mirror: Path) -> None:
        self._given, self.mirror = address, mirror
        self._real = os.path.realpath(mirror)
        self._changing = threading.Lock()
        self._noted: dict[str, set[str]] = defaultdict(set)  # scope -> paths that were written
        self._gone: dict[str, set[str]] = defaultdict(set)  # scope -> paths that were removed
        self._locks: dict[str, threading.RLock] = defaultdict(threading.RLock)
        self._depth: dict[str, int] = defaultdict(int)
        self._held: dict[str, Lease] = {}
        self._checked = False
        self._id = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:12]  # in the names of leases
        self.indices = Indices(mirror / OWN / "index")
        atexit.register(self._flush_at_exit)

    # --- parts ---------------------------------------------------------------------------------------------------

    @cached_property
    def address(self) -> Address:
        """Where the home is; StoreError where the address cannot be one."""
        return Address.parse(self._given)

    @property
    def address_name(self) -> str:
        """The address, for messages."""
        try:
            return self.address.url
        except StoreError:
            return "the home on object storage"

    @cached_property
    def objects(self) -> Objects:
        """The objects of the home."""
        return Objects(self.address)

    @cached_property
    def manifests(self) -> Manifests:
        """The manifests of the home."""
        return Manifests(self.objects)

    @cached_property
    def entries(self) -> Entries:
        """The entries of batches of the home."""
        return Entries(self.objects)

    @cached_property
    def leases(self) -> Leases:
        """The leases of the home."""
        return Leases(self.objects)

    @cached_property
    def ranges(self) -> Ranges:
        """The files of the home that are read by ranges."""
        return Ranges(self, self.mirror / OWN)

    # --- fetching ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Check the store, once, and bring the small files that others have published since into the mirror."""
        if not self._checked:
            self._check()
        for scope, etag in self.manifests.list().items():
            if scopes.is_fetched_at_once(scope) and self.indices.read(scope).manifest.etag != etag:
                self._sync(scope)

    def bring(self, path: Path) -> None:
        """Bring the small files of the scope of a path, or of the scope that is the folder `path`, into the mirror."""
        self._sync(self._scope(path))

    def bring_below(self, folder: Path) -> None:
        """Bring the small files of all scopes in a folder into the mirror."""
        prefix = f"{self._relative(folder)}/"
        for scope, etag in self.manifests.list().items():
            if scope.startswith(prefix) and self.indices.read(scope).manifest.etag != etag:
                self._sync(scope)

    def bring_whole(self, folder: Path) -> None:
        """Bring all files of a folder of a scope into the mirror."""
        self.bring(folder)
        relative = self._relative(folder)
        files = self.indices.read(self._scope(folder)).manifest.files
        self._fetch_all([name for name in files if name.startswith(f"{relative}/")])

    def fetch(self, path: Path) -> bool:
        """Bring a file and its seal into the mirror; whether it is there now."""
        relative = self._find(path)
        if scopes.is_batch(relative):
            return self._fetch_batch(relative)
        if (self.mirror / relative).is_file():
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
            if not self.entries.has(folder, match[1]):
                return False
            return not match[2] or self.rows_of(path) is not None
        return self._record(relative) is not None

    def seal_text(self, path: Path) -> str | None:
        """What the seal of a file says that is not in the mirror."""
        relative = self._find(path)
        if not scopes.is_batch(relative):
            seal = self.mirror / (relative + scopes.SEAL)
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
        return Located(self.address.key(record.key), record) if isinstance(record, FileRecord) else None

    def look_for_batches(self, folder: Path) -> None:
        """Look which batches of a stage are complete by now."""
        self.entries.list(self._relative(folder))

    def learn_batches(self, outputs: Sequence[Path]) -> None:
        """Read the entries of some batches of one stage at once."""
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda path: self._entry(self._relative(path)), outputs))

    def _fetch_all(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda name: self.fetch(self.mirror / name), names))

    def _fetch_batch(self, relative: str) -> bool:
        """All files of a batch; its seal last, as it says that they are whole."""
        folder, name = relative.rsplit("/", 1)
        place = self.mirror / folder
        output = place / f"{_fingerprint(name)}.parquet"
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
            self._place_text(seal, entry.seal)
        return (place / name).is_file()

    def reject(self, path: Path) -> None:
        """Set aside what the store has of a file and is not what was published; it counts as not written then."""
        located, relative = self.locate(path), self._find(path)
        if located is not None:
            self.objects.set_aside(located.record.key)
            self._forget_damaged(relative)

    def _fetch_file(self, relative: str, record: FileRecord) -> bool:
        if not self._download(relative, record):
            self._forget_damaged(relative)
            return False
        return True

    def _forget_damaged(self, relative: str) -> None:
        if scopes.is_batch(relative):
            folder, name = relative.rsplit("/", 1)
            self.entries.remove(folder, _fingerprint(name))
            return
        scope = scopes.scope_of(relative)
        with self._changing:
            self._gone[scope].add(relative)
        self._publish_rest(scope)

    def _download(self, relative: str, record: FileRecord) -> bool:
        """Place a file of the store in the mirror; False where the store does not have what was published."""
        path = self.mirror / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
        try:
            for _ in range(TRIES):
                if self.objects.download(record.key, partial) and FileRecord.of(partial).sha256 == record.sha256:
                    os.replace(partial, path)
                    return True
            self.objects.set_aside(record.key)
            return False
        finally:
            partial.unlink(missing_ok=True)

    def _place_text(self, path: Path, text: str) -> None:
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)

    def _entry(self, relative: str) -> BatchEntry | None:
        folder, name = relative.rsplit("/", 1)
        return self.entries.read(folder, _fingerprint(name))

    def _record(self, relative: str) -> Entry | None:
        """What the manifest says of a file, as it was when its scope was last looked at."""
        scope = scopes.scope_of(relative)
        if scopes.is_local(relative):
            return None
        if not scopes.is_fetched_at_once(scope) and not self.indices.is_known(scope):
            self._sync(scope)
        return self.indices.read(scope).manifest.files.get(relative)

    # --- keeping the mirror as the store is ----------------------------------------------------------------------

    def _sync(self, scope: str, reset: bool = False) -> None:
        """Make the files of a scope in the mirror those of its manifest.

        What changed in the store since the last time is brought. With `reset`, which only the holder of a lease asks
        for, everything else becomes as it is in the store as well.
        """
        with self._alone(scope):
            known = self.indices.read(scope)
            manifest = self.manifests.read(scope, known.manifest.etag) or known.manifest
            if manifest is known.manifest and not reset and self.indices.is_known(scope):
                return
            changed = [
                name
                for name, entry in manifest.files.items()
                if known.manifest.files.get(name) != entry or (reset and not known.is_as_placed(self.mirror, name))
            ]
            gone = set(known.manifest.files) - set(manifest.files)
            if reset:
                gone |= self._list(scope) - set(manifest.files)
            for name in gone:
                (self.mirror / name).unlink(missing_ok=True)
            self._place(manifest, changed)
            self.indices.write(scope, Index.of(manifest, self.mirror))

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
        path, record = self.mirror / name, manifest.files[name]
        if path.is_file() and isinstance(record, FileRecord):
            found = self.objects.get(record.key)
            if found is not None:
                with suppress(OSError, ValueError):
                    self._place_text(path, path.read_text(encoding="utf-8") + found.body.decode())

    def _place_one(self, manifest: Manifest, name: str) -> None:
        record = manifest.files[name]
        assert isinstance(record, FileRecord)
        path = self.mirror / name
        if record.size > SMALL:
            if path.is_file() and FileRecord.of(path) != record:
                path.unlink()
        elif not self._download(name, record):
            path.unlink(missing_ok=True)

    def _place_link(self, name: str, target: str) -> None:
        path = self.mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.replace(path)
        scope = scopes.scope_of(os.path.normpath(f"{os.path.dirname(name)}/{target}/x"))
        if scope != scopes.scope_of(name) and not scopes.is_fetched_at_once(scope):
            self._sync(scope)  # what the link of a pool leads to

    def _list(self, scope: str) -> set[str]:
        """The files of a scope that are in the mirror and would be published."""
        if scope == scopes.HOME:
            return set()
        found = set()
        for folder, folders, names in os.walk(self.mirror / scope):
            place = os.path.relpath(folder, self.mirror)
            folders[:] = [one for one in folders if scopes.scope_of(f"{place}/{one}/x/x") == scope]
            links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
            found |= {f"{place}/{name}" for name in (*names, *links)}
        return {name for name in found if not scopes.is_local(name) and not scopes.is_batch(name)}

    # --- publishing ----------------------------------------------------------------------------------------------

    def note(self, path: Path) -> None:
        """Remember that a file was written."""
        relative = self._relative(path)
        if not scopes.is_local(relative) and not scopes.is_batch(relative):
            with self._changing:
                self._noted[scopes.scope_of(relative)].add(relative)

    @contextmanager
    def publishing(self, path: Path) -> Iterator[None]:
        """Publish what the block writes in the scope of `path` when it ends; of a batch, that it is complete."""
        relative = self._relative(path)
        if scopes.is_local(relative):
            yield
        elif scopes.is_batch(relative):
            yield
            self.keep_batches([path])
        else:
            scope = self._scope(path)
            with self._alone(scope):
                yield
                if self._depth[scope] == 1:
                    self._flush(scope)

    def publish(self, paths: Sequence[Path], gone: Sequence[Path] = ()) -> None:
        """Publish files, links and folders of one scope at once, and forget others."""
        first = next(iter((*paths, *gone)))
        scope = self._scope(first)
        with self._alone(scope):
            for path in paths:
                for one in _files_below(path):
                    self.note(one)
            known = self.indices.read(scope).manifest.files
            for relative in map(self._relative, gone):
                self._gone[scope] |= {name for name in known if name == relative or name.startswith(f"{relative}/")}
            self._flush(scope)

    def forget(self, path: Path) -> None:
        """Forget a file, a folder, a batch or a whole version that was removed for good."""
        relative = self._relative(path)
        if scopes.is_local(relative):
            return
        if scopes.is_batch(relative):
            folder, name = relative.rsplit("/", 1)
            self.entries.remove(folder, _fingerprint(name))
        elif self._scope(path) == relative and "/" in relative:
            self.manifests.remove(relative)
            self.indices.remove(relative)
        else:
            self.publish((), (path,))

    def keep_batches(self, outputs: Sequence[Path]) -> None:
        """Publish those of some complete batches that the store does not have."""
        if len(outputs) > 1:
            self.look_for_batches(outputs[0].parent)
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self._keep_batch, outputs))

    def _keep_batch(self, output: Path) -> None:
        relative = self._relative(output)
        folder, name = relative.rsplit("/", 1)
        if self.entries.has(folder, _fingerprint(name)):
            return
        place = self.mirror / folder
        seal = place / (name + scopes.SEAL)
        if not seal.is_file():
            return  # nothing of it is here
        text = seal.read_text(encoding="utf-8")
        files = {one: FileRecord.of(place / one) for one in _sealed_names(text)}
        for one, record in files.items():
            self.objects.upload(record.key, place / one, record.size)
        entry = BatchEntry(files, {one: _row_count(place / one) for one in files}, text)
        counts = self.entries.add(folder, _fingerprint(name), entry)
        if counts.seal != text:  # another worker was the first
            for one in (seal.name, *files):
                (place / one).unlink(missing_ok=True)
            self._fetch_batch(relative)

    def flush_all(self) -> None:
        """Publish what was noted and not published yet."""
        for scope in sorted({*self._noted, *self._gone}):
            self._publish_rest(scope)

    def _flush(self, scope: str) -> None:
        """Publish what was noted of a scope. To be called while `_alone`."""
        with self._changing:
            noted, gone = self._noted.pop(scope, set()), self._gone.pop(scope, set())
        if not noted and not gone:
            return
        for name, lease in self._held.items():
            if scopes.scope_of(name) == scope:
                lease.expect_held()
        changes: dict[str, Entry | None] = {name: None for name in gone}
        with ThreadPoolExecutor(WORKERS) as pool:
            changes |= {name: entry for name, entry in pool.map(self._upload, sorted(noted)) if entry is not None}
        known = self.indices.read(scope)
        before, after = self.manifests.publish(scope, changes, self._tokens(scope), known.manifest)
        if before.etag != known.manifest.etag:  # what others have published meanwhile is yet to be brought
            files = {**known.manifest.files, **{name: entry for name, entry in changes.items() if entry is not None}}
            after = Manifest({name: files[name] for name in files if changes.get(name, "") is not None}, after.tokens)
        self.indices.write(scope, known.after(after, changes, self.mirror))

    def _publish_rest(self, scope: str) -> None:
        with self._alone(scope):
            self._flush(scope)

    def _drop(self, scope: str) -> None:
        """Do not publish what was noted: the lease under which it was written has ended."""
        with self._changing:
            self._noted.pop(scope, None)
            self._gone.pop(scope, None)

    def _upload(self, relative: str) -> tuple[str, Entry | None]:
        """Store the content of a file; None for one that is not there any more."""
        path = self.mirror / relative
        if path.is_symlink():
            return relative, os.readlink(path)
        try:
            record = FileRecord.of(path)
        except (FileNotFoundError, IsADirectoryError):
            return relative, None
        known = self.indices.read(scopes.scope_of(relative)).manifest.files.get(relative)
        if known != record:
            self.objects.upload(record.key, path, record.size)
        return relative, record

    def _flush_at_exit(self) -> None:
        with suppress(Exception):
            self.flush_all()

    # --- simulated archives --------------------------------------------------------------------------------------

    def pack(self, folder: Path) -> None:
        """Publish a folder as one file, unless it is in the store as it is."""
        packed = folder.with_name(f"{folder.name}.tar")
        listing, kept = list_folder(folder), folder.with_name(f"{folder.name}{LISTING}")
        if self.is_kept(packed) and kept.is_file() and kept.read_text(encoding="ascii") == listing:
            return
        with self.publishing(kept):
            pack_folder(folder, packed)
            self._place_text(kept, listing)
            self.note(packed)
            self.note(kept)
        packed.unlink()

    def unpack(self, folder: Path) -> None:
        """Make a folder again that was packed."""
        packed = folder.with_name(f"{folder.name}.tar")
        if not self.is_kept(packed):
            return
        with self._alone(f"{self._relative(folder)}.tar"):
            if not folder.exists() and self.fetch(packed):
                unpack_folder(packed, folder)
                packed.unlink()

    # --- leases --------------------------------------------------------------------------------------------------

    def lock_name(self, path: Path) -> str | None:
        """What a lock is called in the list of those held, without its token; None for one of this machine."""
        relative = self._relative(path)
        return None if relative.split("/")[0] in scopes.LOCAL_FOLDERS else f"{LEASE}{self._id}/{relative}@"

    @contextmanager
    def leasing(self, path: Path, busy: str, log: Log, patience: float) -> Iterator[str]:
        """Hold the lease of a lock; what the holder before has published is in the mirror then."""
        if not self._checked:
            self._check()
        name = self._relative(path)
        scope = scopes.scope_of(name)
        with self.leases.holding(name, busy, log, patience) as lease:
            self._held[name] = lease
            try:
                self.manifests.publish(scope, {}, {name: lease.token})  # from now on, earlier holders are refused
                self._publish_rest(scope)
                self._sync(scope, reset=True)
                yield f"{self.lock_name(path)}{lease.token}"
                self._publish_rest(scope)
            except Exception:
                with suppress(StoreError):
                    self._publish_rest(scope)
                raise
            finally:
                self._drop(scope)
                del self._held[name]

    def _tokens(self, scope: str) -> dict[str, int]:
        """Of the leases of a scope that this process, or one that started it, holds."""
        base = f"{LEASE}{self._id}/"
        found = {}
        for held in os.environ.get(HELD, "").split(os.pathsep):
            name, _, token = held.removeprefix(base).rpartition("@")
            if held.startswith(base) and scopes.scope_of(name) == scope:
                found[name] = int(token)
        own = {name: lease.token for name, lease in self._held.items() if scopes.scope_of(name) == scope}
        return {**found, **own}

    # --- helpers -------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """StoreError where the store or the mirror cannot be used for this home."""
        mark = self.mirror / OWN / "home.json"
        about = {"url": self.address.url, "endpoint": endpoint()}
        there = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
        if there and there["url"] != about["url"]:
            raise StoreError(
                f"{self.mirror} mirrors another home ({there['url']}): set RADALIGN_MIRROR to a folder for "
                f"{self.address.url} alone."
            )
        first = Objects(self.address, FIRST_PATIENCE)
        next(iter(first.list("manifests/")), None)
        if there != about:
            expect_conditions(first, endpoint())
            mark.parent.mkdir(parents=True, exist_ok=True)
            self._place_text(mark, json.dumps(about))
        self._checked = True

    def _relative(self, path: Path) -> str:
        """A path relative to the mirror; links of folders above it are followed, itself it is not."""
        parent, name = os.path.split(os.path.abspath(path))
        if os.path.abspath(path) == str(self.mirror):
            return ""
        return os.path.relpath(os.path.join(os.path.realpath(parent), name), self._real)

    def _find(self, path: Path) -> str:
        """The file that a path leads to, relative to the mirror; links may lead to what is not in the mirror."""
        if not os.path.lexists(path):
            relative = self._relative(path)
            scope = scopes.scope_of(relative)
            if not scopes.is_fetched_at_once(scope) and not self.indices.is_known(scope):
                self._sync(scope)
        return os.path.relpath(os.path.realpath(path), self._real)

    def _scope(self, path: Path) -> str:
        """The scope of a path, or the scope that is this very folder."""
        relative = self._relative(path)
        inside = scopes.scope_of(f"{relative}/x")
        return inside if inside == relative else scopes.scope_of(relative)

    @contextmanager
    def _alone(self, scope: str) -> Iterator[None]:
        """Be the only thread of this machine that changes the files of a scope in the mirror."""
        with ExitStack() as stack:
            stack.enter_context(self._locks[scope])
            if self._depth[scope] == 0:
                stack.enter_context(_flock(self.mirror / OWN / "locks" / scope.replace("/", "%")))
            self._depth[scope] += 1
            try:
                yield
            finally:
                self._depth[scope] -= 1


@contextmanager
def _flock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fingerprint(name: str) -> str:
    """Of the batch that a file belongs to."""
    match = scopes.BATCH.fullmatch(name)
    assert match is not None
    return match[1]


def _sealed_names(text: str) -> list[str]:
    return [line.partition("  ")[2] for line in text.splitlines()]


def _row_count(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _files_below(path: Path) -> Iterable[Path]:
    """A file or a link itself; of a folder all files and links in it."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        found += [Path(folder, name) for name in (*names, *links)]
    return found
