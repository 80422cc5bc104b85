"""Reports held against what a listing said of them, as `cohorts.archive.listed` does it for files.

Of a report that is a row of a table, the text takes the place of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cohorts.archive.listed import expect_listed, explain_loss
from cohorts.archive.paths import DENIED
from report_parsing.errors import ReportError

if TYPE_CHECKING:
    from cohorts.base import Cohort

TEXT, NO_TEXT = "text ", "no text: "  # how the stamp of a row of a table begins


def stamp_row(cohort: Cohort, study: Mapping[str, Any]) -> str:
    """The stamp of a report that is a row of a table: a digest of its text, or why it has none."""
    try:
        return _stamp_text(cohort.read_report(study))
    except ReportError as error:
        return NO_TEXT + error.reason


def read_listed_report(cohort: Cohort, study: Mapping[str, Any], stamp: str) -> str:
    """The text of a report with the stamp that the listing gave it.

    Raises:
        ReportError: it cannot be used, and the report is to blame.
        OutageError: it is not what it was when the archive was listed.
    """
    if not stamp:
        raise ReportError("missing_report", "There was no report file when the archive was listed.")
    if stamp == DENIED:
        raise ReportError("unreadable_report", "The report file may not be opened; correct its permissions.")
    try:
        text = cohort.read_report(study)
    except ReportError as error:
        if isinstance(error.__cause__, OSError):
            raise explain_loss(cohort.root, study["report_path"] or "", stamp) from error
        _expect_same(cohort, study, stamp, NO_TEXT + error.reason)
        raise
    _expect_same(cohort, study, stamp, _stamp_text(text))
    return text


def _expect_same(cohort: Cohort, study: Mapping[str, Any], stamp: str, now: str) -> None:
    if not stamp.startswith((TEXT, NO_TEXT)):
        expect_listed(cohort.root, study["report_path"], stamp)
    elif stamp != now:
        raise explain_loss(cohort.root)


def _stamp_text(text: str) -> str:
    return TEXT + hashlib.sha256(text.encode()).hexdigest()
