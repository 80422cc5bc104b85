from __future__ import annotations

import pyarrow as pa

from assets import deidentification
from ingestion.stages.images import images_schema

SCHEMA = pa.schema([images_schema(1).field(name) for name in deidentification.COLUMNS])


def test_names_and_counts_of_what_was_dropped_and_the_films_with_text_in_their_pixels():
    films = [
        ("a", ["PatientID", "PatientName"], True),
        ("b", ["PatientName"], False),
        ("c", [], None),
        ("d", ["PatientName"], True),
    ]
    names = ("image_id", "dropped", "burned_in")
    table = pa.Table.from_pylist([dict(zip(names, film, strict=True)) for film in films], schema=SCHEMA)
    found = deidentification.report(table)
    assert "| PatientName | 3 |\n| PatientID | 1 |" in found.pop("identifying attributes").value
    burned_in = [record.data for record in found.pop("films with burned-in annotation").records]
    assert burned_in == [{"image_id": "a"}, {"image_id": "d"}]
    assert found == {f"burned-in annotation: {said}": count for said, count in (("yes", 2), ("no", 1), ("not said", 1))}
