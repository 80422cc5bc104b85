"""The `results` table: one row per number, and what produced it."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "4"
UNSEALED_VERSIONS = ("1", "2", "3")  # of files that have no seal
RESAMPLES_DIGEST = b"resamples"  # key of a file's metadata: the digest of its resamples; since version 4
READ_FILES = b"reads"  # key of a file's metadata: the predictions that it was computed from, as a list in JSON
COMPUTED_ON = b"computed_on"  # key of a file's metadata: device and precision, as an object in JSON

RESULTS = pa.schema(
    [
        pa.field("method", pa.string(), nullable=False),  # medklip, untrained:medklip, supervised
        pa.field("checkpoint", pa.string(), nullable=False),  # digest of the weights
        pa.field("mlflow_run", pa.string(), nullable=False),  # empty when there is none
        pa.field("cohort", pa.string(), nullable=False),
        pa.field("data_version", pa.string(), nullable=False),  # digest of the shard manifest
        pa.field("task", pa.string(), nullable=False),
        pa.field("setting", pa.string(), nullable=False),  # zero-shot, 1 %, 10 %, tuned; and `, by study`
        pa.field("metric", pa.string(), nullable=False),
        pa.field("class", pa.string(), nullable=False),  # macro for the mean over classes
        pa.field("value", pa.float64()),  # null where the class cannot be scored
        pa.field("low", pa.float64()),  # 95 % interval
        pa.field("high", pa.float64()),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # measured, or the published table
        # Rows of version 1 lack the columns below. Version 2 calls the column `repeat` `draw`.
        pa.field("repeat", pa.int64()),  # seed of the evaluation: label fraction, order of images, new layers
        pa.field("protocol", pa.string()),  # digest of the task, its options and the code
        pa.field("simulated", pa.bool_()),  # whether the images are simulated
        pa.field("positives", pa.int64()),  # images that have the class; null where that does not apply
        pa.field("note", pa.string()),  # why there is no value: `failed: ...`, `not available: ...`
    ],
    metadata={"table": "results", "version": SCHEMA_VERSION},
)
DEFAULTS = {"repeat": 0, "protocol": "", "simulated": False, "note": ""}  # what version 1 does not say
FORMER_REPEAT = pa.field("draw", pa.int64())  # what version 2 calls `repeat`
