"""COVIDx CXR: COVID-19, other pneumonia and normal images that COVID-Net collected from nine public sources.

Wang, Lin, Wong, "COVID-Net", Scientific Reports 10 (2020) 19549; versions 8 and 9 (CXR-2), CXR-3 and CXR-4. Licences
differ by source. One folder of images per split, and label files without a header:

    train/ val/ test/                          images, .png, .jpg, .jpeg and .JPG side by side; val/ since CXR-4
    train.txt val.txt test.txt                 of the release itself: positive or negative
    train_COVIDx9A.txt, test_COVIDx9A.txt      A files of github.com/lindawangg/COVID-Net, in the root or in labels/:
                                               normal, pneumonia or COVID-19; B files: positive or negative
    <patient> <file name> <class> <source>     a line of them; in the images of SIRM the patient holds a blank ("COVID 7
                                               COVID(7).png COVID-19 sirm"), in some versions the file name does too

A line is read from its right end, and where no image has the last word before the class as its name, a longer name that
one has is taken. The family of splits chooses the label files, and with them two classes or three. Where there is no
validation file, a tenth of the train patients is the validation set. The family 70/20/10 is MedKLIP's, whose 29,986
images are of the training list of COVIDx9B, none of the test list: that list is divided by patient, where MedKLIP's
files divide it by image, so that 541 patients are in train and test. The sources are confounded with the classes
(negatives come from RSNA, hence from ChestX-ray14), so an accuracy here partly measures the source.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cohorts import dataset
from cohorts.archive import csv_files
from cohorts.archive.marks import Mark
from cohorts.archive.paths import stays_inside
from cohorts.archive.text_files import read_lines
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset, in_own_words
from cohorts.labels import label_maps
from cohorts.rows import files_below, first_reasons, look_for_files, number_duplicates
from cohorts.splits import carve_validation, in_later_split, split_by_patient

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NAME = 255  # characters of a file
FOLDERS = MappingProxyType(
    {"test": "test", "val": "validate", "train": "train"}
)  # an image listed twice is a test image
VALIDATION_SHARE = 0.1
MEDKLIP = "70/20/10"  # of the patients of the training list below
MEDKLIP_LIST = "COVIDx9B"
CLASSES = ("COVID-19", "pneumonia", "normal")
VALUES = MappingProxyType(
    {
        "positive": (1.0, np.nan, np.nan),
        "negative": (0.0, np.nan, np.nan),
        "covid-19": (1.0, 0.0, 0.0),
        "pneumonia": (0.0, 1.0, 0.0),
        "normal": (0.0, 0.0, 1.0),
    }
)
DETAILS = {
    "malformed_row": "The line has not the four parts patient, file name, class and source.",
    "path_outside_root": "The file name of the line leads out of its folder.",
    "unknown_class": "The class is none of positive, negative, normal, pneumonia and COVID-19.",
    "patient_in_later_split": "The patient has images in the validation or test set too, and those are kept.",
    "duplicate_id": "An earlier line names the same image.",
    "missing_file": "The line names this image, but the folder of its split has no such file.",
}
DATASET = Dataset(
    name="covidx",
    purposes=(dataset.ZERO_SHOT, dataset.CLASSES),
    zero_shot=in_own_words(*CLASSES),
    classes=CLASSES,
    exclusive=True,
    image_sources=("ChestX-ray14", "covid-chestxray-dataset"),
    patient_sources=("RSNA Pneumonia", "covid-chestxray-dataset"),
)


class Covidx(Reader):
    """Reads COVIDx CXR with the label files that the family of splits names."""

    name = DATASET.name
    has_reports = False
    splits = ("release", "COVIDx8A", "COVIDx8B", "COVIDx9A", "COVIDx9B", "COVIDx_CXR-3A", "COVIDx_CXR-3B", MEDKLIP)
    signature = (
        tuple(
            Mark(
                (f"{part}.txt", f"{part}_COVIDx*.txt", f"labels/{part}_COVIDx*.txt"),
                line=r"(?i)^\S.* \S+\.(png|jpe?g) (positive|negative|normal|pneumonia|COVID-19) [a-z0-9-]+\s*$",
            )
            for part in ("train", "test")
        ),
    )
    how_to_get = (
        "set it to the unpacked download of kaggle.com/datasets/andyczhao/covidx-cxr2 (train/, test/, train.txt), with "
        "other label files from the folder labels/ of github.com/lindawangg/COVID-Net beside them."
    )

    def scan(self) -> Scan:
        """List every line of the label files as a study or a reject: test first, then validation and train."""
        import pandas as pd

        listed = [self._lines(folder) for folder in (("train",) if self.split == MEDKLIP else FOLDERS)]
        rows = pd.concat([lines for lines in listed if lines is not None], ignore_index=True)
        if self.split == MEDKLIP:
            rows["split"] = split_by_patient(self.name, MEDKLIP, rows["subject_id"])
        elif not (rows["split"] == "validate").any():
            rows["split"] = carve_validation(self.name, rows["subject_id"], rows["split"], VALIDATION_SHARE)
        rows["reason"] = self._reasons(rows)
        rows["image_id"] = number_duplicates(rows["file_name"])
        rows = rows.assign(cohort=self.name, study_id=rows["image_id"], view="")
        return split_scan(rows, DETAILS, {"labels": class_labels(rows["class"])})

    def _lines(self, folder: str) -> pd.DataFrame | None:
        """The lines of one label file; only val may be absent."""
        import pandas as pd

        labels = MEDKLIP_LIST if self.split == MEDKLIP else self.split
        name = f"{folder}.txt" if labels == self.splits[0] else f"{folder}_{labels}.txt"
        path = csv_files.find([self.root, self.root / "labels"], name)
        if path is None:
            if folder == "val":
                return None
            raise self.missing(name)
        named, alike = name_files(files_below(self.root, [folder], [""]))
        lines = [parse_line(line, alike) for line in read_lines(path) if line.strip()]
        rows = pd.DataFrame(lines, columns=["subject_id", "file_name", "class", "site"], dtype=object)
        found = rows["file_name"].map(lambda name: named.get(name, alike.get(name.casefold())) or None)
        return rows.assign(
            split=FOLDERS[folder], image_path=found.fillna(folder + "/" + rows["file_name"]), found=found.notna()
        )

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        reasons = first_reasons(
            {
                "malformed_row": rows["file_name"] == "",
                "path_outside_root": ~rows["image_path"].map(stays_inside) | rows["file_name"].str.contains("/"),
                "unknown_class": ~rows["class"].isin(list(VALUES)),
                "patient_in_later_split": in_later_split(rows["subject_id"], rows["split"]),
                "duplicate_id": rows["file_name"].duplicated() | rows["image_path"].duplicated(),
                "missing_file": ~rows["found"],
            },
            len(rows),
        )
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons


def name_files(paths: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Paths by the names of their files, and by the names in lower case: "" where several names differ in case alone.

    Of files of one name in several folders, the first counts.
    """
    named = {posixpath.basename(path): path for path in reversed(paths)}
    alike: dict[str, str] = {}
    for name, path in named.items():
        alike[name.casefold()] = "" if name.casefold() in alike else path
    return named, alike


def parse_line(line: str, images: Container[str]) -> tuple[str, str, str, str]:
    """Patient, file name, class (lower case) and source of a line, all empty where it has too few parts.

    Of the names that end before the class the shortest that is in `images` (case-folded) is taken, else the last word.
    """
    words = line.split()
    if len(words) < 4:
        return "", "", "", ""
    *words, label, source = words
    name, first = words[-1], len(words) - 1
    while name.casefold() not in images and len(name) <= LONGEST_NAME and first > 1:
        first -= 1
        name = f"{words[first]} {name}"
    if name.casefold() not in images:
        first = len(words) - 1
    return " ".join(words[:first]), " ".join(words[first:]), label.lower(), source


def class_labels(classes: pd.Series) -> pa.MapArray:
    """Two-class lines say whether it is COVID-19, three-class lines which of the three it is."""
    unknown = (np.nan,) * len(CLASSES)
    values = [VALUES.get(name, unknown) for name in classes]
    return label_maps(CLASSES, np.array(values, np.float32).reshape(-1, len(CLASSES)))
