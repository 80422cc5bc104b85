"""An export of a hospital's own, described by a few lines of YAML (docs/guides/your_archive.md).

`archive.yaml` names a table of the images (`cohorts.described.manifest`), or none where the export is a tree of DICOM
files. Identifiers of patients, studies and images become keyed digests, and dates are moved by a number of days that
follows from the patient, so that neither leaves the archive (`cohorts.described.pseudonyms`). Paths stay as they are.

Patients are divided as a column of the table says, or by a hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cohorts import dataset
from cohorts.archive.marks import Mark
from cohorts.archive.paths import stays_inside
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset
from cohorts.described.description import KEEP
from cohorts.described.description_file import FILE, description_path, files_root, keep_description, read_description
from cohorts.described.pseudonyms import days_of, pseudonym, read_key
from cohorts.described.sources import open_source
from cohorts.labels import CHEXPERT_14
from cohorts.rows import first_reasons, look_for_files, number_duplicates
from cohorts.splits import OFFICIAL, in_later_split, split_by_patient
from cohorts.views import NOT_CHOSEN, USUAL, are_not_chosen

if TYPE_CHECKING:
    import pandas as pd

LEAST_IDENTIFIER = 4  # characters; a shorter one is in many paths by chance
DETAILS = {
    "duplicate_image": "An earlier row names the same image.",
    "path_outside_root": "The path is absolute, climbs or is a link out of the root of the archive.",
    "missing_file": "There is no such file below the root of the archive.",
    "missing_report": "There is no such report file below the root of the archive.",
    "in_later_split": "The patient is also in a later split, which keeps the images.",
}
DATASET = Dataset(
    name="archive",
    purposes=(
        *(dataset.ZERO_SHOT, dataset.CLASSES, dataset.REGIONS, dataset.BOXES, dataset.PHRASES, dataset.CATEGORIES),
        dataset.REPORTS,
    ),  # what of these an archive has no annotations for is a task that says so
    regions=CHEXPERT_14,  # labels of boxes that are detected; grounding takes all that occur
)


class Archive(Reader):
    """Reads an archive through its description."""

    name = DATASET.name
    splits = ("70/10/20",)
    signature = ((Mark((FILE,)),),)
    how_to_get = (
        f"set it to the description of an export, {FILE}, or to the folder that holds it; `radalign inspect FOLDER` "
        "looks at an export and writes one."
    )

    def __init__(
        self, root: Path, split: str | None = None, views: Sequence[str] = USUAL, home: Path | None = None
    ) -> None:
        self._named = 0  # paths with an identifier in them, counted where the rows are listed
        path = description_path(root)
        self.description = read_description(path) if path is not None and path.exists() else None
        if self.description is not None:
            self.splits = (OFFICIAL if self.description.columns.split else self.description.split,)
        super().__init__(root, split, views, home)
        self.has_reports = self.description is None or self._source.has_reports

    @classmethod
    def files_root(cls, root: Path) -> Path:
        """The folder that the description names, or the one that holds it."""
        return files_root(root)

    @classmethod
    def keep_description(cls, text: str, folder: Path) -> Path:
        """Keep a description as a file that is named by its content."""
        return keep_description(text, folder)

    @classmethod
    def watched_files(cls, root: Path) -> Sequence[Path]:
        """The description and the tables that it names."""
        path = description_path(root)
        if path is None:
            return ()
        described = read_description(path)
        tables = (described.manifest, described.report.table, described.boxes.table)
        return [path, *(files_root(root) / name for name in tables if name and stays_inside(name))]

    def scan(self) -> Scan:
        """List every image that the manifest or the folders name as a study or a reject, in their order."""
        rows = self._rows.copy(deep=False)  # pandas copies what is written to
        drawn = split_by_patient(self.name, self.split, rows["subject_id"]) if self.split != OFFICIAL else rows["split"]
        rows["split"] = rows["split"].where(rows["split"].isin(("train", "validate", "test")), drawn)
        rows["reason"] = self._reasons(rows)
        rows["image_id"] = number_duplicates(rows["image_id"])
        scan = split_scan(rows, {**DETAILS, **self._source.details}, self._source.extras(rows))
        del self._rows  # which takes far more memory than the scan
        return replace(scan, notes=(*self._source.notes, *describe_paths(self._named)))

    def read_report(self, study: Mapping[str, Any]) -> str:
        """The report of a study; a text without headings is all findings."""
        return with_headings(self._source.read_report(study))

    def release(self) -> None:
        """Forget the tables that the description names."""
        if source := self.__dict__.pop("_source", None):
            source.release()

    @cached_property
    def _source(self) -> Any:
        if self.description is None:
            raise self.missing(FILE)
        return open_source(self.description, self.root, self.home)

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The rows of the source with the columns of STUDIES: hashed identifiers and moved dates."""
        rows, key = self._source.list_rows(), read_key(self.home)
        self._named = count_named(rows)
        patients = rows["patient"].map({name: pseudonym(key, "patient", name) for name in rows["patient"].unique()})
        studies = [pseudonym(key, "study", *names) for names in zip(rows["patient"], rows["study"], strict=True)]
        images = rows["image_path"].map(lambda path: pseudonym(key, "image", path))
        assert self.description is not None  # or there would be no source
        if self.description.dates != KEEP:
            rows["date"] = move_dates(rows["date"], rows["patient"], key)
        empty = [name for name in ("date", "sex", "device", "site", "laterality", "report_path")]
        rows[empty] = rows[empty].replace({"": None})
        return rows.drop(columns=["patient", "study"]).assign(
            cohort=self.name, subject_id=patients, study_id=studies, image_id=images
        )

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        reasons = first_reasons({reason: rows["reason"] == reason for reason in self._source.details}, len(rows))
        usable = reasons == ""
        later = np.zeros(len(rows), bool)
        later[usable] = in_later_split(rows.loc[usable, "subject_id"], rows.loc[usable, "split"])
        found = first_reasons(
            {
                "duplicate_image": usable & rows["image_path"].duplicated().to_numpy(),
                "in_later_split": later,
                NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
            },
            len(rows),
        )
        reasons = np.where(reasons == "", found, reasons)
        look_for_files(self.root, rows["image_path"], reasons)
        if self.has_reports:
            # Of several files of one report no path is told, and they were there when the source was listed.
            look_for_files(self.root, rows["report_path"].fillna(rows["image_path"]), reasons, "missing_report")
        return reasons


