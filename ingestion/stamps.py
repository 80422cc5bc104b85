"""The state of the files of each image when the archive was listed: their size and time.

Of a report that is a row of a table, a digest of its text takes their place.

The texts of a table are digested once: while the tables of an archive, and the code that reads them, are what they
were, the digests of the last listing stay right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohorts.archive.listed_reports import stamp_row
from store.digests import fingerprint

if TYPE_CHECKING:
    from cohorts.base import Cohort
    from ingestion.workspace import Workspace

ROWS_AT_ONCE = 100_000  # that are Python's objects, which take many times as much memory as a table

Log = Callable[[str], object]


@dataclass(frozen=True)
class Tables:
    """The tables that an archive is described by: their paths below its root, and the state that they are in."""

    paths: frozenset[str] = frozenset()
    state: str = ""  # empty: unknown


@dataclass(frozen=True)
class KeptStamps:
    """Stamps of the last listing, when the tables of the archive were what they are."""

    tables: frozenset[str]
    studies: pa.ChunkedArray
    stamps: pa.ChunkedArray

    def find(self, studies: pa.Table) -> pa.Array:
        """The stamp of the report of each study; null where none is known, or the report is in no table."""
        in_tables = pc.is_in(studies["report_path"], value_set=pa.array(sorted(self.tables), pa.string()))
        rows = pc.index_in(studies["study_id"], value_set=self.studies)
        found = self.stamps.take(pc.if_else(in_tables, rows, None))
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def describe_tables(workspace: Workspace, cohort: Cohort) -> Tables:
    """The tables of an archive that a description names, on a disk; of others nothing is known."""
    from cohorts.archive.paths import file_stamps
    from cohorts.archive.remote import is_remote
    from cohorts.registry import reader_module
    from store.code import code_version

    if is_remote(cohort.root):
        return Tables()
    inside = [path for path in map(Path, workspace.watched_files()) if path.is_relative_to(cohort.root)]
    names = sorted(path.relative_to(cohort.root).as_posix() for path in inside)
    if not names:
        return Tables()
    state = [str(cohort.root), names, file_stamps(cohort.root, names), code_version(reader_module(cohort.name))]
    described = getattr(cohort, "description", None)
    return Tables(frozenset(names), fingerprint(state, repr(described)))


def read_stamps(cohort: Cohort, studies: pa.Table, log: Log, kept: KeptStamps | None = None) -> pa.Table:
    """The state of the files of each image (cohorts.tables.STAMPS), in the order of `studies`.

    Reports of which stamps are `kept` are not read.
    """
    from cohorts.tables import STAMPS

    log(f"Looking at the size and time of the files of {studies.num_rows} images.")
    columns = {
        "image_stamp": _file_stamps(cohort.root, studies["image_path"]),
        "report_stamp": _report_stamps(cohort, studies, log, kept),
        "mask_stamps": _mask_stamps(cohort, studies),
    }
    return pa.table(columns, schema=STAMPS)


def join_stamps(studies: pa.Table, stamps: pa.Table) -> pa.Table:
    """The rows of a batch, with the state of their files."""
    for name in stamps.column_names:
        studies = studies.append_column(stamps.schema.field(name), stamps[name])
    return studies


def _file_stamps(root: Path, paths: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """The stamp of each file; of a folder some at a time, of a storage, which is listed for it, all at once."""
    from cohorts.archive.paths import file_stamps
    from cohorts.archive.remote import is_remote

    step = max(len(paths), 1) if is_remote(root) else ROWS_AT_ONCE
    parts = [paths.slice(start, step) for start in range(0, len(paths), step)]
    return pa.chunked_array([file_stamps(root, part.to_pylist()) for part in parts], pa.string())


def _report_stamps(cohort: Cohort, studies: pa.Table, log: Log, kept: KeptStamps | None) -> pa.Array | pa.ChunkedArray:
    """The state of each image's report: of its file or, where the report is a row of a table, of its text."""
    if not cohort.has_reports:
        return pa.repeat(pa.scalar(""), studies.num_rows)
    number = pc.index_in(studies["study_id"], value_set=pc.unique(studies["study_id"])).to_numpy()  # of the study
    first = studies.select(["study_id", "image_id", "image_path", "report_path"]).take(
        np.unique(number, return_index=True)[1]
    )
    users = pc.value_counts(first["report_path"].drop_null())
    files = users.field("values").filter(pc.equal(users.field("counts"), 1)).sort()
    place = pc.fill_null(pc.index_in(first["report_path"], value_set=files), -1).to_numpy().copy()
    shared = first.filter(pa.array(place < 0))
    place[place < 0] = len(files) + np.arange(shared.num_rows)
    texts = _text_stamps(cohort, shared, log, kept)
    stamps = pa.chunked_array([*_file_stamps(cohort.root, files).chunks, texts])
    return stamps.take(pa.array(place[number]))


def _text_stamps(cohort: Cohort, studies: pa.Table, log: Log, kept: KeptStamps | None) -> pa.Array:
    """The stamp of the report of each study, by its text; of known ones as it is kept."""
    stamps = pa.nulls(studies.num_rows, pa.string()) if kept is None else kept.find(studies)
    unknown = stamps.is_null()
    to_read = studies.filter(unknown)
    if to_read.num_rows:
        log(f"Reading {to_read.num_rows} reports that are rows of a table.")
    parts = [
        pa.array([stamp_row(cohort, row) for row in part.to_pylist()], pa.string())
        for part in to_read.to_batches(ROWS_AT_ONCE)
    ]
    texts = pa.chunked_array(parts, pa.string()).combine_chunks()
    return pc.replace_with_mask(stamps, unknown, texts)


def _mask_stamps(cohort: Cohort, studies: pa.Table) -> list[list[str] | None]:
    from cohorts.archive.paths import file_stamps

    paths = [None if masks is None else [mask["path"] for mask in masks] for masks in studies["masks"].to_pylist()]
    files = sorted({path for of_image in paths if of_image for path in of_image})
    state = dict(zip(files, file_stamps(cohort.root, files) if files else (), strict=True))
    return [None if of_image is None else [state[path] for path in of_image] for of_image in paths]
