"""Asset checks: nothing is lost, nobody is in two splits, no text is empty, pixels look like radiographs.

They are queries over the Parquet files. The blocking ones stop a run before a network learns from bad data.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pyarrow.parquet as pq

from assets import previews
from assets.workspace import Workspace
from store import batches

MEAN_BOUNDS = (10.0, 245.0)  # grey levels; a film outside is blank or burnt out
FLAT = 2.0  # standard deviation in grey levels, below which an image is constant
SANE_SHARE = 0.01  # of the images may be flat or out of bounds
SAMPLE = 2_000


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "nothing_lost",
            asset="studies",
            additional_deps=["rejects"],
            blocking=True,
            description="Every image of the archive is in `studies` or in `rejects`, and in one only.",
        ),
        dg.AssetCheckSpec(
            "no_patient_in_two_splits",
            asset="studies",
            blocking=True,
            description="All images of a patient are in one split.",
        ),
    ]
)
def studies_checks(workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
    """The two tables against the archive, and the splits."""
    tables = {name: workspace.folder(name) / f"{name}.parquet" for name in ("studies", "rejects")}
    source_rows = batches.read_plan(workspace.folder("inventory")).settings["source_rows"]
    studies, rejects, distinct = _query(
        "with studies as (select image_id from read_parquet(?)), rejects as (select image_id from read_parquet(?)) "
        "select (select count(*) from studies), (select count(*) from rejects), (select count(distinct image_id) "
        "from (from studies union all from rejects))",
        *tables.values(),
    )
    rows = studies + rejects
    yield dg.AssetCheckResult(
        check_name="nothing_lost",
        asset_key="studies",
        passed=bool(source_rows == rows == distinct),
        description=f"{source_rows} rows in the archive = {studies} studies + {rejects} rejects"
        if source_rows == rows == distinct
        else f"{source_rows} rows in the archive, but {studies} studies and {rejects} rejects, in all of {distinct} "
        "different images",
        metadata={
            "source_rows": source_rows,
            "studies": studies,
            "rejects": rejects,
            "missing": source_rows - rows,
            "in_both_or_twice": rows - distinct,
            "reasons": previews.counts(
                pq.read_table(tables["rejects"], columns=["stage", "reason"]), "stage", "reason"
            ),
        },
    )
    (leaked,) = _query(
        "select count(*) from (select subject_id from read_parquet(?) group by subject_id "
        "having count(distinct split) > 1)",
        tables["studies"],
    )
    yield dg.AssetCheckResult(
        check_name="no_patient_in_two_splits",
        asset_key="studies",
        passed=bool(leaked == 0),
        metadata={"patients_in_two_splits": leaked},
    )


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "as_many_rows_as_studies",
            asset="shards",
            additional_deps=["studies"],
            blocking=True,
            description="The shards hold exactly the images of `studies`.",
        ),
        dg.AssetCheckSpec("no_empty_text", asset="shards", blocking=True, description="Every image comes with a text."),
        dg.AssetCheckSpec(
            "pixels_are_sane",
            asset="shards",
            description="Hardly any image is constant, black or white (over an even sample of rows).",
        ),
    ]
)
def shards_checks(workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
    """What training is about to read."""
    folder = workspace.folder("shards")
    plan = batches.read_plan(folder)
    paths = [batches.output_path(folder, batch.fingerprint) for batch in plan.batches]
    files = [str(path) for path in paths]
    studies = workspace.folder("studies") / "studies.parquet"
    rows, missing = _query(
        "select (select count(*) from read_parquet(?)), (select count(*) from read_parquet(?) "
        "where image_id not in (select image_id from read_parquet(?)))",
        files,
        studies,
        files,
    )
    (expected,) = _query("select count(*) from read_parquet(?)", studies)
    yield dg.AssetCheckResult(
        check_name="as_many_rows_as_studies",
        asset_key="shards",
        passed=bool(rows == expected and missing == 0),
        metadata={"rows": rows, "studies": expected, "missing": missing},
    )
    has_reports = batches.read_plan(workspace.folder("inventory")).settings["has_reports"]
    (empty,) = _query("select count(*) from read_parquet(?) where trim(text) = ''", files)
    yield dg.AssetCheckResult(
        check_name="no_empty_text",
        asset_key="shards",
        passed=bool(empty == 0 or not has_reports),
        description=None if has_reports else "The cohort has films without reports; there is no text to check.",
        metadata={"empty_texts": empty},
    )
    yield pixel_check(paths, int(plan.settings["size"]))


def pixel_check(paths: list[Path], size: int) -> dg.AssetCheckResult:
    """Grey levels of an even sample of the rows of shards."""
    grey = np.array([(image.mean(), image.std()) for image in sample_images(paths, size, SAMPLE)]).reshape(-1, 2)
    means, spreads = grey.T
    odd = (spreads < FLAT) | (means < MEAN_BOUNDS[0]) | (means > MEAN_BOUNDS[1])
    share = float(odd.mean()) if len(odd) else 1.0
    return dg.AssetCheckResult(
        check_name="pixels_are_sane",
        asset_key="shards",
        passed=share <= SANE_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "looked_at": len(odd),
            "share_of_odd_images": share,
            "mean_grey_level": float(means.mean()) if len(odd) else 0.0,
            "mean_contrast": float(spreads.mean()) if len(odd) else 0.0,
        },
    )


def sample_images(paths: list[Path], size: int, limit: int) -> Iterator[np.ndarray]:
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
