"""SIIM-ACR Pneumothorax Segmentation Challenge: 12,047 frontal radiographs of ChestX-ray14 with pneumothorax masks.

Kaggle competition rules, non-commercial research. Stage 1, and stage 2 in its own form:

    train-rle.csv          per region: ImageId, ` EncodedPixels` (with a leading blank in the header)
    dicom-images-train/<StudyUID>/<SeriesUID>/<ImageId>.dcm      dicom-images-test/ likewise
    stage_2_train.csv      ImageId, EncodedPixels
    stage_2_images/<ImageId>.dcm

`EncodedPixels` is -1 (or ` -1`) for an image without pneumothorax. Otherwise it holds pairs of a gap and a run:
background pixels since the end of the previous run, then pixels of the mask, going down the columns of the 1024 x 1024
image. An image may have several rows, from several regions or readers. Its mask is their union, so its rows must stay
in one split. An image is a source row and counts as a patient, as the label file names none. No split is published.
GLoRIA and MGCA divide rows 70/15/15, so that a third of their positive test images is in training; LoVT divides
60/20/20. Here images are divided, by a hash.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from cohorts.archive import csv_files
from cohorts.archive.marks import Mark
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import CLASSES, MASKS, REGIONS, ZERO_SHOT, Dataset, in_own_words
from cohorts.labels import label_maps
from cohorts.rows import MOST_SHAPES, PLAIN_NAMES, files_below, first_reasons, list_column, look_for_files
from cohorts.splits import split_by_patient
from cohorts.tables import BOX, SHAPE

if TYPE_CHECKING:
    import pandas as pd

PNEUMOTHORAX = "Pneumothorax"
SIZE = 1024  # rows and columns of every released image
NEGATIVE = "-1"
PAIRS = re.compile(r"\d+ \d+(?: \d+ \d+)*")
TABLES = ("train-rle.csv", "stage_2_train.csv")
IMAGE_FOLDERS = ("dicom-images-train", "dicom-images-test", "stage_2_images")
DETAILS = {
    "path_outside_root": "The ImageId is empty or could name a path elsewhere.",
    "no_labels": "The label file has no row for this image.",
    "bad_mask": "EncodedPixels is neither -1 nor pairs of gap and run that stay within the 1024 x 1024 pixels, or "
    "there are too many.",
    "missing_file": "The label file names this image, but no folder of images has it.",
}
DATASET = Dataset(
    name="siim_pneumothorax",
    purposes=(ZERO_SHOT, CLASSES, REGIONS, MASKS),
    zero_shot=in_own_words(PNEUMOTHORAX),
    classes=(PNEUMOTHORAX,),
    regions=(PNEUMOTHORAX,),
    image_sources=("ChestX-ray14",),  # under other names: only pixels tell
)


class SiimPneumothorax(Reader):
    """Reads stage 1 or stage 2 of the challenge, as downloaded from Kaggle."""

    name = DATASET.name
    has_reports = False
    splits = ("70/15/15", "60/20/20")
    signature = ((Mark(TABLES, ("ImageId", "EncodedPixels")),),)
    how_to_get = (
        "set it to the unpacked download of kaggle.com/competitions/siim-acr-pneumothorax-segmentation (train-rle.csv, "
        "dicom-images-train/) or of its stage 2 (stage_2_train.csv, stage_2_images/)."
    )

    def scan(self) -> Scan:
        """List the images of the label file in its order, then those that only a folder has."""
        import pandas as pd

        table = self._table()
        paths = {PurePosixPath(path).stem: path for path in files_below(self.root, IMAGE_FOLDERS, [".dcm"])}
        labelled = table["image_id"].drop_duplicates()
        others = pd.Series(sorted(set(paths) - set(labelled)), dtype=str)
        image_ids = pd.concat([labelled, others], ignore_index=True)
        rows = pd.DataFrame({"image_id": image_ids, "subject_id": image_ids, "study_id": image_ids, "view": ""})
        rows["cohort"] = self.name
        rows["image_path"] = image_ids.map(lambda image_id: paths.get(image_id, f"{image_id}.dcm"))
        rows["split"] = split_by_patient(self.name, self.split, image_ids)
        regions = decode_regions(table[table["pixels"] != NEGATIVE])
        crowded = regions.groupby("image_id")["image_id"].transform("size") > MOST_SHAPES
        known = image_ids.isin(labelled)
        conditions = {
            "path_outside_root": ~image_ids.str.fullmatch(PLAIN_NAMES),
            "no_labels": ~known,
            "bad_mask": image_ids.isin(regions["image_id"][regions["points"].isna() | crowded]),
            "missing_file": ~image_ids.isin(paths.keys()),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        rows["reason"] = reasons
        regions = regions[~crowded].dropna(subset=["points"])
        positive = np.where(known, image_ids.isin(regions["image_id"]), np.nan).astype(np.float32)
        extras = {
            "labels": label_maps([PNEUMOTHORAX], positive[:, None]),
            "boxes": list_column(image_ids, bounding_boxes(regions), BOX, known),
            "shapes": list_column(image_ids, regions, SHAPE, known),
        }
        return split_scan(rows, DETAILS, extras)

    def _table(self) -> pd.DataFrame:
        """The label file as image_id and pixels, without the blanks around its values."""
        import pandas as pd

        path = next((found for name in TABLES if (found := csv_files.find([self.root], name))), None)
        if path is None:
            raise self.missing(" or ".join(TABLES))
        table = csv_files.read(path, ["ImageId", "EncodedPixels"])
        return pd.DataFrame({"image_id": table["ImageId"].str.strip(), "pixels": table["EncodedPixels"].str.strip()})


def decode_regions(rows: pd.DataFrame) -> pd.DataFrame:
    """`pixels` as shapes of kind rle with absolute starts; `points` is None where they are no mask."""
    import pandas as pd

    points = pd.Series([absolute_runs(text) for text in rows["pixels"]], rows.index, dtype=object)
    return rows[["image_id"]].assign(label=PNEUMOTHORAX, kind="rle", points=points)


def absolute_runs(text: str) -> np.ndarray | None:
    """(start, length) pairs, flat, of the challenge's (gap, run) pairs; None when they are none or leave the image."""
    if not PAIRS.fullmatch(text):
        return None
    values = np.array(text.split(), np.float64)  # exact for every sum that stays within the image
    ends = np.cumsum(values)
    if ends[-1] > SIZE * SIZE or not values[1::2].all():
        return None
    return np.stack([ends[0::2], values[1::2]], axis=1).ravel()


def bounding_boxes(regions: pd.DataFrame) -> pd.DataFrame:
    """The box around each region, from its runs alone."""
    import pandas as pd

    boxes = [_box(points) for points in regions["points"]]
    table = pd.DataFrame(boxes, columns=["x", "y", "width", "height"], index=regions.index, dtype=float)
    return regions[["image_id", "label"]].join(table)


def _box(points: np.ndarray) -> tuple[float, float, float, float]:
    starts, last = points[0::2], points[0::2] + points[1::2] - 1
    left, right = starts.min() // SIZE, last.max() // SIZE
    if (starts // SIZE != last // SIZE).any():  # a run that goes on in the next column touches bottom and top
        return left, 0, right - left + 1, SIZE
    return left, (starts % SIZE).min(), right - left + 1, (last % SIZE).max() - (starts % SIZE).min() + 1
