import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cohorts.tables import STUDIES
from report_parsing.tables import TRIPLETS
from shards.errors import ShardError
from shards.manifest import Manifest, ShardEntry
from shards.schema import shard_schema
from shards.writer import EXISTS, write_manifest, write_shard
from store.seals import seal


def test_join_equals_a_literal_loop(sources):
    given = sources(50, seed=3)
    built = given.build()
    assert built.schema.equals(shard_schema(4), check_metadata=True)
    assert built["image_id"].to_pylist() == sorted(given.studies["image_id"].to_pylist())
    studies = {row["image_id"]: row for row in given.studies.to_pylist()}
    images = {row["image_id"]: row for row in given.images.to_pylist()}
    reports = {row["study_id"]: row for row in given.reports.to_pylist()}
    for row in built.to_pylist():
        study, image = studies[row["image_id"]], images[row["image_id"]]
        report = reports[study["study_id"]]
        for name in ("study_id", "subject_id", "split", "view", "labels"):
            assert row[name] == study[name]
        for name in ("height", "width", "pixels"):
            assert row[name] == image[name]
        assert row["text"] == report["text"]
        assert row["sentences"] == [{name: said[name] for name in ("section", "text")} for said in report["sentences"]]
        triplets = [t for t in given.triplets.to_pylist() if t["study_id"] == study["study_id"]]
        triplets.sort(key=lambda t: [t[name] for name in ("sentence", "start", "end")])
        assert row["triplets"] == [
            {
                "entity": given.entities.index(t["entity"]),
                "position": given.positions.index(t["position"]),
                "exists": EXISTS[t["exists"]],
                "sentence": t["sentence"],
            }
            for t in triplets
        ]


def test_reports_of_other_studies_are_no_rows(sources):
    given = sources(8)
    keep = pc.is_in(given.studies["study_id"], pa.array(["s0", "s1"]))
    given.studies = given.studies.filter(keep)
    given.images = given.images.filter(pc.is_in(given.images["image_id"], given.studies["image_id"]))
    assert given.build()["study_id"].to_pylist() == ["s0", "s0", "s1", "s1"]


@pytest.mark.parametrize(
    ("table", "key", "gone", "named"),
    [
        ("studies", "image_id", "i00003", "i00003 has no row in the studies"),
        ("images", "image_id", "i00003", "i00003 has no pixels"),
        ("reports", "study_id", "s2", "s2"),
    ],
)
def test_a_missing_partner_is_named(sources, table, key, gone, named):
    given = sources(9)
    rows = getattr(given, table)
    setattr(given, table, rows.filter(pc.not_equal(rows[key], gone)))
    with pytest.raises(ShardError, match=named):
        given.build()


def test_a_missing_report_without_triplets_is_named(sources):
    given = sources(9)
    given.reports = given.reports.slice(1)
    given.triplets = TRIPLETS.empty_table()
    with pytest.raises(ShardError, match=r"study s\d has no report"):
        given.build()


@pytest.mark.parametrize("table", ["studies", "images", "reports"])
def test_an_id_that_occurs_twice_is_named(sources, table):
    given = sources(6)
    rows = getattr(given, table)
    setattr(given, table, pa.concat_tables([rows, rows.slice(2, 1)]))
    with pytest.raises(ShardError, match="more than once"):
        given.build()


@pytest.mark.parametrize("column", ["entity", "position", "exists"])
def test_an_unknown_triplet_name_is_named(sources, column):
    given = sources(9)
    odd = pa.Table.from_pylist([{**given.triplets.to_pylist()[0], column: "elbow"}], TRIPLETS)
    given.triplets = pa.concat_tables([given.triplets, odd])
    with pytest.raises(ShardError, match=f"the {column} 'elbow'"):
        given.build()


def test_images_of_another_size_are_refused(sources):
    given = sources(4)
    given.size = 5
    with pytest.raises(ShardError, match="not 5 x 5"):
        given.build()
    given.images = given.images.set_column(3, "pixels", given.images["pixels"].cast(pa.binary()))
    with pytest.raises(ShardError, match="not 5 x 5"):
        given.build()
    given.size = 4
    assert given.build() == sources(4).build()


def test_no_rows_make_an_empty_shard(sources, tmp_path):
    given = sources(4)
    given.studies, given.images = STUDIES.empty_table(), given.images.slice(0, 0)
    write_shard(given.build(), tmp_path / "none.parquet")
    assert pq.read_metadata(tmp_path / "none.parquet").num_rows == 0


def test_equal_content_gives_equal_bytes(sources, tmp_path):
    table = sources(300, seed=1).build()
    write_shard(table, tmp_path / "a.parquet")
    write_shard(pa.concat_tables([table.slice(0, 7), table.slice(7)]), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    write_shard(pq.read_table(tmp_path / "a.parquet"), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    digests = set()
    for name in ("one", "two"):
        path = tmp_path / name / "a.parquet"
        write_shard(table, path)
        digests.add(write_manifest(path.parent, [path], ("e",), ("p",), 4, "toy"))
    assert len(digests) == 1


def test_row_groups_are_256_uncompressed_rows(sources, tmp_path):
    write_shard(sources(600).build(), tmp_path / "a.parquet")
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [256, 256, 88]
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"UNCOMPRESSED"}


def test_a_table_that_is_no_shard_is_refused(tmp_path):
    with pytest.raises(ShardError, match="not a shard"):
        write_shard(pa.table({"image_id": ["a"]}), tmp_path / "a.parquet")


def test_manifest_refuses_foreign_and_repeated_images(sources, tmp_path):
    table = sources(6).build()
    for name in ("a", "b"):
        write_shard(table, tmp_path / f"{name}.parquet")
    both = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(ShardError, match="i00000 is in more than one shard"):
        write_manifest(tmp_path, both, (), (), 4, "toy")
    with pytest.raises(ShardError, match="another size"):
        write_manifest(tmp_path, both[:1], (), (), 8, "toy")
    with pytest.raises(ShardError, match="is not in"):
        write_manifest(tmp_path / "elsewhere", both[:1], (), (), 4, "toy")


def test_only_shards_that_are_not_as_the_last_manifest_says_are_digested_again(sources, tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    for name, path in zip("ab", paths, strict=True):
        write_shard(sources(6, prefix=name).build(), path)
        seal(path)
    whole = write_manifest(tmp_path, paths, (), (), 4, "toy")
    digested = []
    monkeypatch.setattr(ShardEntry, "of", lambda path, of=ShardEntry.of: digested.append(path) or of(path))
    assert write_manifest(tmp_path, paths, (), (), 4, "toy") == whole
    assert digested == []
    before = paths[1].stat()
    write_shard(sources(6, seed=3, prefix="b").build(), paths[1])
    os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert write_manifest(tmp_path, paths, (), (), 4, "toy") != whole
    assert digested == [paths[1]]
    Manifest.load(tmp_path, verify=True)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(sources, tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    write_shard(sources(4).build(), path)
    old = path.read_bytes()
    monkeypatch.setattr(pq, "write_table", lambda table, where, **options: where.write_bytes(b"x") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_shard(sources(4, seed=9).build(), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_unlabelled_rows_stay_unlabelled(sources):
    labels = sources(6).build()["labels"].to_pylist()
    assert labels[0] is None
    assert labels[2] == [("effusion", 0.0), ("nodule", -1.0)]
    assert np.isfinite([value for row in labels if row for _, value in row]).all()
