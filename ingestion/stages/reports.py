"""Stage `reports`: the reports of a batch of studies, cut into sections and sentences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.errors import SettingError
from store.settings import setting

if TYPE_CHECKING:
    from cohorts.base import Cohort
    from ingestion.stage import Work
    from report_parsing.reports import ReportOptions
    from store.batches import Computed

CODE = ("ingestion.stages.reports",)  # and the module of the dataset's reader, which reads the text of a report


@dataclass(frozen=True)
class ReportsSettings:
    """Which part of a report is the pretraining text."""

    sections: tuple[str, ...] = setting(
        ("findings", "impression"),
        "Sections that make up the pretraining text, in order: [impression], [findings], [findings, impression] as "
        "ConVIRT, or [impression, findings] as MGCA.",
    )
    required: tuple[str, ...] = setting(
        ("findings",),
        "A report that lacks one of these sections is rejected (no_findings, no_impression). With [], a report "
        "without any of the sections gives its last paragraph, or is rejected (no_text).",
    )
    minimum_tokens: int = setting(3, "A shorter text is rejected (too_short); the papers' 3.")
    minimum_sentence_tokens: int = setting(
        1, "Shorter sentences are left out, of the triplets too; MGCA's 2 drops 'Cardiomegaly.'"
    )
    sectioning: str = setting(
        "mended", "Which headings count: mended, or reference for the published parser of MIMIC-CXR."
    )
    repeated: str = setting("last", "Which occurrence of a section counts: last, as published, or all of them.")

    def __post_init__(self) -> None:
        for name in ("sections", "required"):  # a launchpad and a kept file give lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("minimum_tokens", "minimum_sentence_tokens"):
            if getattr(self, name) < 1:
                raise SettingError(f"reports: `{name}` must be at least 1")
        self.options()

    def options(self) -> ReportOptions:
        """The parser's options; ValueError names a choice that does not exist."""
        from report_parsing.reports import ReportOptions

        return ReportOptions(**asdict(self))


def compute(work: Work) -> Computed:
    """Take the reports of one batch of the inventory apart."""
    studies = pq.read_table(work.inputs["inventory"])
    return section_batch(work.workspace.open_cohort(), studies, ReportsSettings(**work.settings).options())


def section_batch(cohort: Cohort, studies: pa.Table, options: ReportOptions) -> tuple[pa.Table, pa.Table]:
    """Take the reports of a batch apart into (reports, rejects): a report per study, a reject per image of
    a study whose report cannot be used. Where the archive has images without text, every report is empty.

    Rows that have stamps of a listing (cohorts.tables.STAMPS) are compared with it: OutageError where a report is not
    what it was then.
    """
    from cohorts.archive.listed_reports import read_listed_report
    from cohorts.tables import REJECTS, list_rejects
    from report_parsing.errors import ReportError
    from report_parsing.reports import parse_report
    from report_parsing.tables import REPORTS

    if not cohort.has_reports:
        return _empty_reports(studies), REJECTS.empty_table()
    listed = "report_stamp" in studies.column_names
    names = ["cohort", "study_id", "image_id", "image_path", "report_path", *(["report_stamp"] if listed else [])]
    rows = studies.select(names).to_pylist()
    reports: list[dict[str, Any]] = []
    refused: dict[str, ReportError] = {}
    for study in {row["study_id"]: row for row in reversed(rows)}.values():
        try:
            text = read_listed_report(cohort, study, study["report_stamp"]) if listed else cohort.read_report(study)
            parsed = parse_report(text, cohort.report_style, options)
        except ReportError as error:
            refused[study["study_id"]] = error
        else:
            reports.append({"cohort": study["cohort"], "study_id": study["study_id"], **vars(parsed)})
    failures = {i: refused[row["study_id"]] for i, row in enumerate(rows) if row["study_id"] in refused}
    return pa.Table.from_pylist(reports, schema=REPORTS), list_rejects(studies, "report", "report_path", failures)


def _empty_reports(studies: pa.Table) -> pa.Table:
    """An empty report for each study: no section, no sentence, an empty text."""
    from report_parsing.tables import REPORTS

    rows = studies.group_by(["cohort", "study_id"], use_threads=False).aggregate([]).to_pylist()
    empty = {"report": "", "sections": [], "text": "", "sentences": []}
    return pa.Table.from_pylist([{**row, **empty} for row in rows], schema=REPORTS)
