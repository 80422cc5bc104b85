"""Removes the objects of a home that no manifest and no entry of a batch names any more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from store.remote.protocol.entries import FOLDER as ENTRIES
from store.remote.protocol.entries import Entries
from store.remote.protocol.manifests import Manifests
from store.remote.protocol.objects import FRESH_SECONDS, Objects
from store.remote.protocol.records import OBJECTS, FileRecord

LEAST_AGE = 2 * FRESH_SECONDS  # a younger object may be that of a manifest which is about to be published
WORKERS = 16


def sweep(objects: Objects, manifests: Manifests, entries: Entries, dry_run: bool) -> tuple[int, int]:
    """Remove what nothing names or, with `dry_run`, only find it; returns how many objects, and their bytes."""
    old = [one for one in objects.list(OBJECTS) if one.age > LEAST_AGE]  # listed before what is named is looked up
    named = set(_named(objects, manifests, entries))
    unneeded = [one for one in old if one.name not in named]
    if not dry_run:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda one: _delete_old(objects, one.name), unneeded))
    return len(unneeded), sum(one.size for one in unneeded)


def _delete_old(objects: Objects, name: str) -> None:
    """Delete an object, unless somebody has written it again since it was listed."""
    there = objects.head(name)
    if there and there.age > LEAST_AGE:
        objects.delete(name)


def _named(objects: Objects, manifests: Manifests, entries: Entries) -> Iterator[str]:
    for scope in manifests.list():
        manifest = manifests.read(scope)
        files = manifest.files.values() if manifest else ()
        yield from (record.key for record in files if isinstance(record, FileRecord))
    names = [one.name.removeprefix(ENTRIES).rpartition("/") for one in objects.list(ENTRIES)]
    with ThreadPoolExecutor(WORKERS) as pool:
        for entry in pool.map(lambda name: entries.read(name[0], name[2]), names):
            yield from (record.key for record in (entry.files.values() if entry else ()))
