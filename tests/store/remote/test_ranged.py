"""Files of the store, read by ranges: the same bytes as those of the whole file, whatever store, disk and others do."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import random
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.errors import DamageError
from store.remote import cache as cache_module
from store.remote import mirror, ranged, ranges
from store.remote.cache import BlockCache, Piece
from store.remote.protocol import objects, records
from store.remote.protocol.errors import StoreError
from store.remote.ranged import RangedFile, Source, read_pieces
from store.seals import expect_intact, sealing

BLOCK = 64


def content_of(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


class Store:
    """A file in a store that counts what it is asked, and gives wrong answers when told to."""

    def __init__(self, content: bytes, block_bytes: int = BLOCK) -> None:
        self.content = content
        self.asked: list[tuple[int, int]] = []
        self.answers: list[bytes] = []  # instead of the right ones
        blocks = [content[start : start + block_bytes] for start in range(0, len(content), block_bytes)]
        digests = [hashlib.sha256(block).hexdigest() for block in blocks]
        self.source = Source("home/a.parquet", len(content), block_bytes, digests, self.fetch)

    def fetch(self, start: int, stop: int) -> bytes:
        self.asked.append((start, stop))
        if self.answers:
            return self.answers.pop(0)
        return self.content[start:stop]


def read_at(file: RangedFile, start: int, stop: int) -> bytes:
    buffer = bytearray(stop - start)
    read_pieces([(file, [(start, memoryview(buffer))])])
    return bytes(buffer)


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("??/*"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 700),
    block=st.integers(1, 150),
    limit=st.integers(0, 900),
    reads=st.lists(st.tuples(st.integers(0, 750), st.integers(0, 400)), max_size=12),
)
def test_a_file_is_what_a_local_one_is(tmp_path_factory, size, block, limit, reads):
    """Any offsets, sizes of blocks and bounds of the cache, the smallest ones too."""
    content = content_of(size)
    folder = tmp_path_factory.mktemp("cache")
    file, local = RangedFile(Store(content, block).source, BlockCache(folder, limit)), io.BytesIO(content)
    for offset, count in reads:
        assert file.seek(offset) == local.seek(offset)
        assert file.read(count) == local.read(count)
        assert file.tell() == local.tell()
        assert bytes_in(folder) <= limit
    assert file.seek(-min(5, size), io.SEEK_END) == local.seek(-min(5, size), io.SEEK_END)
    assert file.read() == local.read()


def test_pyarrow_reads_a_table_through_it(tmp_path):
    table = pa.table({"row": np.arange(3000), "text": [f"row {row}" for row in range(3000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    store = Store((tmp_path / "a.parquet").read_bytes(), 1 << 12)
    for limit in (0, 1 << 13, 1 << 30):
        file = RangedFile(store.source, BlockCache(tmp_path / str(limit), limit))
        assert pq.read_table(file).equals(table)
        assert pq.ParquetFile(file).read_row_group(3, ["row"])["row"].to_pylist() == list(range(1500, 2000))


def test_neighbours_are_one_request_and_nothing_is_fetched_twice(tmp_path):
    store = Store(content_of(20 * BLOCK))
    file = RangedFile(store.source, BlockCache(tmp_path, 1 << 20))
    assert read_at(file, 3 * BLOCK + 1, 7 * BLOCK) == store.content[3 * BLOCK + 1 : 7 * BLOCK]
    assert store.asked == [(3 * BLOCK, 7 * BLOCK)]
    assert read_at(file, 2 * BLOCK, 9 * BLOCK) == store.content[2 * BLOCK : 9 * BLOCK]
    assert sorted(store.asked[1:]) == [(2 * BLOCK, 3 * BLOCK), (7 * BLOCK, 9 * BLOCK)]
    again = RangedFile(store.source, BlockCache(tmp_path, 1 << 20))  # as another process
    assert read_at(again, 2 * BLOCK, 9 * BLOCK) == store.content[2 * BLOCK : 9 * BLOCK]
    assert len(store.asked) == 3


def test_who_reads_one_after_the_other_has_more_fetched_at_once(tmp_path):
    store = Store(content_of(64 * BLOCK))
    file = RangedFile(store.source, BlockCache(tmp_path, 1 << 20))
    assert b"".join(iter(lambda: file.read(BLOCK // 2), b"")) == store.content
    assert len(store.asked) < 16
    assert sum(stop - start for start, stop in store.asked) == len(store.content)


def test_the_blocks_of_a_unit_are_fetched_together_where_the_cache_holds_many(tmp_path):
    for limit, asked in ((16 * 4 * BLOCK, [(4 * BLOCK, 8 * BLOCK)]), (15 * 4 * BLOCK, [(5 * BLOCK, 6 * BLOCK)])):
        store = Store(content_of(20 * BLOCK))
        file = RangedFile(store.source, BlockCache(tmp_path / str(limit), limit), 4 * BLOCK)
        assert read_at(file, 5 * BLOCK, 5 * BLOCK + 3) == store.content[5 * BLOCK : 5 * BLOCK + 3]
        assert store.asked == asked


def test_a_request_asks_for_no_more_than_its_most(tmp_path, monkeypatch):
    monkeypatch.setattr(ranged, "REQUEST_BYTES", 4 * BLOCK)
    store = Store(content_of(21 * BLOCK))
    assert read_at(RangedFile(store.source, BlockCache(tmp_path, 0)), 0, 21 * BLOCK) == store.content
    assert max(stop - start for start, stop in store.asked) == 4 * BLOCK
    assert len(store.asked) == 6


@pytest.mark.parametrize("came", [bytes(2 * BLOCK), b"half", bytes(1000)], ids=["changed", "too short", "too long"])
def test_bytes_that_were_not_published_are_fetched_again(tmp_path, came):
    store = Store(content_of(5 * BLOCK))
    store.answers = [came]
    file = RangedFile(store.source, BlockCache(tmp_path, 1 << 20))
    assert read_at(file, BLOCK, 3 * BLOCK) == store.content[BLOCK : 3 * BLOCK]
    assert len(store.asked) == 3
    assert read_at(file, BLOCK, 3 * BLOCK) == store.content[BLOCK : 3 * BLOCK]
    assert len(store.asked) == 3


def test_a_block_that_stays_changed_is_damage_and_none_of_its_bytes_is_used(tmp_path):
    store = Store(content_of(5 * BLOCK))
    store.content = store.content[: 2 * BLOCK] + b"?" + store.content[2 * BLOCK + 1 :]
    file = RangedFile(store.source, BlockCache(tmp_path, 1 << 20))
    buffer = bytearray(BLOCK)
    with pytest.raises(DamageError, match=rf"Bytes {2 * BLOCK} to {3 * BLOCK} of home/a\.parquet are not"):
        read_pieces([(file, [(2 * BLOCK, memoryview(buffer))])])
    assert bytes(buffer) == bytes(BLOCK)
    assert Counter(store.asked) == {(2 * BLOCK, 3 * BLOCK): 2}
    assert bytes_in(tmp_path) == 0
    assert read_at(file, 0, 2 * BLOCK) == store.content[: 2 * BLOCK]


def test_a_block_that_is_changed_on_the_way_is_not_taken_for_damage(tmp_path):
    store = Store(content_of(5 * BLOCK))
    store.answers = [bytes([number]) * BLOCK for number in range(1, 5)]
    file = RangedFile(store.source, BlockCache(tmp_path, 1 << 20))
    with pytest.raises(StoreError, match=r"home/a\.parquet comes from the store with other wrong bytes each time"):
        read_at(file, BLOCK, 2 * BLOCK)
    assert read_at(file, BLOCK, 2 * BLOCK) == store.content[BLOCK : 2 * BLOCK]


def test_a_list_of_blocks_that_is_not_whole_is_refused():
    with pytest.raises(DamageError, match="so it is not read"):
        Source("a.parquet", 10, 5, ["0"], lambda start, stop: b"")


# ----- the cache


def block(seed: int, size: int = BLOCK) -> tuple[str, bytes]:
    content = content_of(size, seed)
    return hashlib.sha256(content).hexdigest(), content


def held(cache: BlockCache, digest: str, size: int = BLOCK) -> bytes | None:
    buffer = bytearray(size)
    return bytes(buffer) if cache.read(digest, [Piece(0, memoryview(buffer))]) else None


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(0, 500),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40),
)
def test_the_least_recently_used_blocks_make_room(tmp_path_factory, limit, steps):
    """As a list of names in the order of their use says it."""
    blocks = [block(seed, 20 + 7 * seed) for seed in range(10)]
    folder = tmp_path_factory.mktemp("cache")
    cache = BlockCache(folder, limit)
    order: list[int] = []
    for writes, number in steps:
        digest, content = blocks[number]
        if writes:
            assert cache.keep(digest, content) == (len(content) <= limit)
            if number not in order and len(content) <= limit:
                total = sum(len(blocks[one][1]) for one in order)
                if total + len(content) > limit:
                    most = min(limit - len(content), limit - limit // cache_module.SPARE)
                    while sum(len(blocks[one][1]) for one in order) > most:
                        order.pop(0)
                order.append(number)
        else:
            assert held(cache, digest, len(content)) == (content if number in order else None)
            if number in order:
                order.remove(number)
                order.append(number)
        assert bytes_in(folder) == sum(len(blocks[one][1]) for one in order) <= limit


@pytest.mark.parametrize("damage", ["a bit", "cut off", "emptied", "longer"])
def test_a_damaged_block_on_the_disk_is_not_used(tmp_path, damage):
    store = Store(content_of(2 * BLOCK))
    file = RangedFile(store.source, BlockCache(tmp_path, 1 << 20))
    assert read_at(file, 0, BLOCK) == store.content[:BLOCK]
    path = tmp_path / store.source.block_digests[0][:2] / store.source.block_digests[0]
    good = path.read_bytes()
    path.write_bytes(
        {"a bit": bytes([good[0] ^ 1]) + good[1:], "cut off": good[:9], "emptied": b"", "longer": good * 2}[damage]
    )
    assert read_at(file, 0, BLOCK) == store.content[:BLOCK]
    assert len(store.asked) == 2
    assert path.read_bytes() == good


def test_a_writer_that_was_killed_leaves_nothing_that_is_used_or_stays(tmp_path):
    (digest, content), (other, more) = block(0), block(1)
    partial = tmp_path / digest[:2] / f"{digest}.partial"
    partial.parent.mkdir()
    partial.write_bytes(content[:10])
    cache = BlockCache(tmp_path, 3 * BLOCK)
    assert held(cache, digest) is None
    assert cache.keep(other, more)
    assert not partial.exists()


def test_a_folder_that_somebody_removed_is_made_again(tmp_path):
    folder = tmp_path / "cache"
    store = Store(content_of(9 * BLOCK))
    file = RangedFile(store.source, BlockCache(folder, 1 << 20))
    assert read_at(file, 0, 9 * BLOCK) == store.content
    shutil.rmtree(folder)
    assert read_at(file, 0, 9 * BLOCK) == store.content
    assert bytes_in(folder) == 9 * BLOCK


@pytest.mark.parametrize("obstacle", ["a file in its place", "a full disk", "little room", "a holder that stopped"])
def test_without_a_cache_everything_is_read_all_the_same(tmp_path, monkeypatch, obstacle):
    folder = tmp_path / "cache"
    if obstacle == "a file in its place":
        folder.write_text("")
    if obstacle == "a full disk":
        monkeypatch.setattr(BlockCache, "_write", _fill_up)
    if obstacle == "little room":
        monkeypatch.setattr(cache_module, "_free_bytes", lambda _: cache_module.FREE - 1)
    monkeypatch.setattr(cache_module, "KEEP_SECONDS", 0.01)
    store = Store(content_of(9 * BLOCK))
    with cache_module._locked(
        folder / cache_module.COUNT if obstacle == "a holder that stopped" else tmp_path / "x", 1
    ):
        for _ in range(2):
            assert read_at(RangedFile(store.source, BlockCache(folder, 1 << 20)), 0, 9 * BLOCK) == store.content
    assert bytes_in(folder) == 0


def _fill_up(*_: object) -> None:
    raise OSError(28, "No space left on device")


# ----- several processes


FORK = multiprocessing.get_context("fork")


def read_randomly(source: Source, folder: Path, limit: int, seed: int, reads: int, content: bytes) -> None:
    """A process that reads the same file as others; it ends with 1 where a byte is not that of the file."""
    rng = random.Random(seed)
    file = RangedFile(source, BlockCache(folder, limit))
    for _ in range(reads):
        start = rng.randrange(len(content))
        stop = min(len(content), start + rng.randrange(1, 1000))
        if read_at(file, start, stop) != content[start:stop]:
            os._exit(1)
    os._exit(0)


class LoggingStore(Store):
    """Writes what it is asked into a file, of all processes."""

    def __init__(self, content: bytes, log: Path) -> None:
        super().__init__(content)
        self.log = log

    def fetch(self, start: int, stop: int) -> bytes:
        with self.log.open("a") as file:
            file.write(f"{start} {stop}\n")
        return self.content[start:stop]


def test_processes_share_a_cache_within_its_bound_also_when_one_is_killed(tmp_path):
    content, limit, folder = content_of(200 * BLOCK), 40 * BLOCK, tmp_path / "cache"
    source = Store(content).source
    others = [FORK.Process(target=read_randomly, args=(source, folder, limit, seed, 40, content)) for seed in range(3)]
    for process in others:
        process.start()
    rng, most = random.Random(0), 0
    for seed in range(6):
        victim = FORK.Process(target=read_randomly, args=(source, folder, limit, 100 + seed, 10**6, content))
        victim.start()
        victim.join(rng.uniform(0.01, 0.1))
        most = max(most, BlockCache(folder, limit).measure())
        victim.kill()
        victim.join()
    for process in others:
        process.join()
    assert [process.exitcode for process in others] == [0, 0, 0]
    assert most <= limit
    assert 0 < bytes_in(folder) <= limit
    assert held(BlockCache(folder, limit), source.block_digests[0]) in (None, content[:BLOCK])


def test_processes_that_begin_together_fetch_nothing_twice(tmp_path):
    content = content_of(300 * BLOCK)
    store = LoggingStore(content, tmp_path / "log")
    others = [FORK.Process(target=read_in_order, args=(store.source, tmp_path / "cache", content)) for _ in range(4)]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert [process.exitcode for process in others] == [0] * 4
    asked = [tuple(map(int, line.split())) for line in (tmp_path / "log").read_text().splitlines()]
    assert sum(stop - start for start, stop in asked) == len(content)


def read_in_order(source: Source, folder: Path, content: bytes) -> None:
    """A process that reads a file from its first byte to its last."""
    file = RangedFile(source, BlockCache(folder, 1 << 30))
    os._exit(0 if b"".join(iter(lambda: file.read(100), b"")) == content else 1)


def test_threads_share_a_file(tmp_path):
    store = Store(content_of(100 * BLOCK))
    file = RangedFile(store.source, BlockCache(tmp_path, 30 * BLOCK))
    wrong: list[int] = []

    def read(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(60):
            start = rng.randrange(99 * BLOCK)
            if read_at(file, start, start + BLOCK) != store.content[start : start + BLOCK]:
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert bytes_in(tmp_path) <= 30 * BLOCK


# ----- a store that speaks S3


def test_a_file_of_a_home_is_read_by_ranges_whatever_the_store_answers(host, proxy, monkeypatch):
    """From a machine that does not have it; one request in three is refused, cut short or not answered at all."""
    content = content_of(9 * records.BLOCK + 5)
    here = host("writer") / "phantom" / "shards" / f"{'0' * 20}.parquet"
    with sealing(here) as partial:
        pq.write_table(pa.table({"bytes": [content]}), partial, compression="none", use_dictionary=False)
    there = host("reader", **proxy.environment()) / "phantom" / "shards" / here.name
    proxy.set(slow_down=0.12, half_close=0.12, lost_reply=0.1)
    try:
        monkeypatch.setattr(objects, "FIRST_PAUSE", 0.001)
        assert mirror.is_kept(there)
        assert mirror.published_digest(there) == hashlib.sha256(here.read_bytes()).hexdigest()
        monkeypatch.setenv(ranges.FETCH_VARIABLE, str(records.BLOCK))
        for cache in ("0", "1e9"):
            monkeypatch.setenv(ranges.CACHE_VARIABLE, cache)
            mirror._keepers.clear()
            file = mirror.open_ranged(there)
            assert pq.read_table(file)["bytes"].to_pylist() == [content]
            file.seek(100)
            assert file.read(3 * records.BLOCK) == here.read_bytes()[100 : 100 + 3 * records.BLOCK]
    finally:
        proxy.set()
    assert not there.exists()
    assert mirror.open_ranged(there.with_name(f"{'1' * 20}.parquet")) is None
    assert mirror.open_ranged(Path("/nowhere")) is None


def test_a_damaged_file_of_a_home_is_set_aside_and_can_be_published_again(host):
    """Although an object of the same name and size is there."""
    content, other = content_of(3 * records.BLOCK), content_of(3 * records.BLOCK, 1)
    here = host("writer") / "phantom" / "shards" / f"{'2' * 20}.parquet"
    for damage, read in ((other, _read_ranged), (content[:-1] + b"?", _read_whole)):
        with sealing(here) as partial:
            pq.write_table(pa.table({"bytes": [content]}), partial, compression="none", use_dictionary=False)
        keeper = mirror.keeper_of(here)
        found = keeper.fetching.locate(here).record
        keeper.objects.put(found.key, (damage * 2)[: found.size])
        there = host("reader") / "phantom" / "shards" / here.name
        with pytest.raises(DamageError, match="again"):
            read(there)
        mirror._keepers.clear()
        assert not mirror.is_kept(there)
        assert [one.name for one in mirror.keeper_of(there).objects.list(found.key)] == [f"{found.key}.damaged"]
        host("writer")
        here.unlink()
    with sealing(here) as partial:
        pq.write_table(pa.table({"bytes": [content]}), partial, compression="none", use_dictionary=False)
    _read_ranged(host("reader") / "phantom" / "shards" / here.name)


@pytest.mark.parametrize("left", [None, records.BLOCK // 2])
def test_a_file_whose_object_is_gone_or_too_short_counts_as_not_written(host, left):
    """As after a process that was killed while it set a damaged object aside."""
    here = host("writer") / "phantom" / "shards" / f"{'3' * 20}.parquet"
    content = content_of(3 * records.BLOCK)
    with sealing(here) as partial:
        pq.write_table(pa.table({"bytes": [content]}), partial, compression="none", use_dictionary=False)
    keeper = mirror.keeper_of(here)
    key = keeper.fetching.locate(here).record.key
    keeper.objects.put(key, here.read_bytes()[:left]) if left else keeper.objects.delete(key)
    there = host("reader") / "phantom" / "shards" / here.name
    with pytest.raises(DamageError, match="give the same command again"):
        _read_ranged(there)
    mirror._keepers.clear()
    assert not mirror.is_kept(there)


def _read_ranged(path: Path) -> None:
    pq.read_table(mirror.open_ranged(path))


def _read_whole(path: Path) -> None:
    pq.read_table(expect_intact(path, "make it again."))
