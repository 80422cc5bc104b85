"""COVID-19 image data collection: public radiographs from papers and case collections, with clinical notes.

Cohen, Morrison, Dao, "COVID-19 image data collection", arXiv 2003.11597. Licence per image, in metadata.csv.
Two forms of the collection are read, told apart by the column `file`:

    upstream   metadata.csv: patientid, finding, view, modality, folder, filename, clinical_notes, sex,
               age, date, location, ...
               images/<filename>                      (ieee8023/covid-chestxray-dataset)
    a part     metadata.csv: file (relative path), group_id (patients that share images), patientid, finding,
               view, clinical_notes, ...

A row of metadata.csv is an image and a study of its own, as its note speaks of that image. The collection has
no split: patients are divided 70/10/20 into train, validate and test by a hash of their id.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts.archive import csv_files
from cohorts.archive.facts import read_facts
from cohorts.archive.marks import Mark
from cohorts.archive.paths import OutsideRootError, inside
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import REPORTS, ZERO_SHOT, Dataset
from cohorts.errors import CohortError
from cohorts.labels import label_maps
from cohorts.rows import first_reasons, look_for_files, number_duplicates
from cohorts.splits import split_by_patient
from cohorts.views import NOT_CHOSEN, are_not_chosen
from report_parsing.errors import ReportError

if TYPE_CHECKING:
    import pandas as pd

    from report_parsing.reports import Style

FACTS = {"sex": "sex", "age": "age", "date": "date", "site": "location"}
# Columns that one form has and the other has not.
OPTIONAL = ("file", "folder", "filename", "group_id", "modality", *FACTS.values())
RADIOGRAPHS = ("", "X-RAY", "XRAY", "X RAY", "CR", "DX")
UNLABELLED = ("", "todo", "Unknown")
NO_FINDING = "No Finding"
MOST_FINDINGS = 500  # different terms; the collection has some thirty
DETAILS = {
    "path_outside_root": "The file name of the metadata row leads out of the archive.",
    "no_subject": "The metadata row has no patientid, so it cannot be put into a split.",
    "duplicate_id": "An earlier row of metadata.csv names the same file.",
    "not_a_radiograph": "The modality is not X-ray.",
    "missing_file": "The metadata row names no file, or there is no such file.",
}
DATASET = Dataset(
    name="covid_chestxray",
    licence="of each image, in its metadata.csv",
    purposes=(ZERO_SHOT, REPORTS),
    image_sources=("covid-chestxray-dataset",),
    patient_sources=("covid-chestxray-dataset",),
)


class CovidChestXray(Reader):
    """Reads covid-chestxray-dataset and parts of it."""

    name = DATASET.name
    report_style: Style = "free"
    splits = ("70/10/20",)
    signature = (
        (
            Mark(
                ("metadata.csv",),
                ("patientid", "finding", "view", "clinical_notes", "filename", "license", "doi", "url"),
            ),
        ),
    )
    how_to_get = "set it to a copy of github.com/ieee8023/covid-chestxray-dataset (metadata.csv and images/)."

    def scan(self) -> Scan:
        """List every row of metadata.csv as a study or a reject, in the file's order."""
        rows = self._rows.assign(cohort=self.name, study_id=self._rows["image_id"])
        rows["split"] = split_by_patient(self.name, self.split, rows["subject_id"])
        rows["reason"] = self._reasons(rows)
        try:
            labels = finding_labels(rows["finding"])
        except ValueError as error:
            raise CohortError(f"metadata.csv in {self.root} {error}; is it the collection's metadata file?") from None
        return split_scan(rows, DETAILS, {"labels": labels})

    def read_report(self, study: Mapping[str, Any]) -> str:
        """The clinical notes of the row."""
        note = self._notes.get(study["image_id"], "")
        if not note.strip():
            raise ReportError("empty_report", "The metadata row has no clinical notes.")
        return note

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The metadata with the columns of STUDIES that can be told from a row, and finding and note."""
        import pandas as pd

        path = csv_files.find([self.root], "metadata.csv")
        if path is None:
            raise self.missing("metadata.csv")
        source = csv_files.read(path, ["patientid", "finding", "view", "clinical_notes"], others=OPTIONAL)
        if not {"file", "filename"} & set(source):
            raise CohortError(f"{path} has no column filename; is it the collection's metadata file?")
        source = source.apply(lambda column: column.str.strip())
        paths = image_paths(source)
        return pd.DataFrame(
            {
                "image_id": image_ids(paths),
                "subject_id": source.get("group_id", source["patientid"]).where(
                    lambda group: group != "", source["patientid"]
                ),
                "image_path": paths,
                "view": source["view"],
                "modality": source.get("modality", pd.Series("", source.index)),
                "finding": source["finding"],
                "note": source["clinical_notes"],
                **read_facts(source, FACTS),
            }
        )

    @cached_property
    def _notes(self) -> dict[str, str]:
        return dict(zip(self._rows["image_id"], self._rows["note"], strict=True))

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        reasons = first_reasons(
            {
                "path_outside_root": rows["image_path"].map(self._leads_outside),
                "no_subject": rows["subject_id"] == "",
                "duplicate_id": rows["image_path"].duplicated() & (rows["image_path"] != ""),
                "not_a_radiograph": ~rows["modality"].str.upper().isin(RADIOGRAPHS),
                NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
                "missing_file": rows["image_path"] == "",
            },
            len(rows),
        )
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons

    def _leads_outside(self, relative: str) -> bool:
        try:
            return bool(relative) and not inside(self.root, relative)
        except OutsideRootError:
            return True


def image_paths(source: pd.DataFrame) -> pd.Series:
    """Relative path of each row: `file`, or `folder`/`filename`; empty where the row names no file."""
    import pandas as pd

    if "file" in source:
        return source["file"]
    folder = source.get("folder", pd.Series("images", source.index)).replace("", "images")
    return (folder + "/" + source["filename"]).where(source["filename"] != "", "")


def image_ids(paths: pd.Series) -> pd.Series:
    """File stems; whole names where two files share a stem, and `#2` and so on where rows share a name."""
    stems = paths.map(lambda path: PurePosixPath(path).stem)
    ids = stems.where(~stems.duplicated(keep=False), paths.map(lambda path: PurePosixPath(path).name))
    return number_duplicates(ids)


def finding_labels(findings: pd.Series) -> pa.MapArray:
    """Labels of `finding`, where terms stand in a path or list (Pneumonia/Viral/COVID-19; COVID-19, ARDS).

    ValueError where there are more terms than findings have names.

    A term named is 1. The absence of a term says nothing, except that No Finding makes all others 0 and any
    finding makes No Finding 0.
    """
    terms = findings.str.split(r"[/,]").map(
        lambda parts: {part.strip() for part in parts if part.strip() not in UNLABELLED}
    )
    names = sorted(set().union(*terms, {NO_FINDING}))
    if len(names) > MOST_FINDINGS:
        raise ValueError(f"has {len(names)} different findings")
    values = np.full((len(findings), len(names)), np.nan, np.float32)
    for row, present in enumerate(terms):
        if NO_FINDING in present:
            values[row] = 0
        elif present:
            values[row, names.index(NO_FINDING)] = 0
        values[row, [names.index(term) for term in present]] = 1
    return label_maps(names, values)
