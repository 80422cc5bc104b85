"""Shards that are in the store of a home, and not on this machine, are read as those that are."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shards.errors import ShardError
from shards.files import open_shard
from shards.loader import Shuffle, loading
from shards.reader import ShardReader
from shards.writer import write_manifest, write_shard
from store.errors import DamageError
from store.remote import mirror, ranges
from store.remote.protocol import records
from store.remote.protocol.records import FileRecord, Located
from store.remote.ranges import Ranges

SIZE, ROWS, BLOCK = 32, 600, 1 << 14


class FolderAsStore:
    """A keeper whose store is a folder: it has every file by its name, and counts what is asked for."""

    address_name = "s3://bucket/home"

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.mirror, self.objects, self.fetching = folder, home, self, self
        self.asked: list[tuple[str, int, int]] = []
        self.ranges = Ranges(self, home / ".remote")  # type: ignore[arg-type]
        self._records = {path.name: FileRecord.of(path) for path in folder.glob("*.parquet")}

    def locate(self, path: Path) -> Located | None:
        return Located(path.name, self._records[path.name]) if path.name in self._records else None

    def is_kept(self, path: Path) -> bool:
        return path.name in self._records

    def reject(self, path: Path) -> None:
        del self._records[path.name]

    def note(self, path: Path) -> None:
        """Nothing is published here."""

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        self.asked.append((key, start, stop))
        with (self.folder / key).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


@pytest.fixture
def away(tmp_path: Path, sources, monkeypatch: pytest.MonkeyPatch) -> FolderAsStore:
    """Shards in a store of small blocks; of a mirror beside it only the manifest is there."""
    monkeypatch.setattr(records, "BLOCK", BLOCK)
    monkeypatch.setattr(ranges, "BLOCK", BLOCK)
    monkeypatch.setenv(ranges.FETCH_VARIABLE, str(BLOCK))
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    paths = [there / f"{name}.parquet" for name in "abc"]
    for seed, path in enumerate(paths):
        tables = sources(ROWS // 3, SIZE, seed, path.stem)
        write_shard(tables.build(), path)
    write_manifest(there, paths, tables.entities, tables.positions, SIZE, "toy")
    shutil.copy(there / "manifest.json", here)
    keeper = FolderAsStore(there, here)
    monkeypatch.setattr(mirror, "keeper_of", lambda path: keeper if Path(path).is_relative_to(here) else None)
    return keeper


def batches(folder: Path, threads: int = 1) -> list[np.ndarray]:
    """Two epochs."""
    pixels = ShardReader(folder).pixels("train")
    shuffle = Shuffle(len(pixels), 16, seed=0)
    with loading(lambda number: pixels.read(shuffle.batch(number)), threads=threads) as loader:
        return [next(loader) for _ in range(2 * len(pixels) // 16)]


@pytest.mark.parametrize("cache", ["0", "60e3", "1e9"])
def test_everything_that_is_read_is_the_same(away, monkeypatch, cache):
    """Without a cache, with one of three blocks, and with one that holds all."""
    monkeypatch.setenv(ranges.CACHE_VARIABLE, cache)
    for split in ("train", "validate", None):
        near, far = ShardReader(away.folder).read(split), ShardReader(away.mirror).read(split)
        assert near.pixels.tobytes() == far.pixels.tobytes()
        for name in ("image_ids", "study_ids", "subject_ids", "splits", "views", "heights", "widths", "texts"):
            assert list(getattr(near, name)) == list(getattr(far, name)), name
        assert near.sentences == far.sentences
        assert all(np.array_equal(*pair) for pair in zip(near.triplets, far.triplets, strict=True))
        assert near.labels.keys() == far.labels.keys()
    for one, other in zip(batches(away.folder), batches(away.mirror, threads=2), strict=True):
        assert one.tobytes() == other.tobytes()
    kept = sum(path.stat().st_size for path in (away.mirror / ".remote").glob("blocks/??/*"))
    assert kept <= float(cache)
    assert not list(away.mirror.glob("*.parquet"))


def test_a_cache_that_holds_all_fetches_nothing_twice(away):
    for _ in range(2):
        batches(away.mirror)
    fetched = Counter(key for key, start, stop in away.asked for _ in range(stop - start))
    assert all(fetched[path.name] <= path.stat().st_size for path in away.folder.glob("*.parquet"))
    asked = len(away.asked)
    away.ranges = Ranges(away, away.mirror / ".remote")  # as the next process
    batches(away.mirror)
    assert len(away.asked) == asked


def test_processes_take_the_same_batches_at_once(away, monkeypatch):
    monkeypatch.setenv(ranges.CACHE_VARIABLE, str(20 * BLOCK))
    expected = [batch.tobytes() for batch in batches(away.folder)]

    def check() -> None:
        os._exit(0 if [batch.tobytes() for batch in batches(away.mirror)] == expected else 1)

    processes = [multiprocessing.get_context("fork").Process(target=check) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_a_shard_that_is_here_is_read_here(away):
    shutil.copy(away.folder / "a.parquet", away.mirror)
    assert open_shard(away.mirror / "a.parquet") == away.mirror / "a.parquet"
    batches(away.mirror)
    assert {key for key, _, _ in away.asked} == {"b.parquet", "c.parquet"}


def test_a_shard_that_is_damaged_here_is_read_from_the_store(away):
    (away.mirror / "b.parquet").write_bytes((away.folder / "a.parquet").read_bytes())
    assert ShardReader(away.mirror).read().pixels.tobytes() == ShardReader(away.folder).read().pixels.tobytes()
    assert sorted(path.name for path in away.mirror.glob("b*")) == ["b.parquet.damaged"]


def test_a_shard_that_goes_away_during_an_epoch_is_read_from_the_store(away):
    for name in "abc":
        shutil.copy(away.folder / f"{name}.parquet", away.mirror)
    pixels = ShardReader(away.mirror).pixels("train")
    rows = np.arange(len(pixels))
    expected = pixels.read(rows)
    (away.mirror / "b.parquet").unlink()
    assert pixels.read(rows).tobytes() == expected.tobytes()
    assert {key for key, _, _ in away.asked} == {"b.parquet"}


def test_a_shard_of_the_store_that_is_another_than_the_manifest_says_is_refused(away):
    away._records["b.parquet"] = FileRecord.of(away.folder / "a.parquet")
    with pytest.raises(ShardError, match=r"b\.parquet was changed after it was written"):
        ShardReader(away.mirror)


@pytest.mark.parametrize("place", [0.5, 0.895], ids=["pixels", "texts"])
def test_bytes_that_changed_in_the_store_are_one_sentence(away, place):
    pixels = ShardReader(away.mirror).pixels("train")
    path = away.folder / "b.parquet"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    shutil.rmtree(away.mirror / ".remote")
    with pytest.raises(DamageError, match=r"of s3://bucket/home/b\.parquet are not those that were published"):
        pixels.read(np.arange(len(pixels))) if place == 0.5 else ShardReader(away.mirror).columns()


def test_a_shard_that_is_nowhere_is_an_error(away):
    pixels = ShardReader(away.mirror).pixels("train")
    del away._records["c.parquet"]
    away.ranges = Ranges(away, away.mirror / ".remote")
    with pytest.raises(ShardError, match=r"c\.parquet cannot be opened \(No such file"):
        pixels.read(np.arange(len(pixels)))
    with pytest.raises(ShardError, match=r"c\.parquet .* is missing"):
        ShardReader(away.mirror)


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_bound_that_is_no_number_is_one_sentence(away, monkeypatch, given):
    monkeypatch.setenv(ranges.CACHE_VARIABLE, given)
    with pytest.raises(Exception, match=f"RADALIGN_CACHE_BYTES is '{given}', but must be a number of bytes"):
        ShardReader(away.mirror).read()


def test_a_manifest_is_written_of_shards_that_are_away(away):
    here = (away.mirror / "manifest.json").read_bytes()
    (away.mirror / "manifest.json").unlink()
    manifest = ShardReader(away.folder).manifest
    paths = [away.mirror / shard.file for shard in manifest.shards]
    write_manifest(away.mirror, paths, manifest.entities, manifest.positions, SIZE, "toy")
    assert (away.mirror / "manifest.json").read_bytes() == here
    assert not list(away.mirror.glob("*.parquet"))
