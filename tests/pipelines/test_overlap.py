"""Two jobs with different settings, started together in one home: each reads its own data version."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.overlap import Asked, Place


def test_a_pretraining_and_an_ingestion_with_another_size_keep_apart(tmp_path: Path) -> None:
    place = Place(tmp_path)
    pair = Asked("pretrain_medklip", 32, 15, 0, 0.0), Asked("ingest", 40, 10, 1, 0.0)
    assert place.run_pair(pair) == []
    assert len(list(place.home.glob("phantom/versions/*"))) == 2
    assert len(place.data_versions()) == 2  # trained and untrained

    # A result on another data version than that of the training is noticed.
    path = next(place.home.glob("results/medklip*.parquet"))
    table = pq.read_table(path)
    other = table.set_column(table.schema.get_field_index("data_version"), "data_version", [["0" * 64] * len(table)])
    pq.write_table(other.cast(table.schema), path)
    assert any("is on 00000000" in fault for fault in place.find_faults())
