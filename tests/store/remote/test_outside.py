"""What a store says is placed in the mirror and nowhere else, whoever has written into the bucket."""

from __future__ import annotations

import os

import pytest

from store.remote.fetching import Fetching
from store.remote.local import LocalMirror
from store.remote.protocol.entries import BatchEntry, Entries
from store.remote.protocol.errors import StoreError
from store.remote.protocol.manifests import Manifests
from store.remote.protocol.records import FileRecord
from tests.store.remote.memory import MemoryObjects

SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of b"abc" (FIPS 180-4)
RECORD = FileRecord(SHA256, 3)


@pytest.fixture
def objects():
    objects = MemoryObjects()
    objects.put(RECORD.key, b"abc")
    return objects


@pytest.fixture
def local(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "outside").mkdir()
    return LocalMirror(tmp_path / "mirror")


def fetching(local, objects):
    return Fetching(local, objects, Manifests(objects), Entries(objects))


def test_a_file_and_a_link_within_the_mirror_are_placed(local, objects):
    Manifests(objects).publish("phantom", {"phantom/a/b": RECORD, "phantom/c/d": "../a/b"}, {})
    fetching(local, objects).sync("phantom")
    assert (local.folder / "phantom" / "c" / "d").read_bytes() == b"abc"


@pytest.mark.parametrize("target", ["../../outside", "/etc", "a/../../../outside"])
def test_a_link_that_leads_out_of_the_mirror_is_refused(local, objects, target):
    Manifests(objects).publish("phantom", {"phantom/link": target}, {})
    with pytest.raises(StoreError, match="names phantom/link, which would be outside the mirror"):
        fetching(local, objects).sync("phantom")
    assert not os.path.lexists(local.folder / "phantom" / "link")


def test_no_file_is_placed_through_a_link_that_leads_out_of_the_mirror(local, objects):
    (local.folder / "phantom").symlink_to("../outside")
    Manifests(objects).publish("phantom", {"phantom/a": RECORD}, {})
    with pytest.raises(StoreError, match="outside the mirror"):
        fetching(local, objects).sync("phantom")
    assert list((local.folder.parent / "outside").iterdir()) == []


def test_an_entry_that_names_a_file_of_another_place_is_damaged(local, objects):
    Entries(objects).add("phantom/images", "0" * 20, BatchEntry({"../../../outside/a": RECORD}, {}, ""))
    with pytest.raises(StoreError, match=f"The entry of the batch phantom/images/{'0' * 20} .* is damaged"):
        fetching(local, objects).fetch_batch(f"phantom/images/{'0' * 20}.parquet")
    assert list((local.folder.parent / "outside").iterdir()) == []
