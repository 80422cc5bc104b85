"""A home on object storage and its mirror in a local folder, kept together.

Published files are objects named by their content; manifests and entries of batches say which file has which content.
Small files are brought into the mirror when a process begins, large ones when somebody opens them. What is written in
the mirror is published when its seal is written: objects first, then the manifest, in one conditional request.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from store.locks import held
from store.remote import scopes
from store.remote.disks import network_disk
from store.remote.fetching import Fetching
from store.remote.local import LocalMirror
from store.remote.mirror import VARIABLE as MIRROR
from store.remote.packing import LISTING, list_folder, pack_folder, unpack_folder
from store.remote.protocol.address import Address, endpoint
from store.remote.protocol.checks import expect_conditions
from store.remote.protocol.entries import Entries
from store.remote.protocol.errors import StoreError
from store.remote.protocol.leases import Lease, Leases, lease_seconds
from store.remote.protocol.manifests import Manifests
from store.remote.protocol.objects import Objects
from store.remote.publishing import Publishing
from store.remote.ranges import Ranges, cache_bytes, fetch_bytes
from store.remote.sweeping import sweep

FIRST_PATIENCE = 6.0  # seconds to wait for a store that did not answer yet
LEASE = "lease="

Log = Callable[[str], object]


class RemoteHome:
    """The keeper of a remote home. It may be used by several threads, and several processes may share a mirror."""

    def __init__(self, address: str, mirror: Path) -> None:
        self._given, self.mirror = address, mirror
        self.local = LocalMirror(mirror)
        self._held: dict[str, Lease] = {}
        self._checked = False
        self._id = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:12]  # in the names of leases
        atexit.register(self._flush_at_exit)

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
        return Ranges(self, self.local.own)

    @cached_property
    def fetching(self) -> Fetching:
        """What the store has, and how it comes into the mirror."""
        return Fetching(self.local, self.objects, self.manifests, self.entries)

    @cached_property
    def publishing(self) -> Publishing:
        """What was written in the mirror, and how it comes into the store."""
        return Publishing(self.local, self.objects, self.manifests, self.entries, self.fetching, self._tokens)

    def refresh(self) -> None:
        """Check the store, once, and bring the small files that others have published since into the mirror."""
        if not self._checked:
            self._check()
        self.fetching.refresh()

    def note(self, path: Path) -> None:
        """Remember that a file was written, unless it is one of this machine."""
        if not scopes.is_local(self.local.relative(path)):
            self.publishing.note(path)

    def pack(self, folder: Path) -> None:
        """Publish a folder as one file, unless it is in the store as it is."""
        packed = folder.with_name(f"{folder.name}.tar")
        listing, kept = list_folder(folder), folder.with_name(f"{folder.name}{LISTING}")
        if self.fetching.is_kept(packed) and kept.is_file() and kept.read_text(encoding="ascii") == listing:
            return
        with self.publishing.publishing(kept):
            pack_folder(folder, packed)
            self.local.write_text(kept, listing)
            self.publishing.note(packed)
            self.publishing.note(kept)
        packed.unlink()

    def unpack(self, folder: Path) -> None:
        """Make a folder again that was packed."""
        packed = folder.with_name(f"{folder.name}.tar")
        if not self.fetching.is_kept(packed):
            return
        with self.local.alone(f"{self.local.relative(folder)}.tar"):
            if not folder.exists() and self.fetching.fetch(packed):
                unpack_folder(packed, folder)
                packed.unlink()

    def sweep(self, dry_run: bool) -> tuple[int, int]:
        """Remove objects that nothing names any more; how many, and their bytes."""
        return sweep(self.objects, self.manifests, self.entries, dry_run)

    def lock_name(self, path: Path) -> str | None:
        """What a lock is called in the list of those held, without its token; None for one of this machine."""
        relative = self.local.relative(path)
        return None if relative.split("/")[0] in scopes.LOCAL_FOLDERS else f"{LEASE}{self._id}/{relative}@"

    @contextmanager
    def leasing(self, path: Path, busy: str, log: Log, patience: float) -> Iterator[str]:
        """Hold the lease of a lock; what the holder before has published is in the mirror then."""
        if not self._checked:
            self._check()
        name = self.local.relative(path)
        scope = scopes.scope_of(name)
        with self.leases.acquire(name, busy, log, patience, lambda: self._last_token(scope, name)) as lease:
            self._held[name] = lease
            try:
                self.manifests.publish(scope, {}, {name: lease.token})  # from now on, earlier holders are refused
                self.publishing.flush(scope)
                self.fetching.sync(scope, reset=os.path.dirname(name))
                yield f"{self.lock_name(path)}{lease.token}"
                self.publishing.flush(scope)
            except Exception:
                with suppress(StoreError):
                    self.publishing.flush(scope)
                raise
            finally:
                self.publishing.drop(scope)
                del self._held[name]

    def _last_token(self, scope: str, lease: str) -> int:
        """Under which somebody has published last."""
        manifest = self.manifests.read(scope)
        return manifest.tokens.get(lease, 0) if manifest else 0

    def _tokens(self, scope: str) -> dict[str, int]:
        """Of the leases of a scope that this process, or one that started it, holds; LeaseLostError for a lost one."""
        base = f"{LEASE}{self._id}/"
        found = {}
        for one in held():
            name, _, token = one.removeprefix(base).rpartition("@")
            if one.startswith(base) and scopes.scope_of(name) == scope:
                found[name] = int(token)
        own = {name: lease for name, lease in self._held.items() if scopes.scope_of(name) == scope}
        for lease in own.values():
            lease.expect_held()
        return {**found, **{name: lease.token for name, lease in own.items()}}

    def _check(self) -> None:
        """A UserError where the store, the mirror or a variable cannot be used for this home."""
        for read in (lease_seconds, cache_bytes, fetch_bytes):  # or it would be said when hours of work are done
            read()
        named = os.environ.get(MIRROR, "")
        if (kind := network_disk(self.mirror)) and (not named or self.mirror != Path(named).absolute()):
            raise StoreError(
                f"The mirror {self.mirror} lies on a network disk ({kind}), which other machines may share, and each "
                "machine needs a mirror of its own: set RADALIGN_MIRROR, or XDG_CACHE_HOME, to a folder on a disk of "
                "this machine."
            )
        mark = self.local.own / "home.json"
        about = {"url": self.address.url, "endpoint": endpoint()}
        there = _read_mark(mark)
        if there and there["url"] != about["url"]:
            raise StoreError(
                f"{self.mirror} mirrors another home ({there['url']}): set RADALIGN_MIRROR to a folder for "
                f"{self.address.url} alone."
            )
        if stray := self.local.find_stray():
            raise StoreError(
                f"{self.mirror} has files that came from no store, such as {stray}, and which a mirror would lose: set "
                "RADALIGN_MIRROR to an empty folder."
            )
        first = Objects(self.address, FIRST_PATIENCE)
        next(iter(first.list("manifests/")), None)
        if there != about:
            expect_conditions(first, endpoint())
            if there:  # another server, which may hold something else at this address
                self.local.indices.clear()
            mark.parent.mkdir(parents=True, exist_ok=True)
            self.local.write_text(mark, json.dumps(about))
        self._checked = True

    def _flush_at_exit(self) -> None:
        with suppress(Exception):
            self.publishing.flush_all()


def _read_mark(path: Path) -> dict[str, str]:
    """Which home a mirror is of; empty where that is not known, as after a power cut."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "url" in found else {}
