"""ChestX-ray14: 112,120 frontal radiographs of 30,805 patients at the NIH Clinical Center, labelled from reports.

Wang et al., "ChestX-ray8", CVPR 2017. No restriction of use; cite the paper and acknowledge the NIH Clinical Center.

    Data_Entry_2017_v2020.csv or Data_Entry_2017.csv    per image: Image Index, Finding Labels (`|` between them),
                                                        Patient ID, View Position, Patient Age, Patient Gender, ...
    train_val_list.txt test_list.txt                    the official split, one file name per line
    BBox_List_2017.csv                                  880 images: Image Index, Finding Label, Bbox [x,y,w,h]; optional
    images_001/images/00000001_000.png ... or images/00000001_000.png

The labels say 1 or 0 for each of the 14 findings, as a report that does not mention one counts as without it. The box
file's `Infiltrate` is the label file's `Infiltration`. Boxes are in the 1024 x 1024 pixels of the released images, so
resized copies of them do not fit. The official split has no validation set: a tenth of the patients of the train_val
list validates. RSNA Pneumonia, SIIM-ACR Pneumothorax and COVIDx hold images of this archive.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from cohorts.archive import csv_files
from cohorts.archive.facts import read_facts
from cohorts.archive.marks import Mark
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import CLASSES, ZERO_SHOT, Dataset, in_own_words
from cohorts.errors import CohortError
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
from cohorts.splits import OFFICIAL, SPLITS, carve_validation, split_by_patient
from cohorts.tables import BOX, SHAPE
from cohorts.views import NOT_CHOSEN, are_not_chosen

if TYPE_CHECKING:
    import pandas as pd

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
COLUMNS = {
    "Image Index": "image",
    "Finding Labels": "findings",
    "Patient ID": "subject_id",
    "View Position": "view",
}
FACTS = {"age": "Patient Age", "sex": "Patient Gender"}
NO_FINDING = "No Finding"
SIZE = 1024  # rows and columns of every released image
VALIDATION_SHARE = 0.1
IMAGE_FOLDERS = ("images", "images_0*")
DETAILS = {
    "path_outside_root": "The file name of the row is empty or could name a path elsewhere.",
    "no_subject": "The row has no patient, so it cannot be put into a split.",
    "duplicate_id": "An earlier row of the label file names the same image.",
    "unknown_label": "Finding Labels holds a name that is none of the 14 findings.",
    "bad_box": "A box of the image has no size, is partly empty, lies off the image or is of no known finding.",
    "no_split": "Neither train_val_list.txt nor test_list.txt names this image.",
    "missing_file": "The label file names this image, but no folder of images has it.",
}
DATASET = Dataset(
    name="chestxray14",
    purposes=(ZERO_SHOT, CLASSES),
    zero_shot=in_own_words(*FINDINGS),
    classes=FINDINGS,
    image_sources=("ChestX-ray14",),
)


class ChestXray14(Reader):
    """Reads ChestX-ray14 (ChestX-ray8 with its six later findings)."""

    name = DATASET.name
    has_reports = False
    splits = (OFFICIAL, "80/10/10")
    signature = ((Mark(("Data_Entry_2017*.csv",), ("Image Index", "Finding Labels", "Patient ID")),),)
    how_to_get = (
        "set it to the unpacked download of nihcc.app.box.com/v/ChestXray-NIHCC (images_001/ and so on, "
        "Data_Entry_2017_v2020.csv, train_val_list.txt, test_list.txt)."
    )

    def scan(self) -> Scan:
        """List every row of the label file as a study or a reject, in the file's order."""
        source = csv_files.need(self, "Data_Entry_2017*.csv", list(COLUMNS), others=list(FACTS.values()))
        rows = source[list(COLUMNS)].apply(lambda column: column.str.strip()).rename(columns=COLUMNS)
        rows = rows.assign(**read_facts(source, FACTS))
        paths = {PurePosixPath(path).name: path for path in files_below(self.root, IMAGE_FOLDERS, [".png"])}
        names, codes = finding_matrix(rows["findings"])
        rows = rows.assign(
            cohort=self.name,
            image_path=rows["image"].map(lambda image: paths.get(image, f"images/{image}")),
            split=self._splits(rows),
        )
        boxes = self._boxes()
        broken = are_broken(boxes, SIZE) | ~boxes["label"].isin(FINDINGS).to_numpy(bool)
        conditions = {
            "path_outside_root": ~rows["image"].str.fullmatch(PLAIN_NAMES),
            "no_subject": rows["subject_id"] == "",
            "duplicate_id": rows["image"].duplicated(),
            NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
            "unknown_label": np.isnan(codes).any(axis=1),
            "bad_box": rows["image"].isin(boxes["image"][broken]),
            "no_split": ~rows["split"].isin(SPLITS),
            "missing_file": ~rows["image"].isin(paths.keys()),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        rows["reason"] = reasons
        rows["image_id"] = number_duplicates(rows["image"].str.removesuffix(".png"))
        rows["study_id"] = rows["image_id"]
        boxes = boxes[~broken]
        extras = {
            "labels": label_maps(names, codes),
            "boxes": list_column(rows["image_id"], boxes, BOX),
            "shapes": list_column(rows["image_id"], rectangles(boxes), SHAPE),
        }
        return split_scan(rows, DETAILS, extras)

    def _splits(self, rows: pd.DataFrame) -> pd.Series:
        import pandas as pd

        if self.split != OFFICIAL:
            return split_by_patient(self.name, self.split, rows["subject_id"])
        listed = pd.Series("", rows.index)
        for split, name in (("train", "train_val_list.txt"), ("test", "test_list.txt")):
            path = csv_files.find([self.root], name)
            if path is None:
                raise self.missing(name)
            listed = listed.mask(rows["image"].isin(csv_files.read_headerless(path, ["image"])["image"]), split)
        return carve_validation(self.name, rows["subject_id"], listed, VALIDATION_SHARE)

    def _boxes(self) -> pd.DataFrame:
        """The box file with the columns image_id, image, label, x, y, width and height; no rows where there is none."""
        import pandas as pd

        columns = ["image_id", "label", "x", "y", "width", "height"]
        path = csv_files.find([self.root], "BBox_List_2017*.csv")
        if path is None:
            return pd.DataFrame(columns=[*columns, "image"]).astype(dict.fromkeys(columns[2:], float))
        table = csv_files.read(path, ["Image Index", "Finding Label"], others=None)
        if table.shape[1] < len(columns):
            raise CohortError(f"{path} has no six columns; is it the published file of boxes?")
        table = table.iloc[:, : len(columns)].set_axis(columns, axis="columns")
        table[columns[2:]] = csv_files.numbers(table, columns[2:])
        table["image"] = table["image_id"].str.strip()
        table["image_id"] = table["image"].str.removesuffix(".png")
        table["label"] = table["label"].replace("Infiltrate", "Infiltration")
        return table


def finding_matrix(findings: pd.Series) -> tuple[list[str], np.ndarray]:
    """Names and (rows, names) values 1 or 0 of `|`-separated findings; NaN in a row with a name that is unknown."""
    import pandas as pd

    names = [*FINDINGS, NO_FINDING]
    codes, distinct = pd.factorize(findings)
    values = np.zeros((len(distinct), len(names)), np.float32)
    for row, text in enumerate(distinct):
        present = [name.strip() for name in text.split("|")]
        if set(present) <= set(names):
            values[row, [names.index(name) for name in present]] = 1
        else:
            values[row] = np.nan
    return names, values[codes]
