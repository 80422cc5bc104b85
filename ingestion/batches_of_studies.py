"""A batch of studies from files to rows: decoded and letterboxed films, and reports taken apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cohorts.archive.paths import OutsideRootError, inside
from cohorts.archive.remote import local_copy
from cohorts.base import Cohort, rejects_table
from cohorts.tables import REJECTS
from imaging.decode import Film, SquareOptions
from imaging.errors import ImageError
from imaging.pool import DecoderPool, usable_cores
from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions, parse_report
from report_parsing.tables import REPORTS

FILMS_PER_WORKER = 16  # below which starting another process costs more than it saves


def images_schema(size: int) -> pa.Schema:
    """Rows of decoded films: letterboxed to `size`, with the height and width they had and, of a DICOM header, the
    allowed attributes as JSON, the keywords of identifying ones that were dropped, and whether it says that annotation
    is burned into the pixels (null: it does not say)."""
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("pixels", pa.binary(size * size), nullable=False),
            pa.field("header", pa.string(), nullable=False),
            pa.field("dropped", pa.list_(pa.string()), nullable=False),
            pa.field("burned_in", pa.bool_()),
        ]
    )


def decode_batch(
    cohort: Cohort,
    studies: pa.Table,
    size: int,
    *,
    pool: DecoderPool | None = None,
    on_film: Callable[[], object] = lambda: None,
    **choices: bool,
) -> tuple[pa.Table, pa.Table]:
    """Decode the films of a batch into (images, rejects), both in the order of `studies`.

    A `pool` that outlives the batch saves starting its processes again. `on_film` is called after each film.
    `size` and `choices` are SquareOptions.
    """
    options = SquareOptions(size, **choices)
    paths = studies["image_path"].to_pylist()
    with ExitStack() as stack:
        pool = pool or stack.enter_context(DecoderPool(min(usable_cores(), 1 + len(paths) // FILMS_PER_WORKER)))
        threads = stack.enter_context(ThreadPoolExecutor(pool.workers))
        results = []
        for result in threads.map(partial(_decode, pool, cohort.root, options), paths):
            results.append(result)
            on_film()
    films = {row: result for row, result in enumerate(results) if isinstance(result, Film)}
    failures = {row: result for row, result in enumerate(results) if isinstance(result, ImageError)}
    headers = [film.header for film in films.values()]
    images = pa.table(
        {
            "image_id": studies["image_id"].take(pa.array(films, pa.int64())),
            "height": pa.array([film.height for film in films.values()], pa.int32()),
            "width": pa.array([film.width for film in films.values()], pa.int32()),
            "pixels": _binary([film.pixels for film in films.values()], size),
            "header": pa.array([json.dumps(header.kept) for header in headers], pa.string()),
            "dropped": pa.array([sorted(header.dropped) for header in headers], pa.list_(pa.string())),
            "burned_in": pa.array([header.burned_in for header in headers], pa.bool_()),
        },
        schema=images_schema(size),
    )
    return images, _rejects(studies, "image", "image_path", failures)


def section_batch(cohort: Cohort, studies: pa.Table, options: ReportOptions) -> tuple[pa.Table, pa.Table]:
    """Take the reports of a batch apart into (reports, rejects): a report per study, a reject per image of
    a study whose report cannot be used. Where the archive has films without text, every report is empty."""
    if not cohort.has_reports:
        return _no_reports(studies), REJECTS.empty_table()
    rows = studies.select(["cohort", "study_id", "image_id", "report_path"]).to_pylist()
    reports: list[dict[str, Any]] = []
    refused: dict[str, ReportError] = {}
    for study in {row["study_id"]: row for row in reversed(rows)}.values():
        try:
            parsed = parse_report(cohort.read_report(study), cohort.report_style, options)
        except ReportError as error:
            refused[study["study_id"]] = error
        else:
            reports.append({"cohort": study["cohort"], "study_id": study["study_id"], **vars(parsed)})
    failures = {i: refused[row["study_id"]] for i, row in enumerate(rows) if row["study_id"] in refused}
    return pa.Table.from_pylist(reports, schema=REPORTS), _rejects(studies, "report", "report_path", failures)


def _decode(pool: DecoderPool, root: Path, options: SquareOptions, relative: str) -> Film | ImageError:
    try:
        with local_copy(inside(root, relative)) as path:
            return pool.decode(path, options)
    except OutsideRootError as error:
        return ImageError("path_outside_root", str(error))


def _binary(squares: Sequence[np.ndarray], size: int) -> pa.Array:
    """Squares of pixels as one fixed-size binary column, without a Python object per row."""
    data = np.stack(squares) if squares else np.empty((0, size, size), np.uint8)
    buffers = [None, pa.py_buffer(np.ascontiguousarray(data))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size * size), len(squares), buffers)


def _no_reports(studies: pa.Table) -> pa.Table:
    """An empty report for each study: no section, no sentence, an empty text."""
    rows = studies.group_by(["cohort", "study_id"], use_threads=False).aggregate([]).to_pylist()
    empty = {"report": "", "sections": [], "text": "", "sentences": []}
    return pa.Table.from_pylist([{**row, **empty} for row in rows], schema=REPORTS)


def _rejects(studies: pa.Table, stage: str, source: str, failures: Mapping[int, ImageError | ReportError]) -> pa.Table:
    """Rejects of the given rows of `studies`; the source is the image where a study has no report file."""
    columns = dict.fromkeys(["cohort", "image_id", "study_id", "image_path", source])
    rows = studies.select(list(columns)).take(pa.array(failures, pa.int64()))
    frame = rows.to_pandas()
    return rejects_table(
        frame.assign(
            source_path=frame[source].fillna(frame["image_path"]),
            stage=stage,
            reason=[error.reason for error in failures.values()],
            detail=[error.detail for error in failures.values()],
        )
    )
