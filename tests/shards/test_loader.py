"""Exact permutations from any batch on, and batches in their order whatever the threads do."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.loader import Shuffle, loading
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard

SIZE, ROWS = 128, 2048
EPOCH = """
import resource, sys
import numpy as np
from pathlib import Path
from shards.loader import Shuffle, loading
from shards.reader import ShardReader

pixels = ShardReader(Path(sys.argv[1])).pixels("train")
shuffle = Shuffle(len(pixels), 32, seed=0)
status = Path("/proc/self/status").read_text().splitlines()
held = int(next(line for line in status if line.startswith("VmData")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (held + (24 << 20), held + (24 << 20)))  # the shards hold 32 MB
with loading(lambda number: pixels.read(shuffle.batch(number)), threads=1) as loader:
    total = sum(int(next(loader).sum(dtype=np.int64)) for _ in range(len(pixels) // 32))
try:
    pixels.read(np.arange(len(pixels)))
except MemoryError:
    print(total)
"""


@given(pairs=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_epoch_is_an_exact_permutation(pairs, batch_size, seed):
    shuffle = Shuffle(pairs, batch_size, seed)
    stream = np.concatenate([shuffle.batch(number) for number in range(3 * pairs // batch_size + 1)])
    for epoch in range(len(stream) // pairs):
        assert sorted(stream[epoch * pairs : (epoch + 1) * pairs]) == list(range(pairs))


def test_epochs_and_seeds_shuffle_differently_and_repeatably():
    shuffle = Shuffle(64, 8, seed=0)
    first = shuffle.batch(0)
    assert np.array_equal(first, Shuffle(64, 8, seed=0).batch(0))
    assert not np.array_equal(first, shuffle.batch(8))
    assert not np.array_equal(first, Shuffle(64, 8, seed=1).batch(0))
    assert shuffle.batches_per_epoch == 8


def test_any_batch_can_be_asked_for_first():
    stream = [Shuffle(10, 4, 0).batch(number) for number in range(9)]
    shuffle = Shuffle(10, 4, 0)
    assert all(np.array_equal(shuffle.batch(number), stream[number]) for number in (8, 2, 5, 0))


def test_batches_come_in_order_from_the_first_asked_for():
    def make(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        return number

    with loading(make, first=5, threads=3) as loader:
        assert [next(loader) for _ in range(12)] == list(range(5, 17))


def test_what_goes_wrong_in_a_thread_is_raised_at_its_batch():
    def make(number: int) -> int:
        return 1 // (number - 2)

    with loading(make) as loader:
        next(loader), next(loader)
        with pytest.raises(ZeroDivisionError):
            next(loader)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts all that is allocated on Linux alone")
def test_an_epoch_fits_into_less_memory_than_the_shards_take(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, SIZE * SIZE), np.uint8)
    rows = [
        {
            "image_id": str(row), "study_id": str(row), "subject_id": "p", "split": "train", "view": "PA",
            "height": SIZE, "width": SIZE, "pixels": pixels[row].tobytes(), "text": "", "sentences": [],
            "triplets": [], "labels": None,
        }
        for row in range(ROWS)
    ]  # fmt: skip
    write_shard(pa.Table.from_pylist(rows, schema=shard_schema(SIZE)), tmp_path / "a.parquet")
    write_manifest(tmp_path, [tmp_path / "a.parquet"], ("nodule",), ("lung",), SIZE, "noise")
    root = Path(__file__).resolve().parents[2]
    child = subprocess.run([sys.executable, "-c", EPOCH, tmp_path], cwd=root, capture_output=True, text=True)
    assert child.stdout.strip() == str(pixels.sum(dtype=np.int64)), child.stderr


@pytest.mark.parametrize(("pairs", "batch_size"), [(10, 4), (12, 4), (5, 5), (9, 2)])
def test_the_end_of_an_epoch(pairs, batch_size):
    whole, rest = divmod(pairs, batch_size)
    drop, keep = (Shuffle(pairs, batch_size, 3, last) for last in ("drop", "keep"))
    assert (drop.batches_per_epoch, keep.batches_per_epoch) == (whole, whole + bool(rest))
    for epoch in range(3):
        order = Shuffle(pairs, pairs, 3).batch(epoch)
        for shuffle, expected in ((drop, order[: whole * batch_size]), (keep, order)):
            numbers = range(epoch * int(shuffle.batches_per_epoch), (epoch + 1) * int(shuffle.batches_per_epoch))
            batches = [shuffle.batch(number) for number in numbers]
            assert (np.concatenate(batches) == expected).all()
            assert [shuffle.epochs_before(number) for number in numbers] == [epoch] * len(batches)
            assert all(len(batch) == batch_size for batch in batches[:whole])
