"""RSNA Pneumonia Detection Challenge, stage 2: 26,684 labelled frontal radiographs of ChestX-ray14, with boxes.

Shih et al., "Augmenting the NIH chest radiograph dataset with expert annotations of possible pneumonia", Radiology:
AI 1 (2019). Research, education and other use with attribution.

    stage_2_train_labels.csv         per box: patientId, x, y, width, height, Target; a negative has one row, no box
    stage_2_detailed_class_info.csv  per box: patientId, class (Normal, No Lung Opacity / Not Normal, Lung Opacity)
    stage_2_train_images/<patientId>.dcm
    stage_2_test_images/<patientId>.dcm   3,000, of which the labels are not public

An image is a source row, and a patient, as each image has an identifier of its own. Boxes are in the pixels of the
1024 x 1024 image and are its regions too. No split is published. GLoRIA, MGCA and cxr-clip divide 70/15/15, LoVT and
MedKLIP 60/20/20 (MedKLIP tests on LoVT's list); here a hash divides. All images come from ChestX-ray14.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cohorts import dataset
from cohorts.archive import csv_files
from cohorts.archive.marks import Mark
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset, in_own_words
from cohorts.labels import label_maps
from cohorts.rows import (
    PLAIN_NAMES,
    are_broken,
    files_below,
    first_reasons,
    list_column,
    look_for_files,
    number_duplicates,
    rectangles,
)
from cohorts.splits import split_by_patient
from cohorts.tables import BOX, SHAPE

if TYPE_CHECKING:
    import pandas as pd

PNEUMONIA = "Pneumonia"  # Target, and the label of the boxes
CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
SIZE = 1024  # rows and columns of every released image
SIDES = ["x", "y", "width", "height"]
DETAILS = {
    "path_outside_root": "The patientId is empty or could name a path elsewhere.",
    "no_labels": "The image is one of the test set, of which no labels are published.",
    "bad_target": "Target is neither 0 nor 1, or differs between the rows of the image.",
    "bad_box": "A box of the image has no size, is partly empty or lies off the image, or there are too many.",
    "missing_file": "The label file names this image, but stage_2_train_images has no such file.",
}
DATASET = Dataset(
    name="rsna_pneumonia",
    purposes=(dataset.ZERO_SHOT, dataset.CLASSES, dataset.REGIONS, dataset.BOXES, dataset.MASKS),
    zero_shot=in_own_words(PNEUMONIA),
    classes=(PNEUMONIA,),
    regions=(PNEUMONIA,),
    image_sources=("ChestX-ray14",),  # under other names: only pixels tell
    patient_sources=("RSNA Pneumonia",),
)


class RsnaPneumonia(Reader):
    """Reads stage 2 of the challenge, as downloaded from Kaggle."""

    name = DATASET.name
    has_reports = False
    splits = ("70/15/15", "60/20/20")
    signature = ((Mark(("stage_2_train_labels.csv",), ("patientId", *SIDES, "Target")),),)
    how_to_get = (
        "set it to the unpacked download of kaggle.com/competitions/rsna-pneumonia-detection-challenge "
        "(stage_2_train_labels.csv, stage_2_train_images/)."
    )

    def scan(self) -> Scan:
        """List the images of the label file in its order, then those of the test set."""
        import pandas as pd

        table = csv_files.need(self, "stage_2_train_labels.csv", ["patientId", *SIDES, "Target"])
        table[SIDES] = csv_files.numbers(table, SIDES)
        table["patientId"] = table["patientId"].str.strip()
        images = table.groupby("patientId", sort=False)["Target"].agg(["min", "max"]).reset_index()
        labelled = images[["patientId"]].assign(image_path="stage_2_train_images/" + images["patientId"] + ".dcm")
        found = pd.Series(files_below(self.root, ["stage_2_test_images"], [".dcm"]), dtype=str)
        unlabelled = pd.DataFrame({"patientId": found.map(lambda path: PurePosixPath(path).stem), "image_path": found})
        unlabelled = unlabelled[~unlabelled["patientId"].isin(images["patientId"])]
        rows = pd.concat([labelled, unlabelled], ignore_index=True).rename(columns={"patientId": "subject_id"})
        rows["image_id"] = number_duplicates(rows["subject_id"])
        rows = rows.assign(cohort=self.name, study_id=rows["image_id"], view="")
        rows["split"] = split_by_patient(self.name, self.split, rows["subject_id"])
        target = images.set_index("patientId").reindex(rows["image_id"])
        boxes = _boxes(table)
        rows["reason"] = self._reasons(rows, target, boxes)
        usable = boxes[~are_broken(boxes, SIZE)]
        is_labelled = target["max"].notna().to_numpy()
        extras = {
            "labels": self._labels(rows["image_id"], target["max"]),
            "boxes": list_column(rows["image_id"], usable, BOX, is_labelled),
            "shapes": list_column(rows["image_id"], rectangles(usable), SHAPE, is_labelled),
        }
        return split_scan(rows, DETAILS, extras)

    def _reasons(self, rows: pd.DataFrame, target: pd.DataFrame, boxes: pd.DataFrame) -> np.ndarray:
        known = target["max"].isin(["0", "1"]) & (target["min"] == target["max"])
        conditions = {
            "path_outside_root": ~rows["subject_id"].str.fullmatch(PLAIN_NAMES),
            "no_labels": target["max"].isna(),
            "bad_target": ~known,
            "bad_box": rows["image_id"].isin(boxes["image_id"][are_broken(boxes, SIZE)]),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons

    def _labels(self, image_ids: pd.Series, target: pd.Series) -> pa.MapArray:
        """Target and, where the file of classes is there, which of the three it is, as 1 or 0 each."""
        import pandas as pd

        values = np.full((len(image_ids), 1 + len(CLASSES)), np.nan, np.float32)
        values[:, 0] = pd.to_numeric(target, errors="coerce")
        path = csv_files.find([self.root], "stage_2_detailed_class_info.csv")
        if path is not None:
            table = csv_files.read(path, ["patientId", "class"]).drop_duplicates("patientId").set_index("patientId")
            classes = table["class"].reindex(image_ids).to_numpy()
            one_hot = classes[:, None] == np.array(CLASSES, dtype=object)
            values[:, 1:] = np.where(one_hot.any(axis=1, keepdims=True), one_hot, np.nan)
        return label_maps((PNEUMONIA, *CLASSES), values)


def _boxes(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that give at least a part of a box."""
    given = table[table[SIDES].notna().any(axis=1)]
    return given[["patientId", *SIDES]].rename(columns={"patientId": "image_id"}).assign(label=PNEUMONIA)
