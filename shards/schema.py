"""One shard row is one image-report pair. Pixels lie uncompressed: a row group can be memory-mapped."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "3"  # 2: sentences carry the section they come from; 3: triplets carry their sentence

NO_SENTENCE = -1

SENTENCE = pa.struct(
    [
        pa.field("section", pa.string(), nullable=False),  # findings, impression, ...
        pa.field("text", pa.string(), nullable=False),
    ]
)

TRIPLET = pa.struct(
    [
        pa.field("entity", pa.int16(), nullable=False),  # index into the manifest's entities
        pa.field("position", pa.int16(), nullable=False),  # index into the manifest's positions
        pa.field("exists", pa.int8(), nullable=False),  # 1 present, 0 absent, -1 uncertain
        pa.field("sentence", pa.int16(), nullable=False),  # index into the row's sentences; -1: not known
    ]
)


def shard_schema(size: int) -> pa.Schema:
    """Schema of a shard whose images are letterboxed to `size` x `size` 8-bit pixels."""
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("study_id", pa.string(), nullable=False),
            pa.field("subject_id", pa.string(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            pa.field("view", pa.string(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),  # of the source image, before letterboxing
            pa.field("width", pa.int32(), nullable=False),
            pa.field("pixels", pa.binary(size * size), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("sentences", pa.list_(SENTENCE), nullable=False),
            pa.field("triplets", pa.list_(TRIPLET), nullable=False),
            pa.field("labels", pa.map_(pa.string(), pa.float32())),
        ],
        metadata={"table": "shards", "version": SCHEMA_VERSION, "size": str(size)},
    )
