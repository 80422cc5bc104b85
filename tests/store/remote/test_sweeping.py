"""Objects that nothing names are removed; those that somebody may be about to name are not."""

from __future__ import annotations

import pytest

from store.remote import sweeping
from store.remote.protocol.entries import BatchEntry, Entries
from store.remote.protocol.manifests import Manifests
from store.remote.protocol.records import FileRecord
from store.remote.sweeping import sweep
from tests.store.remote.memory import MemoryObjects

OUTPUT = "0" * 20 + ".parquet"


@pytest.fixture
def objects():
    objects = MemoryObjects()
    named, batch, other = (FileRecord(digit * 64, 3) for digit in "abc")
    for record in (named, batch, other):
        objects.put(record.key, b"xyz")
    Manifests(objects).publish("phantom", {"phantom/a": named, "phantom/link": "../a"}, {})
    Entries(objects).add("phantom/images", "0" * 20, BatchEntry({OUTPUT: batch}, {OUTPUT: 1}, ""))
    return objects


def left(objects):
    return [one.name[-1] for one in objects.list("objects/")]


def run(objects, dry_run=False):
    return sweep(objects, Manifests(objects), Entries(objects), dry_run)


def test_an_object_that_nothing_names_is_removed(objects, monkeypatch):
    monkeypatch.setattr(sweeping, "LEAST_AGE", -1)
    assert run(objects, dry_run=True) == (1, 3)
    assert left(objects) == ["a", "b", "c"]
    assert run(objects) == (1, 3)
    assert left(objects) == ["a", "b"]
    Entries(objects).remove("phantom/images", "0" * 20)
    assert run(objects) == (1, 3)
    assert left(objects) == ["a"]


def test_a_young_object_is_kept(objects):
    assert run(objects) == (0, 0)
    assert left(objects) == ["a", "b", "c"]


def test_an_object_that_is_written_again_meanwhile_is_kept(objects, monkeypatch):
    old = [one.__class__(one.name, one.etag, one.size, age=1e9) for one in objects.list("objects/")]
    monkeypatch.setattr(
        objects, "list", lambda prefix, found=objects.list: old if prefix == "objects/" else found(prefix)
    )
    run(objects)
    monkeypatch.undo()
    assert left(objects) == ["a", "b", "c"]
