"""Reports that are rows of a table are read again only where the tables of the archive changed."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.capacity.archive import DESCRIPTION, SCHEMA
from ingestion.inventory import ARCHIVE, InventorySettings, update_inventory
from ingestion.stamps import KeptStamps
from ingestion.workspace import Workspace
from store import batches

STUDIES = 5


@pytest.fixture
def place(tmp_path):
    """A described archive with a manifest in Parquet."""
    root = tmp_path / "archive"
    root.mkdir()
    (root / "archive.yaml").write_text(DESCRIPTION)
    write(root, [f"No edema in study {index}." for index in range(STUDIES)])
    return Workspace(home=str(tmp_path / "home"), cohort="archive", archive_root=str(root))


def write(root, reports):
    """An image and a report for each study."""
    names = [f"{index}.jpg" for index in range(len(reports))]
    for name in names:
        if not (root / name).exists():
            (root / name).write_bytes(b"pixels")
    ids = [f"id-{index}" for index in range(len(reports))]
    table = pa.table({"patient": ids, "study": ids, "path": names, "report": reports}, schema=SCHEMA)
    pq.write_table(table, root / "manifest.parquet")


def read(place):
    """How many reports an inventory reads, and what changed."""
    lines = []
    found = update_inventory(place, InventorySettings(batch_size=2), lines.append)
    read = [int(line.split()[1]) for line in lines if line.startswith("Reading")]
    return sum(read), found.count_changes()


def test_reports_are_read_once(place):
    assert read(place) == (STUDIES, {"new": STUDIES, "changed": 0, "vanished": 0})
    before = batches.read_plan(place.folder("inventory"))
    assert read(place) == (0, {"new": 0, "changed": 0, "vanished": 0})
    assert batches.read_plan(place.folder("inventory")) == before


def test_a_manifest_that_was_written_again_is_read_again(place):
    read(place)
    write(place.root(), [*(f"No edema in study {index}." for index in range(STUDIES - 1)), "Edema.", "New."])
    assert read(place) == (STUDIES + 1, {"new": 1, "changed": 1, "vanished": 0})
    os.utime(place.root() / "manifest.parquet")
    assert read(place) == (STUDIES + 1, {"new": 0, "changed": 0, "vanished": 0})


@pytest.mark.parametrize("lose", ["state", "batch"])
def test_what_is_not_kept_is_read(place, lose):
    read(place)
    folder = place.folder("inventory")
    batch = batches.read_plan(folder).batches[0]
    path = folder / ARCHIVE if lose == "state" else batches.output_path(folder, batch.fingerprint)
    path.write_bytes(b"damaged")
    assert read(place) == (STUDIES, {"new": 0, "changed": 0, "vanished": 0})


def test_a_report_in_no_table_is_read():
    kept = KeptStamps(frozenset({"a.csv"}), pa.chunked_array([["s1", "s2"]]), pa.chunked_array([["text 1", "text 2"]]))
    studies = pa.table({"study_id": ["s2", "s1", "s3"], "report_path": ["a.csv", "b.txt", "a.csv"]})
    assert kept.find(studies).to_pylist() == ["text 2", None, None]
    assert pc.sum(kept.find(studies.slice(0, 0)).is_null()).as_py() is None
