"""Pixels of any rows in any order, without holding the file."""

import numpy as np
import pytest

from shards.errors import ShardError
from shards.reader import ShardReader


def test_any_rows_in_any_order(folder):
    reader = ShardReader(folder)
    whole = reader.read("train").pixels
    rows = np.random.default_rng(0).integers(0, len(whole), 300)  # across row groups and files, some twice
    np.testing.assert_array_equal(reader.pixels("train").read(rows), whole[rows])
    assert reader.pixels("train").read(np.empty(0, int)).shape == (0, 4, 4)


def test_a_shard_that_is_cut_off_or_gone_is_an_error(folder):
    pixels = ShardReader(folder).pixels("train")
    content = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(content[:2000])
    with pytest.raises(ShardError, match=r"a\.parquet is cut off"):
        pixels.read(np.arange(len(pixels)))
    (folder / "a.parquet").unlink()
    with pytest.raises(ShardError, match=r"a\.parquet cannot be opened"):
        pixels.read(np.arange(3))
