"""`python -m benchmarks.cluster.ranged [--json]`: shards of a home on object storage, read by ranges.

A server of one's own has shards of noise. A mirror that has none of them reads two epochs in random order, the first
while it fetches, the second from the cache; another whose cache holds a quarter of the data reads one. A local home
reads the same by turns. The batches of all are compared, bit by bit. Counted are requests and bytes per epoch, and the
largest size of each cache while it was read. The server runs on the same cores, so the rate of the first epoch is that
of a slow store; the ratio of the second to the local one is what the cache costs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cluster import object_store
from benchmarks.loader import SIZE, write_shards
from shards.loader import Shuffle, loading
from shards.manifest import FILE_NAME
from shards.reader import ShardReader
from shards.writer import write_manifest
from store.remote import mirror
from store.remote.ranges import CACHE_VARIABLE
from store.seals import seal

SHARDS, ROWS, BATCH, THREADS = 4, 256, 64, 1
SHARE = 4  # of the data, that the small cache holds one part
PASSES = 3
BARS = {
    "warm": 0.4,
    "fetched": 1.1,
}  # rate of the second epoch to that of a local home; bytes fetched to those of the shards


def publish(folder: Path, home: Path) -> Path:
    """Move shards to where a home has them, and publish them; returns their folder."""
    shards = home / "noise" / "shards"
    shards.mkdir(parents=True)
    paths = []
    for path in sorted(folder.glob("*.parquet")):
        paths.append(shards / f"{hashlib.sha256(path.name.encode()).hexdigest()[:20]}.parquet")
        path.rename(paths[-1])
        seal(paths[-1])
    write_manifest(shards, paths, ("nodule",), ("lung",), SIZE, "noise")
    mirror.publish(shards / FILE_NAME)
    return shards


class Counter:
    """Counts what a home asks the store for."""

    def __init__(self, home: Path) -> None:
        keeper = mirror.keeper_of(home)
        assert keeper is not None
        self._objects, self._read = keeper.objects, keeper.objects.read_range
        self.requests = self.bytes = 0

    def __enter__(self) -> Counter:
        self._objects.read_range = self._count  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._objects.read_range = self._read  # type: ignore[method-assign]

    def _count(self, key: str, start: int, stop: int) -> bytes:
        self.requests += 1
        self.bytes += stop - start
        return self._read(key, start, stop)


@contextmanager
def largest_size(home: Path) -> Iterator[list[int]]:
    """The largest number of bytes that the cache of a home held during the block."""
    keeper = mirror.keeper_of(home)
    assert keeper is not None
    largest, ended, cache = [0], threading.Event(), keeper.ranges.cache

    def look() -> None:
        while not ended.wait(0.05):
            largest[0] = max(largest[0], cache.measure())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield largest
    finally:
        ended.set()
        thread.join()


def epoch(shards: Path, number: int) -> dict[str, Any]:
    """One epoch: images per second, and the digest of its batches."""
    pixels = ShardReader(shards, verify=False).pixels("train")
    shuffle = Shuffle(len(pixels), BATCH, seed=number)
    digest, seconds = hashlib.sha256(), 0.0
    with loading(lambda batch: pixels.read(shuffle.batch(batch)), threads=THREADS) as loader:
        for _ in range(len(pixels) // BATCH):
            start = time.perf_counter()
            batch = next(loader)
            seconds += time.perf_counter() - start
            digest.update(batch.tobytes())
    return {"images_per_second": len(pixels) / seconds, "digest": digest.hexdigest()}


def epoch_by_ranges(home: Path, number: int) -> dict[str, Any]:
    """The same from the store, with what was asked of it."""
    with Counter(home) as counter, largest_size(home) as largest:
        found = epoch(home / "noise" / "shards", number)
    return {**found, "requests": counter.requests, "bytes": counter.bytes, "cache": largest[0]}


def new_mirror(address: str, folder: Path, cache_bytes: int) -> Path:
    """A mirror that has the small files of a home alone."""
    os.environ.update({mirror.HOME_VARIABLE: address, mirror.VARIABLE: str(folder), CACHE_VARIABLE: str(cache_bytes)})
    mirror.refresh(mirror.mirror_of(address))
    return folder


def measure(folder: Path, address: str) -> dict[str, Any]:
    """Epochs of every kind by turns, the fastest of each."""
    (folder / "new").mkdir()
    local = write_shards(folder / "new", SHARDS, ROWS)
    writer = new_mirror(address, folder / "writer", 0)
    shards = publish(local, writer)
    size = sum(path.stat().st_size for path in shards.glob("*.parquet"))
    kinds: dict[str, list[dict[str, Any]]] = {"local": [], "cold": [], "warm": [], "small": []}
    for number in range(PASSES):
        kinds["local"].append(epoch(shards, number))
        wide = new_mirror(address, folder / f"wide-{number}", 4 * size)
        kinds["cold"].append(epoch_by_ranges(wide, number))
        kinds["warm"].append(epoch_by_ranges(wide, number))
    small = new_mirror(address, folder / "small", size // SHARE)
    kinds["small"].append(epoch_by_ranges(small, 0))
    same = all(
        one["digest"] == kinds["local"][number]["digest"]
        for found in kinds.values()
        for number, one in enumerate(found)
    )
    rates = {name: max(one["images_per_second"] for one in found) for name, found in kinds.items()}
    asked = {
        name: {key: found[0].get(key, 0) for key in ("requests", "bytes", "cache")} for name, found in kinds.items()
    }
    met = {
        "same batches": same,
        "warm": rates["warm"] >= BARS["warm"] * rates["local"],
        "fetched": asked["cold"]["bytes"] <= BARS["fetched"] * size and asked["warm"]["requests"] == 0,
        "bound": asked["small"]["cache"] <= size // SHARE and asked["cold"]["cache"] <= 4 * size,
    }
    return {"bytes": size, "rates": rates, "asked": asked, "met": met}


def as_text(figures: dict[str, Any]) -> str:
    """The figures for a reader."""
    rates, size = figures["rates"], figures["bytes"]
    lines = [f"shards of {size / 1e6:.0f} MB, batches of {BATCH} in random order"]
    for name, what in NAMES.items():
        asked = figures["asked"][name]
        lines.append(
            f"{what:44}{rates[name]:9,.0f} images/s ({rates[name] / rates['local']:5.2f}), {asked['requests']:5} "
            f"requests, {asked['bytes'] / size:5.2f} times the data, cache at most {asked['cache'] / 1e6:.0f} MB"
        )
    missed = [name for name, met in figures["met"].items() if not met]
    return "\n".join([*lines, f"missed: {', '.join(missed)}" if missed else "all bars are met", ""])


NAMES = {
    "local": "local home",
    "cold": "first epoch by ranges",
    "warm": "second epoch, from the cache",
    "small": f"first epoch, cache of 1/{SHARE} of the data",
}


def main() -> int:
    """Measure; the exit status says whether every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, object_store.running() as store:
        os.environ.update(store.environment())
        figures = measure(Path(name), store.url("ranged"))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n" if options.json else as_text(figures))
    return 0 if all(figures["met"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
