"""The reports that a description names for a tree of DICOM files, each with the key of its study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cohorts.archive.paths import clean_path, stays_inside
from cohorts.archive.report_files import read_text
from cohorts.described.description import HEADINGS, ReportSource
from cohorts.described.dicom.index import OTHER
from cohorts.described.dicom.joining import (
    ACCESSION,
    STUDY,
    choose_attribute,
    choose_structured,
    join_files,
    join_texts,
)
from cohorts.described.dicom.structured_reports import read_structured_report
from cohorts.described.tables import read_table, table_path
from cohorts.errors import CohortError
from report_parsing.errors import ReportError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reports:
    """The reports of a tree by the key of their study, which is the column `attribute` of its headers."""

    attribute: str
    texts: Mapping[str, str] = field(default_factory=dict)  # of a table
    files: Mapping[str, list[str]] = field(default_factory=dict)  # of text files or structured reports
    place: str = ""  # the table or folder
    is_structured: bool = False
    unread: int = 0  # files of the folder that belong to no study

    def __contains__(self, key: str) -> bool:
        """Whether a study with the key has a report."""
        return key in self.texts or key in self.files

    def path(self, key: str) -> str:
        """The one file of a report, which a reader opens; the table or folder where there is none; empty for several
        files."""
        files = self.files.get(key, ())
        return files[0] if len(files) == 1 else "" if files else self.place

    def describe(self, keys: pd.Series) -> str:
        """How many reports belong to the studies with `keys`, as a sentence."""
        known = {*self.texts, *self.files}
        joined = len(known & set(keys))
        unread = f", and {self.unread} files have names that tell no study" if self.unread else ""
        return (
            f"Of {len(known)} reports, joined by {self.attribute}, {joined} belong to studies that can be used, and "
            f"{len(known) - joined} to none{unread}."
        )

    def read(self, root: Path, key: str) -> str:
        """The text of a report; several files are joined in the order of their names. Raises ReportError."""
        if key in self.texts:
            return self.texts[key]
        if key not in self.files:
            raise ReportError("no_report", "No report belongs to the study.")
        return "\n\n".join(read_file(root, path, self.is_structured) for path in self.files[key])


def read_file(root: Path, path: str, is_structured: bool) -> str:
    """The text of a text file or of a structured report. Raises ReportError."""
    return read_structured_report(root, path) if is_structured else read_text(root, path).strip()


def find_reports(described: ReportSource, root: Path, headers: pa.Table, rows: pd.DataFrame) -> Reports:
    """The reports that a description names. `headers` has the files of the tree, `rows` its DICOM objects.

    CohortError where the table or the folder is not there.
    """
    attribute = choose_attribute(described.key or (STUDY if described.sr else ACCESSION), described.by)
    if described.sr:
        files = choose_structured(rows[rows["is_report"].eq(True)], attribute)
        return Reports(attribute, files=files, is_structured=True)
    if described.table:
        return _read_reports(described, root, attribute)
    folder = described.folder.strip("/") or "."
    if folder != "." and not stays_inside(folder):
        raise CohortError(f"The folder of reports {described.folder} does not lie below {root}; move it there.")
    others = headers.filter(pc.equal(headers["kind"], OTHER))["path"].to_pylist()
    paths = [path for path in others if folder == "." or path.startswith(f"{folder}/")]
    if not paths:
        raise CohortError(f"There are no reports in the folder {described.folder} of {root}; correct the description.")
    files = join_files(paths, rows, attribute)
    unread = len(paths) - sum(map(len, files.values()))
    return Reports(attribute, files=files, place=described.folder, unread=unread)


def _read_reports(described: ReportSource, root: Path, attribute: str) -> Reports:
    """The reports of a table: a text, sections, or the path of a text file in each row."""
    path = table_path(root, described.table)
    place = path.relative_to(root.resolve()).as_posix()
    columns = [name for name in (described.text, described.file, *described.sections.values()) if name]
    table = read_table(path, [described.key, *columns], exact=[described.file])
    keys = table[described.key].tolist()
    if described.file:
        files: dict[str, list[str]] = {}
        for key, file in zip(keys, table[described.file], strict=True):
            if key and file:
                files.setdefault(key, []).append(clean_path(file))
        return Reports(attribute, files=files, place=place)
    if described.text:
        texts = table[described.text].tolist()
    else:
        headings = {column: HEADINGS[name] for name, column in described.sections.items()}
        values = table[list(headings)].to_numpy().tolist()
        texts = [_compose(dict(zip(headings.values(), row, strict=True))) for row in values]
    return Reports(attribute, texts=join_texts(keys, texts), place=place)


def _compose(sections: Mapping[str, str]) -> str:
    return "\n\n".join(f"{heading}: {text}" for heading, text in sections.items() if text)
