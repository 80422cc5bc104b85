"""MIMIC-CXR: 377,110 chest radiographs of 227,835 studies at Beth Israel Deaconess, with their reports.

Johnson et al., "MIMIC-CXR, a de-identified publicly available database of chest radiographs with free-text
reports", Scientific Data 6 (2019) 317, and MIMIC-CXR-JPG, arXiv 1901.07042. PhysioNet Credentialed Health
Data licence: no sharing, no re-identification. Versions 2.0.0 and 2.1.0, as DICOM or as JPG:

    mimic-cxr-2.0.0-metadata.csv[.gz]   per image: dicom_id, subject_id, study_id, ViewPosition, ...
    mimic-cxr-2.0.0-split.csv[.gz]      per image: dicom_id, study_id, subject_id, split (train|validate|test)
    mimic-cxr-2.0.0-chexpert.csv[.gz]   per study: subject_id, study_id, 14 labels (1, 0, -1, empty); optional
    mimic-cxr-2.1.0-test-set-labeled.csv  from 2.1.0 on, per study: study_id, 14 labels of radiologists; optional
    files/p10/p10000032/s50414267/<dicom_id>.jpg or .dcm
    files/p10/p10000032/s50414267.txt   the report, from mimic-cxr-reports.zip

The radiologists' labels of test studies take the place of the labels mined from their reports. Their column `Airspace
Opacity` is `Lung Opacity`, as the labels of an archive need one name each.

The metadata file has the source rows. Images of the chosen kinds of views become studies; frontal ones (AP, PA), as in
the papers, unless `inventory: views` says otherwise. StudyDate is shifted by patient. Sex and age are in MIMIC-IV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts.archive import csv_files
from cohorts.archive.facts import read_facts
from cohorts.archive.marks import Mark, Signature
from cohorts.archive.mimic_layout import image_place, in_releases, release_folders, report_place
from cohorts.archive.report_files import read_text
from cohorts.base import Reader, Scan, match, split_scan
from cohorts.dataset import CATEGORIES, REPORTS, ZERO_SHOT, Dataset, in_own_words
from cohorts.errors import CohortError
from cohorts.labels import CHEXPERT_14, are_spoilt, label_maps
from cohorts.rows import PLAIN_NAMES, first_reasons, look_for_files, number_duplicates
from cohorts.splits import SPLITS
from cohorts.views import NOT_CHOSEN, are_not_chosen

if TYPE_CHECKING:
    import pandas as pd

IDS = r"[0-9]+"  # subject_id and study_id, which become parts of paths
DETAILS = {
    "path_outside_root": "An identifier in the metadata row is empty or could name a path elsewhere.",
    "duplicate_id": "An earlier row of the metadata file has the same dicom_id.",
    "no_split": "The split file has no row with train, validate or test for this dicom_id.",
    "missing_file": "The metadata names this image, but there is no such file.",
    "missing_report": "There is no report file; mimic-cxr-reports.zip of MIMIC-CXR holds them.",
}
DATASET = Dataset(
    name="mimic_cxr",
    licence="PhysioNet Credentialed Health Data",
    purposes=(ZERO_SHOT, CATEGORIES, REPORTS),
    zero_shot=in_own_words(*CHEXPERT_14),
    blank=0.0,  # a label that the labeler leaves blank counts as absent
    image_sources=("MIMIC-CXR",),
    patient_sources=("MIMIC-CXR",),
)


TABLES = (
    Mark(in_releases("mimic-cxr-*-metadata.csv"), ("dicom_id", "subject_id", "study_id", "ViewPosition")),
    Mark(in_releases("mimic-cxr-*-split.csv"), ("dicom_id", "split")),
)
IMAGES = Mark(in_releases("files/p1?/p1???????/s5???????/*"))


class MimicCxr(Reader):
    """Reads MIMIC-CXR and MIMIC-CXR-JPG.

    Archives in the same layout subclass it and override `name`, `how_to_get` and the hooks `labels`, `boxes`
    and `masks`.
    """

    name = DATASET.name
    how_to_get = (
        "set it to the folder of mimic-cxr or mimic-cxr-jpg 2.x, which PhysioNet gives to credentialed users "
        "(physionet.org/content/mimic-cxr-jpg)."
    )
    signature: Signature = (TABLES, (*TABLES, IMAGES))

    def scan(self) -> Scan:
        """List every row of the metadata file as a study or a reject, in the file's order."""
        rows = self._metadata().rename(columns={"dicom_id": "image_id"})
        rows = rows.assign(cohort=self.name, split=self._splits(rows))
        plain = plain_ids(rows)
        images, reports = image_place(self.root, rows[plain]), report_place(self.root, rows[plain])
        rows = rows.assign(image_path=images.paths(rows), report_path=reports.paths(rows))
        rows["reason"] = self._reasons(rows, plain)
        rows["image_id"] = number_duplicates(rows["image_id"])
        extras = {
            column: values
            for column, table in (("labels", self.labels()), ("boxes", self.boxes()), ("masks", self.masks()))
            for column, values in match(table, column, rows).items()
        }
        return split_scan(rows, DETAILS, extras)

    def read_report(self, study: Mapping[str, Any]) -> str:
        """The text file of the study."""
        return read_text(self.root, study["report_path"])

    def labels(self) -> pa.Table | None:
        """Table (study_id or image_id, labels map) or None; here the radiologists' labels, else CheXpert's."""
        import pandas as pd

        read = (self._label_table("test-set-labeled"), self._label_table("chexpert"))
        tables = [table for table in read if table is not None]
        if not tables:
            return None
        table = pd.concat(tables, ignore_index=True).drop_duplicates("study_id")
        names = [column for column in table.columns if column not in ("subject_id", "study_id")]
        for name in set(names) & {*CHEXPERT_14}:
            if are_spoilt(table, [name], csv_files.numbers(table, [name])).any():
                raise CohortError(
                    f"A table of labels in {self.root} has values of {name} other than 1, 0, -1 and nothing; fetch it "
                    "again."
                )
        maps = label_maps(names, csv_files.numbers(table, names))
        return pa.table({"study_id": pa.array(table["study_id"], pa.string()), "labels": maps})

    def _label_table(self, kind: str) -> pd.DataFrame | None:
        path = csv_files.find(release_folders(self.root), f"mimic-cxr-*-{kind}.csv")
        return (
            None
            if path is None
            else csv_files.read(path, ["study_id"], others=None).rename(columns={"Airspace Opacity": "Lung Opacity"})
        )

    def boxes(self) -> pa.Table | None:
        """Table (study_id or image_id, boxes list of cohorts.tables.BOX) or None."""
        return None

    def masks(self) -> pa.Table | None:
        """Table (study_id or image_id, masks list of cohorts.tables.MASK) or None."""
        return None

    def _metadata(self) -> pd.DataFrame:
        """The identifiers of each image, its view, and the date of its study, which the archive shifts."""
        rows = self._read("metadata", ["dicom_id", "subject_id", "study_id", "ViewPosition"], others=["StudyDate"])
        view = rows["ViewPosition"].str.strip().str.upper()
        return rows.assign(view=view, **read_facts(rows, {"date": "StudyDate"}))

    def _read(self, kind: str, columns: list[str], others: Sequence[str] = ()) -> pd.DataFrame:
        path = csv_files.find(release_folders(self.root), f"mimic-cxr-*-{kind}.csv")
        if path is None:
            raise CohortError(
                f"There is no mimic-cxr-2.0.0-{kind}.csv.gz in {self.root} or its release folders; it comes "
                f"with MIMIC-CXR-JPG: to use {self.variable}, {self.how_to_get}"
            )
        return csv_files.read(path, columns, others)

    def _splits(self, rows: pd.DataFrame) -> pd.Series:
        split = self._read("split", ["dicom_id", "split"]).drop_duplicates("dicom_id")
        return rows["image_id"].map(split.set_index("dicom_id")["split"]).fillna("")

    def _reasons(self, rows: pd.DataFrame, plain: pd.Series) -> np.ndarray:
        """First reason against each row, empty for a study. Files are looked for where nothing else fails."""
        conditions: dict[str, pd.Series | np.ndarray] = {
            "path_outside_root": ~plain,
            "duplicate_id": rows["image_id"].duplicated(),
            NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
            "no_split": ~rows["split"].isin(SPLITS),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        look_for_files(self.root, rows["report_path"], reasons, "missing_report")
        return reasons


def plain_ids(rows: pd.DataFrame) -> pd.Series:
    """Which rows have identifiers that can be parts of a path and cannot leave it."""
    plain = rows["image_id"].str.fullmatch(PLAIN_NAMES)
    for column in ("subject_id", "study_id"):
        plain &= rows[column].str.fullmatch(IDS)
    return plain
