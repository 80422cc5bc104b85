"""MS-CXR: phrases of radiologists with boxes on 881 images of MIMIC-CXR, for eight findings.

Boecking et al., "Making the most of text semantics to improve biomedical vision-language processing", ECCV 2022
(BioViL), arXiv 2204.09817. PhysioNet Credentialed Health Data licence, versions 0.1 to 1.1.0. It has boxes and no
pixels, so the root holds both: MIMIC-CXR-JPG (or MIMIC-CXR) as `mimic_cxr` reads it, and the boxes beside it.

    ms-cxr/1.1.0/MS_CXR_Local_Alignment_v1.1.0.csv   per box: dicom_id, category_name, label_text, path, x, y, w, h,
                                                     image_width, image_height, split (from 1.1.0 on)
    mimic-cxr-jpg/2.1.0/...

Sure, from public readers of both versions: the columns; that x, y, w and h are left, top, width and height in pixels of
the whole JPG; that boxes with the same image, category and text belong to one phrase. Less sure: `val` as the name of
the validation split, so `valid` and `validate` are read too. The JSON files say the same as the CSV and are not read.
An image is a source row. Labels of regions are the category, and `category: phrase` for each phrase
(`cohorts.dataset.class_of`). What is not annotated may be there all the same, so that images have no labels. Splits:

    all_as_test   every image tests, as BioViL does
    published     the column split

Most images are in the train split of MIMIC-CXR, and phrases come from its reports: a model pretrained on MIMIC-CXR has
seen most of them, unless these patients were left out. The page `leakage` counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cohorts import dataset
from cohorts.archive import csv_files
from cohorts.archive.folders import matches
from cohorts.archive.marks import Mark
from cohorts.archive.mimic_layout import image_place
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset, in_own_words, label_phrase
from cohorts.readers.mimic_cxr import MimicCxr, plain_ids
from cohorts.rows import are_broken, first_reasons, list_column, look_for_files, number_duplicates, rectangles
from cohorts.splits import SPLITS, in_later_split
from cohorts.tables import BOX, SHAPE
from cohorts.views import NOT_CHOSEN, are_not_chosen

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
)
TABLE = "MS_CXR_Local_Alignment_v*.csv"
COLUMNS = ("dicom_id", "category_name", "label_text", "x", "y", "w", "h", "image_width", "image_height")
SIDES = {"x": "x", "y": "y", "w": "width", "h": "height"}
RELEASES = ("", "ms-cxr*", "ms-cxr*/[0-9].*", "physionet.org/files/ms-cxr/[0-9].*")
ALL_AS_TEST, PUBLISHED = "all_as_test", "published"
SPLIT_OF = {"train": "train", "val": "validate", "valid": "validate", "validate": "validate", "test": "test"}
DETAILS = {
    "not_in_archive": "The image has boxes, but the metadata file of MIMIC-CXR does not list it.",
    "path_outside_root": "An identifier in the metadata row is empty or could name a path elsewhere.",
    "duplicate_id": "An earlier row of the metadata file has the same dicom_id.",
    "bad_box": "A box has no size, is partly empty, lies off the image or is of no known category, or has no phrase.",
    "no_split": "The rows of the image have no split, or several; take the family all_as_test.",
    "patient_in_later_split": "The patient has images in a later split.",
    "missing_file": "The metadata names this image, but there is no such file.",
}
DATASET = Dataset(
    name="ms_cxr",
    licence="PhysioNet Credentialed Health Data",
    purposes=(dataset.REGIONS, dataset.PHRASES),
    zero_shot=in_own_words(*CATEGORIES),
    regions=CATEGORIES,
    image_sources=("MIMIC-CXR",),
    patient_sources=("MIMIC-CXR",),
)
BOXES = Mark(tuple(f"{release}/{TABLE}".lstrip("/") for release in RELEASES), COLUMNS)


class MsCxr(MimicCxr):
    """Reads the phrases and boxes, and the images from MIMIC-CXR."""

    name = DATASET.name
    has_reports = False
    splits = (ALL_AS_TEST, PUBLISHED)
    how_to_get = (
        "set it to a folder that holds mimic-cxr-jpg 2.x and ms-cxr (MS_CXR_Local_Alignment_v1.1.0.csv) side by side, "
        "which PhysioNet gives to credentialed users (physionet.org/content/ms-cxr)."
    )
    signature = tuple((*edition, BOXES) for edition in MimicCxr.signature)

    read_report = Reader.read_report  # the reports of MIMIC-CXR are no part of this dataset

    def scan(self) -> Scan:
        """List every image with boxes, in MIMIC-CXR's order, then those that it does not have."""
        boxes = self._read_boxes()
        rows = self._rows(boxes)
        listed, plain = rows["listed"], plain_ids(rows)
        rows["image_path"] = image_place(self.root, rows[plain & listed]).paths(rows).where(listed, "")
        broken = _are_unusable(boxes)
        rows["reason"] = self._reasons(rows, plain, set(boxes["image_id"][broken]))
        rows["image_id"] = number_duplicates(rows["image_id"])
        rows["cohort"] = self.name
        usable = boxes[~broken]
        shapes = rectangles(usable)
        phrases = [label_phrase(*pair) for pair in zip(usable["label"], usable["phrase"], strict=True)]
        extras = {
            "boxes": list_column(rows["image_id"], usable, BOX),
            "shapes": list_column(rows["image_id"], _concat(shapes, shapes.assign(label=phrases)), SHAPE),
        }
        return split_scan(rows, DETAILS, extras)

    def _read_boxes(self) -> pd.DataFrame:
        """A row per box: image_id, label, phrase, the box, the size of the image, and the split, empty without one."""
        folders = [folder for name in RELEASES for folder in (matches(self.root, name) if name else [self.root])]
        path = csv_files.find(folders[::-1], TABLE)  # the newest release first
        if path is None:
            raise self.missing("MS_CXR_Local_Alignment_v1.1.0.csv")
        table = csv_files.read(path, COLUMNS, ["split"])
        numbers = ["x", "y", "w", "h", "image_width", "image_height"]
        table[numbers] = csv_files.numbers(table, numbers)
        return table.rename(columns=SIDES).assign(
            image_id=table["dicom_id"].str.strip(),
            label=table["category_name"].str.strip(),
            phrase=table["label_text"].str.split().str.join(" "),
            split=table["split"].str.strip().str.lower() if "split" in table else "",
        )

    def _rows(self, boxes: pd.DataFrame) -> pd.DataFrame:
        """The metadata of the images with boxes, and rows for those that it does not list, with their split."""
        images = self._metadata().rename(columns={"dicom_id": "image_id"}).assign(listed=True)
        wanted = boxes["image_id"].drop_duplicates()
        absent = wanted[~wanted.isin(images["image_id"])].to_frame().assign(listed=False)
        rows = _concat(images[images["image_id"].isin(wanted)], absent)
        text = ["subject_id", "study_id", "view"]
        rows = rows.assign(**rows[text].fillna(""))
        if self.split == ALL_AS_TEST:
            return rows.assign(split="test")
        splits = boxes.groupby("image_id")["split"].agg(lambda names: names.iloc[0] if names.nunique() == 1 else "")
        return rows.assign(split=rows["image_id"].map(splits.map(SPLIT_OF)).fillna(""))

    def _reasons(self, rows: pd.DataFrame, plain: pd.Series, broken: set[str]) -> np.ndarray:  # type: ignore[override]
        conditions: dict[str, pd.Series | np.ndarray] = {
            "not_in_archive": ~rows["listed"].to_numpy(bool),
            "path_outside_root": ~plain,
            "duplicate_id": rows["image_id"].duplicated(),
            NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
            "bad_box": rows["image_id"].isin(broken),
            "no_split": ~rows["split"].isin(SPLITS),
            "patient_in_later_split": in_later_split(rows["subject_id"], rows["split"]),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons


def _are_unusable(boxes: pd.DataFrame) -> np.ndarray:
    sizes = boxes[["image_width", "image_height"]].to_numpy(np.float64)
    nothing_said = (boxes["phrase"] == "").to_numpy(bool)
    return are_broken(boxes, sizes) | ~boxes["label"].isin(CATEGORIES).to_numpy(bool) | nothing_said


def _concat(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([first, second], ignore_index=True)
