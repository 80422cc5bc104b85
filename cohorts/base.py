"""The interface of a dataset's reader, and the step from scanned rows to the tables `studies` and `rejects`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from cohorts.archive.folders import is_folder
from cohorts.archive.marks import Signature
from cohorts.archive.names import escape_bytes
from cohorts.errors import CohortError
from cohorts.rows import COMMON_DETAILS
from cohorts.splits import OFFICIAL
from cohorts.tables import REJECTS, STUDIES
from cohorts.views import KINDS, USUAL
from report_parsing.errors import ReportError
from store.home import default_home

if TYPE_CHECKING:
    import pandas as pd

    from report_parsing.reports import Style


MISSING = MappingProxyType(
    {"missing_report": "report_path", "missing_mask": "mask_path"}
)  # reason -> what is not there


@dataclass(frozen=True)
class Scan:
    """An archive as found: every one of its `source_rows` images is a row of `studies` or of `rejects`."""

    studies: pa.Table
    rejects: pa.Table
    source_rows: int
    notes: tuple[str, ...] = ()  # sentences for the log about what is no row, without names and identifiers


class Cohort(Protocol):
    """One archive on disk, read through its published layout."""

    name: str
    root: Path
    has_reports: bool  # False: images without reports; report_path is null
    report_style: Style  # how report_parsing takes it apart: with headings, as a note, or as stems of words
    splits: tuple[str, ...]  # families of splits to choose from, the default first
    split: str  # the chosen one
    views: tuple[str, ...]  # the kinds of views that become studies (`cohorts.views.KINDS`)

    def scan(self) -> Scan:
        """List every image of the archive; pixels and reports are not opened."""
        ...

    def read_report(self, study: Mapping[str, Any]) -> str:
        """The report of one row of `studies`; raises report_parsing.errors.ReportError."""
        ...

    def release(self) -> None:
        """Forget what was read of the archive's tables, which may take much memory; it is read again when wanted."""
        ...


class Reader:
    """Base class of readers. A reader adds `scan`, and `read_report` if the dataset has reports."""

    name: str
    how_to_get: str  # what to set the root to and where that comes from, a sentence without its beginning
    has_reports: bool = True
    report_style: Style = "sectioned"
    splits: tuple[str, ...] = (OFFICIAL,)
    signature: Signature = ()  # the files that tell the dataset from others, in each of its editions

    def __init__(
        self, root: Path, split: str | None = None, views: Sequence[str] = USUAL, home: Path | None = None
    ) -> None:
        self.root = require_folder(self.files_root(root), self.variable, self.how_to_get)
        self.home = home or default_home()  # where a reader keeps the key that it hashes identifiers with
        self.split = split or self.splits[0]
        if self.split not in self.splits:
            raise CohortError(f"{self.name} has no split {split!r}; choose {' or '.join(self.splits)}.")
        self.views = tuple(views)
        if not self.views or (unknown := set(self.views) - set(KINDS)):
            named = repr(min(unknown)) if self.views else "no view"
            raise CohortError(f"inventory: `views` names {named}; choose of {', '.join(KINDS)}.")

    @classmethod
    def files_root(cls, root: Path) -> Path:
        """The folder that all paths of the archive count from, for the root that somebody named: itself."""
        return root

    @classmethod
    def keep_description(cls, text: str, folder: Path) -> Path:
        """Keep a description that a run was given as a file of `folder`, which is then the root; CohortError here."""
        raise CohortError(f"{cls.name} has a published layout and takes no `description`; leave that field empty.")

    @classmethod
    def watched_files(cls, root: Path) -> Sequence[Path]:
        """Files whose change is one of the archive, beside those in its upper folders: none."""
        return ()

    @property
    def variable(self) -> str:
        """Environment variable that names the root."""
        return f"RADALIGN_{self.name.upper()}_ROOT"

    def missing(self, what: str) -> CohortError:
        """The error that the archive lacks `what`, with the way to get it."""
        return CohortError(f"There is no {what} in {self.root}: to use {self.variable}, {self.how_to_get}")

    def read_report(self, study: Mapping[str, Any]) -> str:
        """Raise ReportError: the archive has no reports."""
        raise ReportError("no_report", "The archive has images and no reports.")

    def release(self) -> None:
        """Forget what was read of the archive's tables; this reader keeps none."""


def require_folder(root: Path, variable: str, how_to_get: str) -> Path:
    """`root` as an absolute path; CohortError when there is no such folder."""
    if not is_folder(root):
        raise CohortError(f"{variable} points to {root}, which is not a folder: {how_to_get}")
    resolved = root.resolve()
    if escape_bytes(str(resolved)) != str(resolved):
        raise CohortError(f"{variable} points to {resolved}, whose name is no UTF-8; rename it.")
    return resolved


def split_scan(rows: pd.DataFrame, details: Mapping[str, str], extras: Mapping[str, pa.Array]) -> Scan:
    """Divide scanned rows by their `reason`, in their order: rows without one are studies, the others rejects.

    `rows` has the text columns of STUDIES and `reason`; `details` has a sentence per reason; `extras` are
    columns of STUDIES (labels, boxes, masks, shapes) with one value for each of `rows`.
    """
    rows = rows.reset_index(drop=True)
    usable = rows["reason"] == ""
    kept = pa.array(rows.index[usable])
    columns = {
        field.name: (
            extras[field.name].take(kept).cast(field.type)
            if field.name in extras
            else pa.array(rows.loc[usable, field.name], field.type, from_pandas=True)
            if field.name in rows
            else pa.nulls(len(kept), field.type)
        )
        for field in STUDIES
    }
    studies = pa.table(columns, schema=STUDIES)
    refused = rows[~usable]
    rejects = rejects_table(
        refused.assign(
            source_path=_blamed_paths(refused),
            stage="scan",
            detail=refused["reason"].map({**COMMON_DETAILS, **details}),
        )
    )
    return Scan(studies, rejects, len(rows))


def _blamed_paths(refused: pd.DataFrame) -> pd.Series:
    """The file that each reject is about: that of the image, or the one that its reason calls missing."""
    paths = refused["image_path"]
    for reason, column in MISSING.items():
        if column in refused:
            paths = paths.mask(refused["reason"] == reason, refused[column])
    return paths


def rejects_table(rows: pd.DataFrame) -> pa.Table:
    """Rows with the columns of REJECTS (others are ignored) as a table of that schema."""
    return pa.table({name: pa.array(rows[name], pa.string()) for name in REJECTS.names}, schema=REJECTS)


def match(table: pa.Table | None, value: str, rows: pd.DataFrame) -> dict[str, pa.Array]:
    """The column `value` of a table keyed by image_id or study_id, brought into the order of `rows`.

    Gives {value: array} with null where a row has no match, or {} without a table.
    """
    if table is None:
        return {}
    key = "image_id" if "image_id" in table.column_names else "study_id"
    keys = pa.array(rows[key], pa.string())
    positions = pc.index_in(keys, table[key].cast(pa.string()).combine_chunks())
    return {value: table[value].combine_chunks().take(positions)}
