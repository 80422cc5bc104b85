"""The checks of a dataset: queries over its Parquet files that tell bad data before a network learns from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.stages.losses import find_blameless, find_dropped
from ingestion.tables.subsets import expect_table
from store import batches

if TYPE_CHECKING:
    from ingestion.workspace import Workspace

NOTHING_LOST = "nothing_lost"
NO_PATIENT_IN_TWO_SPLITS = "no_patient_in_two_splits"
AS_MANY_ROWS_AS_STUDIES = "as_many_rows_as_studies"
NO_EMPTY_TEXT = "no_empty_text"
PIXELS_ARE_SANE = "pixels_are_sane"
REPORTS_HAVE_TRIPLETS = "reports_have_triplets"
# Check -> what it holds to be true, of the tables and of the shards.
STUDIES_CHECKS = {
    NOTHING_LOST: "Every image of the archive is in `studies` or in `rejects`, in one only, and no image is rejected "
    "for want of a file that was there.",
    NO_PATIENT_IN_TWO_SPLITS: "All images of a patient are in one split.",
}
SHARDS_CHECKS = {
    AS_MANY_ROWS_AS_STUDIES: "The shards hold exactly the images of `studies`.",
    NO_EMPTY_TEXT: "Every image comes with a text.",
    PIXELS_ARE_SANE: "Hardly any image is constant, black or white (over an even sample of rows).",
    REPORTS_HAVE_TRIPLETS: "Most reports say something that the parser, or RadGraph, reads. A method that learns from "
    "triplets learns nothing from the others.",
}
WARNINGS = (PIXELS_ARE_SANE, REPORTS_HAVE_TRIPLETS)  # the others stop a run

MEAN_BOUNDS = (10.0, 245.0)  # grey levels; an image outside is blank or burnt out
FLAT = 2.0  # standard deviation in grey levels, below which an image is constant
SANE_SHARE = 0.01  # of the images may be flat or out of bounds
SAMPLE = 2_000
SILENT_SHARE = 0.5  # of the rows may have no triplet


@dataclass(frozen=True)
class CheckResult:
    """Whether a check passed, and the figures it compared."""

    name: str
    passed: bool
    table: str  # that was checked: studies or shards
    description: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether nothing may be built on the data."""
        return not self.passed and self.name not in WARNINGS


def check_studies(workspace: Workspace) -> Iterator[CheckResult]:
    """Compare the tables `studies` and `rejects` with the archive, and the splits with one another."""
    tables = {name: expect_table(workspace, name) for name in ("studies", "rejects")}
    source_rows = batches.expect_plan(workspace.folder("inventory")).settings["source_rows"]
    studies, rejects, distinct = _query(
        "with studies as (select image_id from read_parquet(?)), rejects as (select image_id from read_parquet(?)) "
        "select (select count(*) from studies), (select count(*) from rejects), (select count(distinct image_id) "
        "from (from studies union all from rejects))",
        *tables.values(),
    )
    rows, blameless, dropped = studies + rejects, find_blameless(workspace), find_dropped(workspace)
    if not source_rows == rows == distinct:
        description = (
            f"{source_rows} rows in the archive, but {studies} studies and {rejects} rejects, in all of {distinct} "
            "different images"
        )
    elif dropped:
        description = f"a stage has neither a row nor a reject for {len(dropped)} images, {dropped[0]} for one"
    elif blameless:
        description = (
            f"{len(blameless)} images, {blameless[0]} for one, were rejected because of files that were there all the "
            "time; give the same command again"
        )
    else:
        description = f"{source_rows} rows in the archive = {studies} studies + {rejects} rejects"
    yield CheckResult(
        NOTHING_LOST,
        source_rows == rows == distinct and not dropped and not blameless,
        "studies",
        description,
        {
            "source_rows": source_rows,
            "studies": studies,
            "rejects": rejects,
            "missing": source_rows - rows,
            "in_both_or_twice": rows - distinct,
            "dropped_by_a_stage": len(dropped),
            "rejected_without_fault": len(blameless),
        },
    )
    (leaked,) = _query(
        "select count(*) from (select subject_id from read_parquet(?) group by subject_id "
        "having count(distinct split) > 1)",
        tables["studies"],
    )
    yield CheckResult(
        NO_PATIENT_IN_TWO_SPLITS, bool(leaked == 0), "studies", figures={"patients_in_two_splits": leaked}
    )


