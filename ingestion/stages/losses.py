"""Finds images that were lost: dropped by a stage, or rejected although nothing is wrong with their files.

A reject says that a file was not there, or could not be opened, when the archive was listed. The inventory and the
archive itself say whether that is true.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.inventory import BEGAN
from ingestion.tables.subsets import expect_table
from store import batches

if TYPE_CHECKING:
    from ingestion.workspace import Workspace

ABSENT = ("missing_file", "missing_report", "missing_mask")  # reasons
# Rejects that the inventory contradicts: it has the size and time of the file that is said to be missing or closed.
_CONTRADICTED = """
select image_id from rejects join stamps using (image_id) where
    stage = 'image' and reason = 'missing_file' and image_stamp <> ''
    or stage = 'image' and reason = 'unreadable_file' and image_stamp <> $denied
    or stage = 'report' and reason = 'missing_report' and report_stamp <> ''
"""


def find_blameless(workspace: Workspace) -> list[str]:
    """The image_id of every reject whose file was there when the archive was listed, sorted."""
    rejects = pq.read_table(expect_table(workspace, "rejects"))
    return sorted({*_contradicted(workspace, rejects), *_returned(workspace, rejects)})


def find_dropped(workspace: Workspace) -> list[str]:
    """The image_id of every study that a stage neither gave a row nor rejected, sorted."""
    studies = pq.read_table(expect_table(workspace, "studies"), columns=["image_id", "study_id"])
    dropped: set[str] = set()
    for stage, key in (("images", "image_id"), ("reports", "study_id")):
        folder = workspace.folder(stage)
        plan = batches.read_plan(folder)
        if plan.batches:
            made = batches.read_batches(folder, plan, [key], verified=False)[key].combine_chunks()
            dropped.update(studies.filter(pc.invert(pc.is_in(studies[key], value_set=made)))["image_id"].to_pylist())
    return sorted(dropped)


def _contradicted(workspace: Workspace, rejects: pa.Table) -> list[str]:
    from cohorts.archive.paths import DENIED

    folder = workspace.folder("inventory")
    plan = batches.read_plan(folder)
    if not plan.batches:
        return []
    stamps = batches.read_batches(folder, plan, ["image_id", "image_stamp", "report_stamp"], verified=False)
    if "image_stamp" not in stamps.column_names:  # an older home
        return []
    with duckdb.connect() as database:
        database.register("rejects", rejects)
        database.register("stamps", stamps)
        return [name for (name,) in database.execute(_CONTRADICTED, {"denied": DENIED}).fetchall()]


def _returned(workspace: Workspace, rejects: pa.Table) -> list[str]:
    """Those whose file is said to be missing, and lies on the disk since before the listing began."""
    from cohorts.archive.remote import is_remote

    began, root = workspace.folder("inventory") / BEGAN, workspace.configured_root() or workspace.folder("archive")
    absent = rejects.filter(pc.is_in(rejects["reason"], value_set=pa.array(ABSENT)))
    if is_remote(root) or not began.exists() or not absent.num_rows:  # the listing of a storage is one answer
        return []
    since = began.stat().st_mtime_ns
    rows = zip(absent["image_id"].to_pylist(), absent["source_path"].to_pylist(), strict=True)
    return [name for name, path in rows if _lies_there_since_before(root, path, since)]


def _lies_there_since_before(root: Path, relative: str, moment: int) -> bool:
    """Whether a regular file was there before a moment, ns. What arrived later was rightly not found."""
    from cohorts.archive.paths import OutsideRootError, inside

    try:
        path = inside(root, relative)
        return path.is_file() and os.stat(path).st_ctime_ns < moment
    except (OutsideRootError, OSError):
        return False
