"""Manifests under writers that are paused at any point: nothing lost, nothing doubled, no token out of order."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import BusyError
from store.remote.protocol import leases
from store.remote.protocol.errors import LeaseLostError, StoreError
from store.remote.protocol.leases import Leases
from store.remote.protocol.manifests import Manifest, Manifests
from store.remote.protocol.records import FileRecord
from tests.store.remote.memory import MemoryObjects

LEASE, SCOPE = "phantom/ingestion.lock", "phantom"


def record(number: int) -> FileRecord:
    return FileRecord(f"{number:064x}", number)


def test_a_manifest_is_what_was_written():
    blocks = FileRecord("ab" * 32, 3 << 20, ("cd" * 32, "ef" * 32, "01" * 32))
    written = Manifest({"phantom/a": record(1), "phantom/b": blocks, "phantom/c": "../b"}, {LEASE: 4})
    assert Manifest.from_bytes(written.to_bytes(), "tag") == Manifest(written.files, written.tokens, "tag")
    assert written.to_bytes() != written.to_bytes()  # two writers never write the same bytes


def test_a_change_adds_replaces_and_removes_at_once():
    manifests = Manifests(MemoryObjects())
    manifests.publish(SCOPE, {"phantom/a": record(1), "phantom/b": record(2)}, {})
    before, after = manifests.publish(SCOPE, {"phantom/a": record(3), "phantom/b": None, "phantom/c": "a"}, {})
    assert before.files == {"phantom/a": record(1), "phantom/b": record(2)}
    assert after.files == manifests.read(SCOPE).files == {"phantom/a": record(3), "phantom/c": "a"}
    assert manifests.read(SCOPE, after.etag) is None
    assert manifests.list() == {SCOPE: after.etag}


def test_a_damaged_manifest_is_one_sentence():
    objects = MemoryObjects()
    objects.put(f"manifests/{SCOPE}", b"nothing")
    with pytest.raises(StoreError, match="The manifest of phantom in s3://bucket/home is damaged"):
        Manifests(objects).read(SCOPE)


@pytest.mark.parametrize("name", ["/etc/a", "phantom/../../a", "a", "other/a", "phantom//a", "phantom/", "phantom"])
def test_a_manifest_that_names_a_file_of_another_place_is_damaged(name):
    manifests = Manifests(MemoryObjects())
    manifests.publish(SCOPE, {name: record(1)}, {})
    with pytest.raises(StoreError, match="The manifest of phantom in s3://bucket/home is damaged"):
        manifests.read(SCOPE)


def test_changes_of_many_threads_are_all_there():
    objects = MemoryObjects()

    def write(writer: int) -> None:
        for number in range(20):
            Manifests(objects).publish(SCOPE, {f"{SCOPE}/{writer}/{number}": record(number)}, {})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Manifests(objects).read(SCOPE).files
    assert found == {f"{SCOPE}/{writer}/{number}": record(number) for writer in range(3) for number in range(20)}


class Writer:
    """A run that holds the lease, may be paused for any time, and publishes when it goes on."""

    def __init__(self, number: int, objects: MemoryObjects) -> None:
        self.number, self.objects = number, objects
        self.leases, self.manifests = Leases(objects), Manifests(objects)
        self.leases._quick = objects
        self.lease = None
        self.seen = Manifest()

    def take(self) -> None:
        """Hold the lease, if need be after the other one was silent for its duration, and say so in the manifest."""
        self.drop()
        self.lease = self.leases.acquire(LEASE, "busy")
        _, self.seen = self.manifests.publish(SCOPE, {}, {LEASE: self.lease.token})

    def drop(self) -> None:
        if self.lease is not None:
            self.lease.release()
            self.lease = None


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["take", "ask", "drop", "renew", "publish", "publish", "remove"]), st.integers(0, 1)),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_interleaved_writers_never_publish_out_of_order(actions):
    now = [0.0]
    sleep = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds), time=lambda: 0.0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "time", sleep)
        objects = MemoryObjects()
        writers = [Writer(number, objects) for number in range(2)]
        expected: dict[str, FileRecord] = {}
        tokens: list[int] = []
        for step, (action, number) in enumerate(actions):
            writer = writers[number]
            patch.setattr(leases, "machine", lambda number=number: f"machine {number}")
            if action == "take":
                writer.take()
                tokens.append(writer.lease.token)
            elif action == "ask" and writer.lease is None:
                try:
                    writer.lease = writer.leases.acquire(LEASE, "busy", patience=0)
                except BusyError:
                    other = writers[1 - number].lease
                    assert other is not None
                else:
                    tokens.append(writer.lease.token)
                    _, writer.seen = writer.manifests.publish(SCOPE, {}, {LEASE: writer.lease.token})
            elif action == "drop":
                writer.drop()
            elif action == "renew" and writer.lease is not None:
                writer.lease.renew()
            elif action in ("publish", "remove") and writer.lease is not None:
                newest = writer.lease.token == max(tokens)
                changes = {f"{SCOPE}/file{step % 3}": record(step) if action == "publish" else None}
                try:
                    writer.manifests.publish(SCOPE, changes, {LEASE: writer.lease.token}, writer.seen)
                except LeaseLostError:
                    assert not newest
                else:
                    assert newest
                    expected = {name: entry for name, entry in {**expected, **changes}.items() if entry is not None}
            assert Manifests(objects).read(SCOPE).files == expected
        assert tokens == sorted(set(tokens))
        for writer in writers:
            writer.drop()
