"""The tables every cohort is read into: `studies` (what can be used) and `rejects` (what cannot, and why).

One row of either table is one image. All paths are relative to the root of the archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

SCHEMA_VERSION = "3"  # 3: facts of the study (FACTS)

BOX = pa.struct(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("x", pa.float32(), nullable=False),  # left edge, source pixels
        pa.field("y", pa.float32(), nullable=False),  # top edge, source pixels
        pa.field("width", pa.float32(), nullable=False),
        pa.field("height", pa.float32(), nullable=False),
    ]
)
MASK = pa.struct(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),  # 8-bit image of the source size
        pa.field("threshold", pa.uint8(), nullable=False),  # above it lies the finding: 127, or 0 in a file of 0 and 1
    ]
)
MASK_THRESHOLD = 127
SHAPE = pa.struct(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # rectangle, ellipse, polygon, rle
        pa.field("points", pa.list_(pa.float64()), nullable=False),  # source pixels, as imaging.shapes reads them
    ]
)

# What else an archive says of an image and its patient; null where it says nothing.
FACTS = (
    pa.field("date", pa.string()),  # of the study, yyyy-mm-dd; shifted where the archive shifts it (MIMIC-CXR)
    pa.field("sex", pa.string()),  # F, M or O (other)
    pa.field("age", pa.float32()),  # years, of the patient at the study
    pa.field("device", pa.string()),  # manufacturer and model, or what the archive calls the device
    pa.field("site", pa.string()),  # hospital, ward or institution
    pa.field("laterality", pa.string()),  # L or R, of a view from the side
)
STUDIES = pa.schema(
    [
        pa.field("cohort", pa.string(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),  # the unit of splitting: nobody is in two splits
        pa.field("study_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),  # unique within the cohort
        pa.field("image_path", pa.string(), nullable=False),
        pa.field("view", pa.string(), nullable=False),  # PA, AP, LATERAL, ...; empty where it is not said
        pa.field("split", pa.string(), nullable=False),  # train, validate, test
        pa.field("report_path", pa.string()),
        pa.field("labels", pa.map_(pa.string(), pa.float32())),  # 1 present, 0 absent, -1 uncertain
        pa.field("boxes", pa.list_(BOX)),  # also the bounding boxes of `shapes`
        pa.field("masks", pa.list_(MASK)),
        pa.field("shapes", pa.list_(SHAPE)),
        *FACTS,
    ],
    metadata={"table": "studies", "version": SCHEMA_VERSION},
)

# What an inventory adds to a row of STUDIES: the size and time of its files when the archive was listed. Empty: there
# was no such file. cohorts.archive.paths.DENIED: this user may not open it.
STAMPS = pa.schema(
    [
        pa.field("image_stamp", pa.string(), nullable=False),
        pa.field("report_stamp", pa.string(), nullable=False),  # of the text, where the report is a row of a table
        pa.field("mask_stamps", pa.list_(pa.string())),  # in the order of `masks`
    ]
)

REJECTS = pa.schema(
    [
        pa.field("cohort", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("study_id", pa.string(), nullable=False),
        pa.field("source_path", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # scan, image, report
        pa.field("reason", pa.string(), nullable=False),  # a stable code such as truncated_dicom
        pa.field("detail", pa.string(), nullable=False),  # one sentence, free of report text and identifiers
    ],
    metadata={"table": "rejects", "version": SCHEMA_VERSION},
)


class Refusal(Protocol):
    """Why an image cannot be used: a stable code and one sentence."""

    reason: str
    detail: str


def list_rejects(studies: pa.Table, stage: str, source: str, failures: Mapping[int, Refusal]) -> pa.Table:
    """Rejects of the given rows of `studies`. The source is the image where the column `source` is null."""
    rows = studies.take(pa.array(list(failures), pa.int64()))
    columns = {
        **{name: rows[name] for name in ("cohort", "image_id", "study_id")},
        "source_path": pc.coalesce(rows[source], rows["image_path"]),
        "stage": pa.array([stage] * len(failures), pa.string()),
        "reason": pa.array([refusal.reason for refusal in failures.values()], pa.string()),
        "detail": pa.array([refusal.detail for refusal in failures.values()], pa.string()),
    }
    return pa.table(columns, schema=REJECTS)
