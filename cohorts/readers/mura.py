"""MURA 1.1: 40,561 radiographs of the upper extremity, each study normal or abnormal. Not chest: out of domain.

Rajpurkar et al., "MURA: large dataset for abnormality detection in musculoskeletal radiographs", arXiv 1712.06957.
Stanford Research Use Agreement. The tables have no header, and their paths begin with the name of the folder:

    train_image_paths.csv      MURA-v1.1/train/XR_SHOULDER/patient00001/study1_positive/image1.png
    train_labeled_studies.csv  MURA-v1.1/train/XR_SHOULDER/patient00001/study1_positive/,1     (1 abnormal, 0 normal)
    valid_image_paths.csv, valid_labeled_studies.csv

The label of a study stands in its folder's name and in labeled_studies.csv; where they disagree, its images are
rejects. A patient number means the same patient in every region (11,184 numbers in train, 13,457 studies of seven
regions), so patients and not regions are the unit of splitting, and `study1` alone names no study. The regions are
labels too. The real test set is hidden: by default `valid` is the test set and a tenth of the train patients the
validation set; the family `official` keeps train and valid as train and validate.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cohorts.archive import csv_files
from cohorts.archive.folders import is_file
from cohorts.archive.marks import Mark
from cohorts.archive.paths import stays_inside
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import CLASSES, Dataset
from cohorts.labels import label_maps
from cohorts.rows import first_reasons, look_for_files, number_duplicates
from cohorts.splits import OFFICIAL, carve_validation, in_later_split

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "valid")
VALID_AS_TEST = "valid_as_test"
VALIDATION_SHARE = 0.1
ABNORMAL = "abnormal"
REGIONS = ("ELBOW", "FINGER", "FOREARM", "HAND", "HUMERUS", "SHOULDER", "WRIST")
PATHS = (
    rf"^(?P<study_path>(?:[^/]+/)?(?:train|valid)/XR_(?P<region>{'|'.join(REGIONS)})/(?P<subject_id>patient\d+)/"
    r"(?P<study>study\d+)_(?P<folder_label>positive|negative))/(?P<image>image\d+)\.png$"
)
DETAILS = {
    "path_outside_root": "The path of the row leads out of the archive.",
    "malformed_path": "The path has not the form part/XR_REGION/patient/study_label/image.png.",
    "no_label": "The table of labeled studies has no row with 0 or 1 for this study.",
    "label_conflict": "The name of the study's folder says another label than the table of labeled studies.",
    "patient_in_later_split": "The patient is in the other part too, which is kept.",
    "duplicate_id": "An earlier row names the same image.",
    "missing_file": "The table names this image, but there is no such file.",
}
DATASET = Dataset(
    name="mura",
    purposes=(CLASSES,),
    zero_shot={},
    classes=(ABNORMAL,),
)


class Mura(Reader):
    """Reads MURA 1.1."""

    name = DATASET.name
    has_reports = False
    splits = (VALID_AS_TEST, OFFICIAL)
    signature = (
        tuple(
            Mark(
                (f"{part}_image_paths.csv", f"MURA-v1.1/{part}_image_paths.csv"),
                line=rf"{part}/XR_[A-Z]+/patient\d+/study\d+_(positive|negative)/image\d+\.png",
            )
            for part in PARTS
        ),
    )
    how_to_get = "set it to the unpacked MURA-v1.1, from stanfordmlgroup.github.io/competitions/mura."

    def scan(self) -> Scan:
        """List every row of both tables of images as a study or a reject, in their order."""
        import pandas as pd

        folder = next((self.root / name for name in ("", "MURA-v1.1") if self._has_tables(self.root / name)), self.root)
        rows = pd.concat([self._part(folder, part) for part in PARTS], ignore_index=True)
        rows["split"] = self._splits(rows)
        rows["reason"] = self._reasons(rows)
        study = rows["region"] + "-" + rows["subject_id"] + "-" + rows["study"]
        well_formed = rows["study"] != ""
        rows["image_id"] = number_duplicates((study + "-" + rows["image"]).where(well_formed, rows["image_path"]))
        rows = rows.assign(cohort=self.name, study_id=study.where(well_formed, rows["image_id"]), view="")
        return split_scan(rows, DETAILS, {"labels": labels(rows)})

    def _has_tables(self, folder: Path) -> bool:
        return is_file(folder / f"{PARTS[0]}_image_paths.csv")

    def _part(self, folder: Path, part: str) -> pd.DataFrame:
        """The images of a part, with what their paths say and the label of their study."""
        images = self._table(folder, f"{part}_image_paths.csv", ["path"])["path"]
        studies = self._table(folder, f"{part}_labeled_studies.csv", ["path", "label"])
        said = images.str.extract(PATHS).fillna("")
        prefix = "" if folder == self.root else f"{folder.relative_to(self.root).as_posix()}/"
        below = images.str.replace(r"^[^/]+/(?=(?:train|valid)/)", "", regex=True)
        label = studies["label"].groupby(studies["path"].str.rstrip("/")).first()
        return said.assign(part=part, image_path=prefix + below, label=said["study_path"].map(label).fillna(""))

    def _table(self, folder: Path, name: str, columns: list[str]) -> pd.DataFrame:
        path = csv_files.find([folder], name)
        if path is None:
            raise self.missing(name)
        return csv_files.read_headerless(path, columns)

    def _splits(self, rows: pd.DataFrame) -> pd.Series:
        if self.split == OFFICIAL:
            return rows["part"].map({"train": "train", "valid": "validate"})
        split = rows["part"].map({"train": "train", "valid": "test"})
        return carve_validation(self.name, rows["subject_id"], split, VALIDATION_SHARE)

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        abnormal = rows["label"] == "1"
        reasons = first_reasons(
            {
                "path_outside_root": ~rows["image_path"].map(stays_inside),
                "malformed_path": rows["study"] == "",
                "no_label": ~rows["label"].isin(("0", "1")),
                "label_conflict": (rows["folder_label"] == "positive") != abnormal,
                "patient_in_later_split": in_later_split(rows["subject_id"], rows["split"]),
                "duplicate_id": rows["image_path"].duplicated(),
            },
            len(rows),
        )
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons


def labels(rows: pd.DataFrame) -> pa.MapArray:
    """abnormal and each region, 1 or 0."""
    columns = [rows["label"] == "1", *(rows["region"] == region for region in REGIONS)]
    return label_maps((ABNORMAL, *REGIONS), np.column_stack(columns).astype(np.float32))