def count_named(rows: pd.DataFrame) -> int:
    """How many paths hold the identifier of their patient or study."""
    named = zip(rows["image_path"], rows["patient"], rows["study"], strict=True)
    return sum(
        any(len(name) >= LEAST_IDENTIFIER and name in path for name in names if name != path) for path, *names in named
    )


def describe_paths(named: int) -> Sequence[str]:
    """What to say of paths that hold identifiers."""
    if not named:
        return ()
    return (
        f"The paths of {named} images hold the identifier of their patient or study. Paths are not hashed: they are in "
        "`studies` and `rejects` of the home, and not in the shards.",
    )


def move_dates(dates: pd.Series, patients: pd.Series, key: bytes) -> pd.Series:
    """Dates (yyyy-mm-dd, or empty) moved back by the number of days of their patient."""
    days = {patient: timedelta(days=days_of(key, patient)) for patient in patients.unique()}
    moved = [
        (date.fromisoformat(day) - days[patient]).isoformat() if day else ""
        for day, patient in zip(dates.fillna(""), patients, strict=True)
    ]
    return dates.__class__(moved, dates.index, dtype=object)


def with_headings(report: str) -> str:
    """A report as it is if it has a heading of findings or of an impression, or else all of it as findings."""
    from report_parsing.sections.parser import split_sections

    return report if {"findings", "impression"} & split_sections(report).keys() else f"FINDINGS: {report}"
