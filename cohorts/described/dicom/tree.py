"""The source of an archive that is a tree of DICOM files, at any depth, with or without extensions and DICOMDIR.

A source row is each file that begins as DICOM, each other file that has the name of an image or has no extension and is
no text, and each file that a DICOMDIR names and that is not there. Other files are no rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts.described import ROWS
from cohorts.described.description import BoxSource, Columns, Description, LabelSource, ReportSource
from cohorts.described.dicom.index import index_headers, read_cache
from cohorts.described.dicom.reports import Reports, find_reports, read_file
from cohorts.described.dicom.rows import DETAILS, describe_others, list_objects
from cohorts.described.pseudonyms import pseudonym, read_key
from cohorts.errors import CohortError

if TYPE_CHECKING:
    import pandas as pd

HEADERS = "archive/headers.parquet"  # in the home


class DicomTree:
    """Lists the objects of a tree. Headers are kept in the `home`, so that only new files are opened again."""

    details: Mapping[str, str] = DETAILS

    def __init__(self, description: Description, root: Path, home: Path) -> None:
        _expect_no_columns(description)
        self.root, self._described, self._home = root, description.report, home
        self._keeps_sites = description.keep_sites
        self.has_reports = self._described != ReportSource()
        self._headers: pa.Table | None = None
        self.notes: Sequence[str] = ()

    def list_rows(self) -> pd.DataFrame:
        """A row per object, sorted by path."""
        import pandas as pd

        self._headers, hidden = index_headers(self.root, self._home / HEADERS)
        self.notes = describe_others(self._headers, hidden)
        self.__dict__.pop("_objects", None)
        self.__dict__.pop("_reports", None)
        rows = self._objects.rename(columns={"path": "image_path"}).assign(split="", report_path="")
        rows["age"] = pd.to_numeric(rows["age"], errors="coerce")
        if not self._keeps_sites:
            rows["site"] = self._name_sites(rows["site"])
        if self.has_reports:
            keys = rows[self._reports.attribute]
            rows["report_path"] = keys.map(self._reports.path)
            is_lost = (rows["reason"] == "") & ~keys.map(self._reports.__contains__).astype(bool)
            rows["reason"] = np.where(is_lost, "no_report", rows["reason"])
            self.notes = [*self.notes, self._reports.describe(keys[rows["reason"] == ""])]
        return rows[list(ROWS)]

    def release(self) -> None:
        """Nothing is kept beyond this object."""

    def _name_sites(self, sites: pd.Series) -> pd.Series:
        """Names in the place of institutions, the same for the same institution."""
        key = read_key(self._home)
        names = {site: f"site-{pseudonym(key, 'site', site)[:8]}" for site in sites.unique() if site}
        return sites.map(names).fillna("")

    def extras(self, rows: pd.DataFrame) -> Mapping[str, Any]:
        """Nothing: a header has no labels and no boxes."""
        return {}

    def read_report(self, row: Mapping[str, Any]) -> str:
        """The text of the report of a row with `image_path` and `report_path`; raises ReportError."""
        described, path = self._described, row["report_path"]
        if path and not described.table:
            return read_file(self.root, path, described.sr)
        return self._reports.read(self.root, self._keys.get(row["image_path"], ""))

    @cached_property
    def _objects(self) -> pd.DataFrame:
        if self._headers is None:  # a report is asked for and nothing was listed: what is known of the tree will do
            known = read_cache(self._home / HEADERS)
            self._headers = known if known.num_rows else index_headers(self.root, self._home / HEADERS)[0]
        return list_objects(self._headers)

    @cached_property
    def _reports(self) -> Reports:
        objects = self._objects
        assert self._headers is not None
        return find_reports(self._described, self.root, self._headers, objects)

    @cached_property
    def _keys(self) -> dict[str, str]:
        """The key of the report of each image."""
        return dict(zip(self._objects["path"], self._objects[self._reports.attribute], strict=True))


def _expect_no_columns(description: Description) -> None:
    """CohortError where a description without a manifest speaks of the columns of one."""
    report = description.report
    given = {
        "columns": description.columns != Columns(),
        "labels": description.labels != LabelSource(),
        "boxes": description.boxes != BoxSource(),
        "report": report != ReportSource() and not (report.table or report.folder or report.sr),
    }
    if named := [key for key, is_given in given.items() if is_given]:
        raise CohortError(
            f"The description names columns in `{named[0]}` and no table that has them: say `manifest`, or, for the "
            "reports of a tree of DICOM files, `table`, `folder` or `sr`."
        )
