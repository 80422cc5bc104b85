"""VinDr-CXR: 18,000 frontal chest radiographs of two hospitals in Hanoi, with findings and boxes of radiologists.

Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations", Scientific Data 9 (2022)
429. PhysioNet Credentialed Health Data licence, version 1.0.0:

    train/<image_id>.dicom test/<image_id>.dicom          15,000 and 3,000, original pixels
    annotations/image_labels_train.csv                    per image and reader: image_id, rad_id, 28 labels (1, 0)
    annotations/image_labels_test.csv                     per image: image_id, 28 labels
    annotations/annotations_train.csv                     per box: image_id, rad_id, class_name, x_min, y_min, x_max,
    annotations/annotations_test.csv                      y_max; without a box where there is no finding

Sure, from the paper and from public readers: the files and columns of train, three readers per train image, `Other
disease` in the test file for `Other diseases`. From memory: the test file of boxes has no rad_id; either is read. The
edition of Kaggle, `VinBigData`, has another table and is not read.

Five readers agreed on each test image. Three read a train image apart; we make one truth of it:

    a label   1 where two of them or all say so, 0 where none does, -1 (uncertain) where one does; training takes -1 as
              1, which is the rule of cxr-clip: present where any reader says so
    a box     boxes of a label by several readers that overlap by an IoU above 0.4, the one of the challenge, are one
              object, at their mean; a box of one reader alone is an object too

An image is a source row, and a patient: no identifiers of patients are published, so that images of one patient may be
in train and validate. A fifth of train is the validation set, as in cxr-clip, here by a hash. All images are PA by the
paper. Sex and age stand in some headers, which a listing does not open.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cohorts import dataset
from cohorts.archive import csv_files
from cohorts.archive.folders import is_file, matches
from cohorts.archive.marks import Mark
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset
from cohorts.labels import UNCERTAIN, are_spoilt, label_maps
from cohorts.rows import (
    PLAIN_NAMES,
    are_broken,
    first_reasons,
    list_column,
    look_for_files,
    number_duplicates,
    rectangles,
)
from cohorts.splits import OFFICIAL, carve_validation
from cohorts.tables import BOX, SHAPE
from cohorts.views import NOT_CHOSEN, are_not_chosen

if TYPE_CHECKING:
    import pandas as pd

BOXED = {  # label -> the words that zero-shot tasks use for it
    "Aortic enlargement": "aortic enlargement",
    "Atelectasis": "atelectasis",
    "Calcification": "calcification",
    "Cardiomegaly": "cardiomegaly",
    "Clavicle fracture": "clavicle fracture",
    "Consolidation": "consolidation",
    "Edema": "pulmonary edema",
    "Emphysema": "emphysema",
    "Enlarged PA": "enlarged pulmonary artery",
    "ILD": "interstitial lung disease",
    "Infiltration": "infiltration",
    "Lung Opacity": "lung opacity",
    "Lung cavity": "lung cavity",
    "Lung cyst": "lung cyst",
    "Mediastinal shift": "mediastinal shift",
    "Nodule/Mass": "nodule",
    "Pleural effusion": "pleural effusion",
    "Pleural thickening": "pleural thickening",
    "Pneumothorax": "pneumothorax",
    "Pulmonary fibrosis": "pulmonary fibrosis",
    "Rib fracture": "rib fracture",
    "Other lesion": "",  # a rest, that no words ask for
}
DISEASES = {
    "COPD": "chronic obstructive pulmonary disease",
    "Lung tumor": "lung tumor",
    "Pneumonia": "pneumonia",
    "Tuberculosis": "tuberculosis",
    "Other diseases": "",
}
NO_FINDING = "No finding"
LABELS = (*BOXED, *DISEASES, NO_FINDING)
OTHER_SPELLINGS = {"Other disease": "Other diseases"}
CORNERS = ["x_min", "y_min", "x_max", "y_max"]
SIDES = ["x", "y", "width", "height"]
FOLDER = "annotations"
RELEASES = ("", "[0-9].*", "vindr-cxr*", "vindr-cxr*/[0-9].*", "physionet.org/files/vindr-cxr/[0-9].*")
SAME_OBJECT = 0.4  # IoU
LARGEST = 10_000  # pixels of a side; the largest released image has some 4,000
VALIDATION_SHARE = 0.2
DETAILS = {
    "path_outside_root": "The image_id is empty or could name a path elsewhere.",
    "duplicate_id": "The image is in train and in test.",
    "bad_label": "A label is neither 1 nor 0.",
    "bad_box": "A box has no size, is partly empty, lies off the image or is of no known finding; or it has too many.",
    "missing_file": "The table of labels names this image, but there is no such file.",
}
QUERIES = {label: words for label, words in {**BOXED, **DISEASES}.items() if words}
DATASET = Dataset(
    name="vindr_cxr",
    licence="PhysioNet Credentialed Health Data",
    purposes=(dataset.ZERO_SHOT, dataset.CLASSES, dataset.REGIONS, dataset.BOXES),
    zero_shot=QUERIES,
    classes=LABELS,
    uncertain="ones",
    regions=tuple(BOXED),
)


class VinDrCxr(Reader):
    """Reads VinDr-CXR 1.0.0 of PhysioNet."""

    name = DATASET.name
    has_reports = False
    splits = (OFFICIAL,)
    signature = (
        (
            Mark(
                tuple(f"{release}/{FOLDER}/image_labels_train.csv".lstrip("/") for release in RELEASES),
                ("image_id", "rad_id", "Aortic enlargement"),
            ),
        ),
    )
    how_to_get = (
        "set it to the folder of vindr-cxr 1.0.0 (train/, test/, annotations/), which PhysioNet gives to credentialed "
        "users (physionet.org/content/vindr-cxr)."
    )

    def scan(self) -> Scan:
        """List the images of both tables of labels in their order, those of train first."""
        import pandas as pd

        release = self._release()
        parts = [self._part(release, part) for part in ("train", "test")]
        rows = pd.concat([images for images, _ in parts], ignore_index=True)
        boxes = pd.concat([boxes for _, boxes in parts], ignore_index=True)
        prefix = "" if release == self.root else f"{release.relative_to(self.root).as_posix()}/"
        rows["image_path"] = prefix + rows["part"] + "/" + rows["name"] + ".dicom"
        rows["image_id"] = number_duplicates(rows["name"])
        rows = rows.assign(cohort=self.name, study_id=rows["image_id"], subject_id=rows["image_id"], view="PA")
        rows["split"] = carve_validation(self.name, rows["subject_id"], rows["part"], VALIDATION_SHARE)
        boxes = boxes[boxes["part"] == boxes["name"].map(rows.drop_duplicates("name").set_index("name")["part"])]
        boxes = boxes.assign(image_id=boxes["name"])
        broken = are_broken(boxes, LARGEST) | ~boxes["label"].isin(list(BOXED)).to_numpy(bool)
        rows["reason"] = self._reasons(rows, set(boxes["name"][broken]))
        usable = merge_boxes(boxes[~broken])
        everywhere = np.ones(len(rows), bool)
        extras = {
            "labels": label_maps(LABELS, rows[list(LABELS)].to_numpy(np.float32)),
            "boxes": list_column(rows["image_id"], usable, BOX, everywhere),
            "shapes": list_column(rows["image_id"], rectangles(usable), SHAPE, everywhere),
        }
        return split_scan(rows, DETAILS, extras)

    def _release(self) -> Path:
        """The folder that holds annotations/: the root, or a release folder in it."""
        folders = [folder for name in RELEASES for folder in ([self.root] if not name else matches(self.root, name))]
        for folder in folders:
            if is_file(folder / FOLDER / "image_labels_train.csv"):
                return folder
        raise self.missing(f"{FOLDER}/image_labels_train.csv")

    def _part(self, release: Path, part: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The images of a table of labels (name, part, spoilt and the labels), and the boxes of the other table."""
        labels = self._table(release, f"image_labels_{part}.csv", ["image_id"], None).rename(columns=OTHER_SPELLINGS)
        absent = [name for name in LABELS if name not in labels]
        if absent:
            raise self.missing(f"column {absent[0]} of {FOLDER}/image_labels_{part}.csv")
        images = agree(labels, csv_files.numbers(labels, LABELS))
        boxes = self._table(release, f"annotations_{part}.csv", ["image_id", "class_name", *CORNERS], ["rad_id"])
        corners = csv_files.numbers(boxes, CORNERS).astype(np.float64)
        given = (boxes[CORNERS] != "").any(axis=1).to_numpy(bool)
        boxes = boxes.assign(name=boxes["image_id"].str.strip(), label=boxes["class_name"].str.strip())
        boxes = boxes.assign(reader=boxes.get("rad_id", ""), part=part)
        boxes[SIDES] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return images.assign(part=part), boxes.loc[given, ["name", "label", "reader", "part", *SIDES]]

    def _table(self, release: Path, name: str, columns: list[str], others: list[str] | None) -> pd.DataFrame:
        path = csv_files.find([release / FOLDER], name)
        if path is None:
            raise self.missing(f"{FOLDER}/{name}")
        return csv_files.read(path, columns, others)

    def _reasons(self, rows: pd.DataFrame, broken: set[str]) -> np.ndarray:
        conditions: dict[str, pd.Series | np.ndarray] = {
            "path_outside_root": ~rows["name"].str.fullmatch(PLAIN_NAMES),
            "duplicate_id": rows["name"].duplicated(),
            NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
            "bad_label": rows["spoilt"],
            "bad_box": rows["name"].isin(broken),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons


def agree(table: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """One row per image of a table with a row per image and reader, whose labels are `values`: name, LABELS, spoilt.

    Of two readers or more, one alone makes a label uncertain. A reader counts once. Spoilt are images with a label that
    is neither 1 nor 0; an empty one is 0.
    """
    import pandas as pd

    names = table["image_id"].str.strip()
    spoilt = are_spoilt(table, LABELS, values) | (values == UNCERTAIN).any(axis=1)
    frame = pd.DataFrame(np.nan_to_num(values), columns=list(LABELS)).assign(name=names.to_numpy(), spoilt=spoilt)
    once = ~table.assign(name=names).duplicated(["name", *(["rad_id"] if "rad_id" in table else [])]).to_numpy(bool)
    votes = frame[once].groupby("name", sort=False)[list(LABELS)]
    present, readers = votes.sum(), votes.size()
    alone = (present == 1) & (readers.to_numpy() > 1)[:, None]
    agreed = (present > 0).astype(np.float32).mask(alone, UNCERTAIN)
    return agreed.assign(spoilt=frame.groupby("name", sort=False)["spoilt"].any()).reset_index()


def merge_boxes(boxes: pd.DataFrame) -> pd.DataFrame:
    """Boxes (image_id, label, reader, x, y, width, height) with those of an object by several readers as their mean.

    Boxes of an image with the same label that overlap by more than SAME_OBJECT, directly or through others, are an
    object. Boxes of one reader are never joined directly. The order is that of the first box of each object.
    """
    if boxes.empty:
        return boxes
    boxes = boxes.reset_index(drop=True)
    objects = np.arange(len(boxes))
    for found in boxes.groupby(["image_id", "label"], sort=False).indices.values():
        if len(found) > 1:
            places = np.asarray(found)
            objects[places] = _first_of_object(boxes, places)
    merged = boxes.groupby(objects)[SIDES].mean()
    return boxes.loc[merged.index, ["image_id", "label"]].join(merged)


def _first_of_object(boxes: pd.DataFrame, places: np.ndarray) -> np.ndarray:
    """For each of the boxes at `places`, the place of the first box of its object."""
    from scipy.sparse.csgraph import connected_components

    corners = boxes[SIDES].to_numpy(np.float64)[places]
    starts, ends = corners[:, :2], corners[:, :2] + corners[:, 2:]
    overlap = np.minimum(ends[:, None], ends[None]) - np.maximum(starts[:, None], starts[None])
    shared = overlap.clip(min=0).prod(axis=2)
    areas = corners[:, 2:].prod(axis=1)
    readers = boxes["reader"].to_numpy(str)[places]
    same = (shared > SAME_OBJECT * (areas[:, None] + areas[None] - shared)) & (readers[:, None] != readers[None])
    _, numbers = connected_components(same, directed=False)
    firsts = np.array([np.flatnonzero(numbers == number)[0] for number in range(numbers.max() + 1)])
    return places[firsts[numbers]]
