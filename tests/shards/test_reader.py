import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging.dicom.views import kind_of_view
from shards.errors import ShardError
from shards.manifest import Manifest
from shards.reader import ShardReader
from shards.writer import write_manifest, write_shard


def rows_of(folder, split):
    """The literal way: every row as a dictionary, through Parquet's own reader."""
    tables = [pq.read_table(folder / shard.file) for shard in Manifest.load(folder).shards]
    return [row for table in tables for row in table.to_pylist() if split in (None, row["split"])]


def assert_equal(data, rows, size):
    for name, field in (
        ("image_id", "image_ids"),
        ("study_id", "study_ids"),
        ("subject_id", "subject_ids"),
        ("split", "splits"),
        ("view", "views"),
        ("height", "heights"),
        ("width", "widths"),
        ("text", "texts"),
        ("sentences", "sentences"),
    ):
        assert list(getattr(data, field)) == [row[name] for row in rows]
    assert len(data) == len(rows)
    assert data.pixels.shape == (len(rows), size, size)
    assert data.pixels.dtype == np.uint8
    assert data.pixels.tobytes() == b"".join(row["pixels"] for row in rows)
    triplets = [
        (i, t["entity"], t["position"], t["exists"], t["sentence"]) for i, r in enumerate(rows) for t in r["triplets"]
    ]
    assert list(zip(*data.triplets, strict=True)) == triplets
    names = {name for row in rows for name, _ in row["labels"] or ()}
    assert list(data.labels) == sorted(names)
    for name, values in data.labels.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, [dict(row["labels"] or ()).get(name, np.nan) for row in rows])


@pytest.mark.parametrize("split", ["train", "validate", "test", None, "nobody"])
def test_reads_what_was_written(folder, split):
    assert_equal(ShardReader(folder, verify=True).read(split), rows_of(folder, split), 4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.integers(0, 520), size=st.integers(1, 9), seed=st.integers(0, 2**16))
def test_round_trip(tmp_path_factory, sources, rows, size, seed):
    folder = tmp_path_factory.mktemp("shards")
    given_tables = sources(rows, size, seed)
    table = given_tables.build()
    write_shard(table, folder / "a.parquet")
    write_manifest(folder, [folder / "a.parquet"], given_tables.entities, given_tables.positions, size, "toy")
    assert_equal(ShardReader(folder).read(), table.to_pylist(), size)


def test_pixels_may_be_written_to_without_touching_the_file(folder):
    data = ShardReader(folder).read("train")
    before = data.pixels.copy()
    data.pixels[:] = 0
    np.testing.assert_array_equal(ShardReader(folder).read("train").pixels, before)


def test_a_shard_with_other_rows_than_the_manifest_says_is_refused(folder, sources):
    write_shard(sources(6, prefix="b").build(), folder / "b.parquet")
    with pytest.raises(ShardError, match=r"b\.parquet .* does not hold what its manifest says"):
        ShardReader(folder, verify=False).read()


def test_a_shard_that_is_no_parquet_is_refused(folder):
    (folder / "b.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(ShardError, match=r"b\.parquet .* is unreadable"):
        ShardReader(folder, verify=False).read()


def test_a_shard_of_another_writer_is_refused_not_misread(folder):
    table = pq.read_table(folder / "a.parquet")
    for options in ({"compression": "zstd"}, {"use_dictionary": True}, {"data_page_size": 512}):
        pq.write_table(table, folder / "a.parquet", **{"compression": "none", "row_group_size": 256, **options})
        with pytest.raises(ShardError, match="do not lie in one page per row group"):
            ShardReader(folder, verify=False).read()


def test_inverted_pixels_under_the_old_times_are_refused(folder):
    ShardReader(folder).read()  # the process knows the digest of the good file
    path = folder / "a.parquet"
    before, table = path.stat(), pq.read_table(folder / "a.parquet")
    rows = [{**row, "pixels": bytes(255 - grey for grey in row["pixels"])} for row in table.to_pylist()]
    write_shard(pa.Table.from_pylist(rows, schema=table.schema), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ShardError, match=r"a\.parquet was changed after it was written"):
        ShardReader(folder)


def test_kinds_of_views_are_those_of_all_splits(sources, tmp_path):
    """Whether a dataset says views is not told by a split alone."""
    table = sources(6, 4, 0).build()
    place = table.column_names.index("view")

    def write(name, views):
        folder = tmp_path / name
        folder.mkdir()
        write_shard(
            table.set_column(place, table.schema.field("view"), pa.array(views, pa.string())), folder / "a.parquet"
        )
        write_manifest(folder, [folder / "a.parquet"], [], [], 4, "phantom")
        return ShardReader(folder)

    silent = write("silent", [""] * len(table))
    assert silent.kinds().tolist() == ["frontal"] * len(table)
    views = ["PA", "LL", "", "LAO", "AP", "LATERAL"][: len(table)]
    said = write("said", views)
    kinds = dict(zip(table["image_id"].to_pylist(), views, strict=True))
    for split in ("train", "validate", "test", None):
        ids = said.columns(split, ["image_id"])["image_id"].to_pylist()
        assert said.kinds(split).tolist() == [kind_of_view(kinds[name]) for name in ids]
