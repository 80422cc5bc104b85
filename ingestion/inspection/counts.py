"""Counts what an archive would become: images, rejects, views, facts, labels and reports. No text is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from report_parsing.errors import ReportError

if TYPE_CHECKING:
    from cohorts.base import Cohort, Scan

MOST_REPORTS = 50  # that are read to tell their language
NOT_SAID = "not said"
VALUES = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}


@dataclass(frozen=True)
class Reports:
    """What is known of the reports of an archive, from an even sample of its studies."""

    read: int = 0
    languages: dict[str, int] = field(default_factory=dict)  # in English -> reports
    unread: dict[str, int] = field(default_factory=dict)  # why a report could not be read -> reports


@dataclass(frozen=True)
class Counts:
    """What an archive would become. Every image is usable or has a reason."""

    images: int  # rows of the archive
    usable: int
    studies: int
    patients: int
    rejects: list[tuple[str, str, int]]  # reason, sentence, images; the most frequent first
    views: dict[str, int]
    splits: dict[str, int]  # empty: patients are divided when the archive is read
    sexes: dict[str, int]
    ages: tuple[float, float, float] | None  # least, median, greatest; None where none is said
    without_age: int
    dates: int  # images with a date
    devices: int  # different ones that are named
    sites: int
    labels: dict[str, dict[str, int]]  # label -> present, absent, uncertain; the most frequent first
    annotated: dict[str, int]  # boxes, masks, shapes -> images that have any
    reports: Reports | None  # None: the dataset has none


def count_scan(scan: Scan, reports: Reports | None) -> Counts:
    """The counts of a listed archive."""
    studies = scan.studies
    known = pc.drop_null(studies["age"]).to_numpy()
    ages = (float(known.min()), float(np.median(known)), float(known.max())) if len(known) else None
    return Counts(
        images=scan.source_rows,
        usable=len(studies),
        studies=pc.count_distinct(studies["study_id"]).as_py(),
        patients=pc.count_distinct(studies["subject_id"]).as_py(),
        rejects=_count_rejects(scan.rejects),
        views=_count_values(studies["view"]),
        splits=_count_values(studies["split"]),
        sexes=_count_values(studies["sex"]),
        ages=ages,
        without_age=studies["age"].null_count,
        dates=len(studies) - studies["date"].null_count,
        devices=pc.count_distinct(studies["device"]).as_py(),
        sites=pc.count_distinct(studies["site"]).as_py(),
        labels=count_labels(studies["labels"]),
        annotated={name: found for name in ("boxes", "masks", "shapes") if (found := _count_lists(studies[name]))},
        reports=reports,
    )


def count_labels(labels: pa.ChunkedArray) -> dict[str, dict[str, int]]:
    """How many images say of each label that it is present, absent or uncertain."""
    maps = labels.combine_chunks()
    pairs = Counter(zip(maps.keys.to_pylist(), maps.items.to_pylist(), strict=True)) if len(maps) else Counter()
    counts: dict[str, dict[str, int]] = {}
    for (label, value), images in pairs.items():
        said = counts.setdefault(label, dict.fromkeys(VALUES.values(), 0))
        said[VALUES.get(value, NOT_SAID)] = said.get(VALUES.get(value, NOT_SAID), 0) + images
    return dict(sorted(counts.items(), key=lambda one: (-one[1]["present"], one[0])))


def read_some_reports(cohort: Cohort, scan: Scan) -> Reports | None:
    """The languages of a sample of the reports. Only the names of languages and of reasons are kept."""
    from report_parsing.language.detection import language_name, language_of

    if not cohort.has_reports:
        return None
    _, first = np.unique(np.asarray(scan.studies["study_id"].to_pylist(), dtype=object), return_index=True)
    rows = np.sort(first)[:: max(1, len(first) // MOST_REPORTS)][:MOST_REPORTS]
    languages: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    for study in scan.studies.take(pa.array(rows)).to_pylist():
        try:
            languages[language_name(language_of(cohort.read_report(study)))] += 1
        except ReportError as error:
            unread[error.reason] += 1
    return Reports(len(rows), dict(languages.most_common()), dict(unread.most_common()))


def _count_rejects(rejects: pa.Table) -> list[tuple[str, str, int]]:
    found: Counter[tuple[Any, Any]] = Counter(
        zip(rejects["reason"].to_pylist(), rejects["detail"].to_pylist(), strict=True)
    )
    return [(reason, detail, images) for (reason, detail), images in found.most_common()]


def _count_values(column: pa.ChunkedArray) -> dict[str, int]:
    found = Counter(column.to_pylist())
    return {str(value) if value else NOT_SAID: count for value, count in found.most_common()}


def _count_lists(column: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.greater(pc.fill_null(pc.list_value_length(column), 0), 0)).as_py() or 0)