def read_reject_reasons(workspace: Workspace) -> pa.Table:
    """Stage and reason of every reject."""
    return pq.read_table(expect_table(workspace, "rejects"), columns=["stage", "reason"])


def check_shards(workspace: Workspace) -> Iterator[CheckResult]:
    """Compare what training is about to read with `studies`, and look at its texts and pixels."""
    folder = workspace.folder("shards")
    plan = batches.expect_plan(folder)
    studies = pq.read_table(expect_table(workspace, "studies"), columns=["image_id"])["image_id"].combine_chunks()
    counts, ids = Counter[str](), []
    for batch in plan.batches:
        table = pq.ParquetFile(batches.open_batch(folder, batch)).read(["image_id", "text", "triplets"])
        counts.update(_count_rows(table))
        ids += table["image_id"].chunks
    rows, expected, empty = counts["rows"], len(studies), counts["empty"]
    known = pc.sum(pc.is_in(pa.chunked_array(ids, pa.string()), value_set=studies)).as_py() or 0
    missing = expected - known  # an image is in one shard only
    yield CheckResult(
        AS_MANY_ROWS_AS_STUDIES,
        bool(rows == expected and missing == 0),
        "shards",
        figures={"rows": rows, "studies": expected, "missing": missing},
    )
    has_reports = batches.expect_plan(workspace.folder("inventory")).settings["has_reports"]
    yield CheckResult(
        NO_EMPTY_TEXT,
        bool(empty == 0 or not has_reports),
        "shards",
        "" if has_reports else "The cohort has images without reports; there is no text to check.",
        {"empty_texts": empty},
    )
    paths = [batches.output_path(folder, batch.fingerprint) for batch in plan.batches]
    yield check_pixels(paths, int(plan.settings["size"]))
    yield _check_triplets(counts["silent"], rows, has_reports)


def _count_rows(table: pa.Table) -> dict[str, int]:
    """Rows of a shard: all, those without a text and those without triplets."""
    found = {
        "empty": pc.equal(pc.utf8_trim(table["text"], " "), ""),
        "silent": pc.equal(pc.list_value_length(table["triplets"]), 0),
    }
    return {"rows": table.num_rows, **{name: pc.sum(mask).as_py() or 0 for name, mask in found.items()}}


def check_pixels(paths: Sequence[Path], size: int) -> CheckResult:
    """Look at the grey levels of an even sample of the rows of shards."""
    grey = np.array([(image.mean(), image.std()) for image in sample_images(paths, size, SAMPLE)]).reshape(-1, 2)
    means, stds = grey.T
    odd = (stds < FLAT) | (means < MEAN_BOUNDS[0]) | (means > MEAN_BOUNDS[1])
    share = float(odd.mean()) if len(odd) else 1.0
    figures = {
        "looked_at": len(odd),
        "share_of_odd_images": share,
        "mean_grey_level": float(means.mean()) if len(odd) else 0.0,
        "mean_contrast": float(stds.mean()) if len(odd) else 0.0,
    }
    return CheckResult(PIXELS_ARE_SANE, share <= SANE_SHARE, "shards", figures=figures)


def _check_triplets(silent: int, rows: int, has_reports: bool) -> CheckResult:
    passed = bool(not has_reports or silent <= rows * SILENT_SHARE)
    why = "the page of `triplets` says how many reports are in a language that is not parsed"
    description = "" if passed else f"{silent} of {rows} rows have no triplets; {why}"
    return CheckResult(REPORTS_HAVE_TRIPLETS, passed, "shards", description, {"rows_without_triplets": silent})


def sample_images(paths: Sequence[Path], size: int, limit: int) -> Iterator[np.ndarray]:
    """At most `limit` images (size, size), evenly over the rows of shards; the others are not read."""
    from shards.pixels import Pixels, pixel_offsets

    counts = [batches.row_count(path) for path in paths]
    every = -(-sum(counts) // limit) or 1
    first = 0  # row of all shards that the next one begins with
    for path, rows in zip(paths, counts, strict=True):
        wanted = np.arange(-first % every, rows, every)
        if len(wanted):
            yield from Pixels(size, [(path, pixel_offsets(path, size))]).read(wanted)
        first += rows


def _query(sql: str, *parameters: Any) -> tuple[Any, ...]:
    values = [str(value) if isinstance(value, Path) else value for value in parameters]
    row = duckdb.execute(sql, values).fetchone()
    assert row is not None
    return row
