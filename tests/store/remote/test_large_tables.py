"""Tables that are too large to be brought at once are fetched by whoever reads them, and not taken for missing."""

from __future__ import annotations

import pyarrow as pa

from evaluation.results import resamples
from ingestion import inventory
from ingestion.members import SCHEMA, read_members, write_members
from store.remote import fetching, mirror
from store.seals import write_sealed_table


def test_members_and_sources_of_an_inventory_are_fetched(host, monkeypatch):
    monkeypatch.setattr(fetching, "SMALL", 0)
    folder = host("a") / "phantom" / "inventory"
    members = pa.table({"study_id": ["s0", "s1"], "batch": pa.array([0, 1], pa.int32())}, schema=SCHEMA)
    write_members(members, folder, 1)
    write_sealed_table(pa.table({"image_id": ["i0"]}), folder / inventory.SOURCES)
    mirror.refresh(host("b"))
    folder = host("b") / "phantom" / "inventory"
    assert list(folder.glob("*")) == []
    assert read_members(folder, 1, print).equals(members)
    assert inventory._previous_sources(folder, print)["image_id"].to_pylist() == ["i0"]


def test_resamples_are_fetched(host, monkeypatch):
    monkeypatch.setattr(fetching, "SMALL", 0)
    measured = host("a") / "results" / "medklip-phantom-0.parquet"
    kept = resamples.resamples_path(measured)
    write_sealed_table(resamples.RESAMPLES.empty_table(), kept)
    mirror.refresh(host("b"))
    found = resamples._read_of(host("b") / "results" / measured.name, [("metric", "in", ["auroc"])])
    assert found is not None
    assert found.num_rows == 0
