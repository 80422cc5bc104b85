from __future__ import annotations

import pyarrow as pa

from ingestion.previews.summaries import HEADER_COLUMNS, summarize_headers
from ingestion.stages.images import images_schema

SCHEMA = pa.schema([images_schema(1).field(name) for name in HEADER_COLUMNS])


def test_names_and_counts_of_what_was_dropped_and_the_images_with_text_in_their_pixels():
    images = [
        ("a", ["PatientID", "PatientName"], True),
        ("b", ["PatientName"], False),
        ("c", [], None),
        ("d", ["PatientName"], True),
    ]
    names = ("image_id", "dropped", "burned_in")
    table = pa.Table.from_pylist([dict(zip(names, image, strict=True)) for image in images], schema=SCHEMA)
    found = summarize_headers([table.slice(0, 3), table.slice(3)])
    assert found.dropped == [("PatientName", 3), ("PatientID", 1)]
    assert found.images_with_annotation["image_id"].to_pylist() == ["a", "d"]
    assert found.burned_in == {"yes": 2, "no": 1, "not said": 1}
