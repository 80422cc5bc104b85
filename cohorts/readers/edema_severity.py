"""EdemaSeverity: grades of pulmonary edema for radiographs of MIMIC-CXR from patients with heart failure.

Liao, Chauhan, Golland, Berkowitz, Horng, "Pulmonary edema severity grades based on MIMIC-CXR", 1.0.1, PhysioNet (data
use agreement). It has grades and no pixels, so the root holds both: MIMIC-CXR-JPG (or MIMIC-CXR) as `mimic_cxr` reads
it, and the grades beside it.

    mimic-cxr-pe-severity/1.0.1/regex_report_edema_severity.csv      6,710 reports: subject_id, study_id, edema_severity
                               /expert_report_edema_severity.csv     485 reports: the same columns
                               /consensus_image_edema_severity.csv   141 images: those and dicom_id
    mimic-cxr-jpg/2.1.0/...

Grades are 0 none, 1 vascular congestion, 2 interstitial edema, 3 alveolar edema, and -1 where a report cannot be
graded. An image has the grade of the consensus, else of the expert, else of the regular expressions; a report's grade
goes to all images of its study. Splits (a patient is in one only):

    consensus_image   what the authors recommend: the 141 images are the test set, other images of their patients are
                      left out, and the rest is divided 90/10 into train and validate
    60/20/20          the shares of MedKLIP, whose own lists were not published
    official          the split of MIMIC-CXR

Of MIMIC-CXR's images 98 % are in its train split, so a model pretrained on it has seen most of these images and their
reports, those of the consensus included; only the test split of `official` is sure to be unseen.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cohorts import dataset
from cohorts.archive import csv_files
from cohorts.archive.marks import Mark
from cohorts.archive.mimic_layout import image_place, in_releases, release_folders
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset
from cohorts.labels import label_maps
from cohorts.readers.mimic_cxr import MimicCxr, plain_ids
from cohorts.rows import first_reasons, look_for_files, number_duplicates
from cohorts.splits import OFFICIAL, SPLITS, in_later_split, split_by_patient
from cohorts.views import NOT_CHOSEN, are_not_chosen

if TYPE_CHECKING:
    import pandas as pd

GRADES = ("none", "vascular congestion", "interstitial edema", "alveolar edema")
NOT_GRADABLE = -1
CONSENSUS = "consensus_image"
KEYS = MappingProxyType({"regex_report": "study_id", "expert_report": "study_id", CONSENSUS: "dicom_id"})  # later wins
REST = "90/10"  # train and validate of the patients without an image in the test set
DETAILS = {
    "not_in_archive": "The study or image is graded, but the metadata file of MIMIC-CXR does not list it.",
    "path_outside_root": "An identifier in the metadata row is empty or could name a path elsewhere.",
    "duplicate_id": "An earlier row of the metadata file has the same dicom_id.",
    "not_gradable": "The grade is -1: the report or image cannot be graded.",
    "bad_grade": "The grade is none of -1, 0, 1, 2 and 3.",
    "no_split": "The split file of MIMIC-CXR has no row with train, validate or test for this dicom_id.",
    "patient_in_later_split": "The patient has images in the test set, and this one was not graded by the consensus.",
    "missing_file": "The metadata names this image, but there is no such file.",
}
DATASET = Dataset(
    name="edema_severity",
    purposes=(dataset.GRADES,),
    zero_shot={},
    classes=GRADES,
    exclusive=True,
    image_sources=("MIMIC-CXR",),
    patient_sources=("MIMIC-CXR",),
)


GRADED = tuple(
    Mark(in_releases(f"{source}_edema_severity.csv"), (key, "edema_severity")) for source, key in KEYS.items()
)


class EdemaSeverity(MimicCxr):
    """Reads the grades, and the images from MIMIC-CXR."""

    name = DATASET.name
    has_reports = False
    splits = (CONSENSUS, "60/20/20", OFFICIAL)
    how_to_get = (
        "set it to a folder that holds mimic-cxr-jpg 2.x and mimic-cxr-pe-severity 1.0.1 side by side, which PhysioNet "
        "gives to credentialed users (physionet.org/content/mimic-cxr-pe-severity)."
    )
    signature = tuple((*edition, *GRADED) for edition in MimicCxr.signature)

    read_report = Reader.read_report  # the reports of MIMIC-CXR are no part of this dataset

    def scan(self) -> Scan:
        """List every image of a graded study, in MIMIC-CXR's order, then what is graded and not in it."""
        rows = self._rows()
        rows["split"] = self._splits(rows)
        listed, plain = rows["listed"], plain_ids(rows)
        rows["image_path"] = image_place(self.root, rows[plain & listed]).paths(rows).where(listed, "")
        rows["reason"] = self._reasons(rows, plain)
        rows["image_id"] = number_duplicates(rows["image_id"])
        rows["cohort"] = self.name
        grades = rows["grade"].to_numpy()[:, None] == np.arange(len(GRADES))
        return split_scan(rows, DETAILS, {"labels": label_maps(GRADES, grades.astype(np.float32))})

    def _rows(self) -> pd.DataFrame:
        import pandas as pd

        images = self._metadata().assign(source="", grade=np.nan, listed=True)
        unlisted = []
        for source, key in KEYS.items():
            grades = self._grades(source, key)
            graded = images[key].isin(grades.index)
            images.loc[graded, "grade"] = images.loc[graded, key].map(grades)
            images.loc[graded, "source"] = source
            unlisted.append(pd.Series(grades.index[~grades.index.isin(images[key])], dtype=object).to_frame(key))
        absent = pd.concat(unlisted, ignore_index=True).drop_duplicates().assign(listed=False)
        absent["dicom_id"] = absent["dicom_id"].fillna("s" + absent["study_id"])
        rows = pd.concat([images[images["source"] != ""], absent], ignore_index=True)
        text = ["dicom_id", "subject_id", "study_id", "view", "source"]
        return rows.assign(**rows[text].fillna("")).rename(columns={"dicom_id": "image_id"})

    def _grades(self, source: str, key: str) -> pd.Series:
        """Grade by study_id or dicom_id, the first of each; NaN where it is no number."""
        import pandas as pd

        name = f"{source}_edema_severity.csv"
        path = csv_files.find(release_folders(self.root), name)
        if path is None:
            raise self.missing(name)
        table = csv_files.read(path, [key, "edema_severity"]).drop_duplicates(key)
        return pd.to_numeric(table.set_index(key)["edema_severity"], errors="coerce")

    def _splits(self, rows: pd.DataFrame) -> pd.Series:
        if self.split == OFFICIAL:
            return super()._splits(rows)
        if self.split == CONSENSUS:
            rest = split_by_patient(self.name, REST, rows["subject_id"])
            return rest.mask(rows["source"] == CONSENSUS, "test")
        return split_by_patient(self.name, self.split, rows["subject_id"])

    def _reasons(self, rows: pd.DataFrame, plain: pd.Series) -> np.ndarray:
        reasons = first_reasons(
            {
                "not_in_archive": ~rows["listed"],
                "path_outside_root": ~plain,
                "duplicate_id": rows["image_id"].duplicated(),
                NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
                "not_gradable": rows["grade"] == NOT_GRADABLE,
                "bad_grade": ~rows["grade"].isin(range(len(GRADES))),
                "no_split": ~rows["split"].isin(SPLITS),
                "patient_in_later_split": in_later_split(rows["subject_id"], rows["split"]),
            },
            len(rows),
        )
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons
