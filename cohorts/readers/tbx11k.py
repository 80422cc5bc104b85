"""TBX11K: 8,400 labelled chest radiographs, healthy, sick or with tuberculosis, and boxes of its regions.

Liu et al., "Rethinking computer-aided tuberculosis diagnosis", CVPR 2020. CC BY-NC-SA 2.0. 512 x 512 pixels:

    imgs/health/h0001.png imgs/sick/s0001.png imgs/tb/tb0005.png     the folder is the class
    lists/TBX11K_train.txt lists/TBX11K_val.txt                      6,600 and 1,800 images, tb/tb0005.png in a line
    annotations/json/TBX11K_train.json annotations/json/TBX11K_val.json    COCO: images (id, file_name), annotations
        (image_id, category_id, bbox: left, top, width, height), categories (ActiveTuberculosis,
        ObsoletePulmonaryTuberculosis, PulmonaryTuberculosis)

Sure, from torchxrayvision and other public readers: the folders, lists and JSON files. Less sure: whether the lines of
the lists begin with `imgs/`; either is read. imgs/test has no public labels, and the all_* lists add images of other
collections; neither is read. A line of a list is a source row, and a patient, as no patients are named. Regions of all
three categories count as tuberculosis; boxes to detect keep their category. No view is named. Families of splits:

    val_as_test   a tenth of the train list validates, the val list tests
    official      the train list trains, the val list validates
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cohorts import dataset
from cohorts.archive import csv_files
from cohorts.archive.marks import Mark
from cohorts.archive.remote import open_file
from cohorts.archive.text_files import read_lines
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset, in_own_words
from cohorts.errors import CohortError
from cohorts.labels import label_maps
from cohorts.rows import are_broken, first_reasons, list_column, look_for_files, number_duplicates, rectangles
from cohorts.splits import OFFICIAL, carve_validation
from cohorts.tables import BOX, SHAPE

if TYPE_CHECKING:
    import pandas as pd

TUBERCULOSIS = "Tuberculosis"
CLASSES = {"health": "Healthy", "sick": "Sick without tuberculosis", "tb": TUBERCULOSIS}  # by folder
CATEGORIES = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
SIZE = 512  # rows and columns of every released image
SIDES = ["x", "y", "width", "height"]
NAMES = r"(?:imgs/)?((health|sick|tb)/([0-9A-Za-z][0-9A-Za-z_-]*)\.png)"
MAXIMUM_BYTES = 1 << 26  # of a COCO file; eight thousand images take far less
RELEASES = ("", "TBX11K")
VAL_AS_TEST = "val_as_test"
SPLIT_OF = {VAL_AS_TEST: {"train": "train", "val": "test"}, OFFICIAL: {"train": "train", "val": "validate"}}
VALIDATION_SHARE = 0.1
DETAILS = {
    "path_outside_root": "The line is no name of an image in health, sick or tb, so that it could lead elsewhere.",
    "duplicate_id": "An earlier line names the same image.",
    "bad_box": "A box of the image has no size, is partly empty, lies off the image or is of no known category.",
    "missing_file": "The list names this image, but there is no such file.",
}
DATASET = Dataset(
    name="tbx11k",
    purposes=(dataset.ZERO_SHOT, dataset.CLASSES, dataset.REGIONS, dataset.BOXES),
    zero_shot=in_own_words(TUBERCULOSIS),
    classes=tuple(CLASSES.values()),
    exclusive=True,
    regions=CATEGORIES,
)


class Tbx11k(Reader):
    """Reads TBX11K, without the collections that its authors add to it."""

    name = DATASET.name
    has_reports = False
    splits = (VAL_AS_TEST, OFFICIAL)
    signature = tuple(
        (
            Mark((f"{prefix}lists/TBX11K_train.txt",), line=rf"^{NAMES}\s*$"),
            Mark((f"{prefix}annotations/json/TBX11K_train.json",)),
        )
        for prefix in ("", "TBX11K/")
    )
    how_to_get = (
        "set it to the folder of the unpacked TBX11K (imgs/, lists/, annotations/), to which "
        "github.com/yun-liu/Tuberculosis leads."
    )

    def scan(self) -> Scan:
        """List every line of both lists as a study or a reject, in their order."""
        import pandas as pd

        release = self._release()
        parts = [self._part(release, part) for part in ("train", "val")]
        rows = pd.concat([images for images, _ in parts], ignore_index=True)
        boxes = pd.concat([boxes for _, boxes in parts], ignore_index=True)
        names = rows["line"].str.extract(f"^{NAMES}$").fillna("")
        usable = names[0] != ""
        prefix = "" if release == self.root else f"{release.relative_to(self.root).as_posix()}/"
        rows["image_path"] = (f"{prefix}imgs/" + names[0]).where(usable, rows["line"])
        rows["name"], rows["class"] = names[0], names[1].map(CLASSES)
        rows["image_id"] = number_duplicates(names[2].where(usable, rows["line"]))
        rows = rows.assign(cohort=self.name, study_id=rows["image_id"], subject_id=rows["image_id"], view="")
        rows["split"] = self._splits(rows)
        boxes = boxes.merge(
            rows[usable & ~rows["name"].duplicated()][["name", "image_id", "part"]], on=["name", "part"]
        )
        broken = are_broken(boxes, SIZE) | ~boxes["label"].isin(CATEGORIES).to_numpy(bool)
        conditions = {
            "path_outside_root": ~usable,
            "duplicate_id": rows["name"].duplicated(),
            "bad_box": rows["image_id"].isin(boxes["image_id"][broken]),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        boxes, everywhere = boxes[~broken], np.ones(len(rows), bool)
        one_hot = rows["class"].to_numpy()[:, None] == np.array(DATASET.classes, dtype=object)
        extras = {
            "labels": label_maps(DATASET.classes, one_hot.astype(np.float32)),
            "boxes": list_column(rows["image_id"], boxes, BOX, everywhere),
            "shapes": list_column(rows["image_id"], rectangles(boxes.assign(label=TUBERCULOSIS)), SHAPE, everywhere),
        }
        return split_scan(rows.assign(reason=reasons), DETAILS, extras)

    def _release(self) -> Path:
        for folder in (self.root / name for name in RELEASES):
            if csv_files.find([folder / "lists"], "TBX11K_train.txt"):
                return folder
        raise self.missing("lists/TBX11K_train.txt")

    def _part(self, release: Path, part: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The lines of a list, and the boxes (name, part, label, x, y, width, height) of its images."""
        import pandas as pd

        listed = csv_files.find([release / "lists"], f"TBX11K_{part}.txt")
        if listed is None:
            raise self.missing(f"lists/TBX11K_{part}.txt")
        annotated = csv_files.find([release / "annotations" / "json"], f"TBX11K_{part}.json")
        if annotated is None:
            raise self.missing(f"annotations/json/TBX11K_{part}.json")
        lines = [line for text in read_lines(listed) if (line := text.strip())]
        boxes = pd.DataFrame(read_boxes(annotated), columns=["name", "label", *SIDES])
        boxes[SIDES] = boxes[SIDES].apply(pd.to_numeric, errors="coerce").astype(np.float64)
        return pd.DataFrame({"line": lines, "part": part}, dtype=object), boxes.assign(part=part)

    def _splits(self, rows: pd.DataFrame) -> pd.Series:
        split = rows["part"].map(SPLIT_OF[self.split])
        if self.split == OFFICIAL:
            return split
        return carve_validation(self.name, rows["subject_id"], split, VALIDATION_SHARE)


def read_boxes(path: Path) -> list[tuple[Any, ...]]:
    """File name, category and the four sides of each annotation of a COCO file; CohortError where it is none."""
    try:
        with open_file(path, MAXIMUM_BYTES) as stream:
            content = json.loads(stream.read(MAXIMUM_BYTES))
        names = {image["id"]: str(image["file_name"]).removeprefix("imgs/") for image in content["images"]}
        categories = {category["id"]: str(category["name"]) for category in content["categories"]}
        return [
            (names[note["image_id"]], categories.get(note["category_id"], ""), *(_sides(note["bbox"])))
            for note in content["annotations"]
        ]
    except OSError as error:
        raise CohortError(
            f"{path} cannot be read ({error.strerror or error}); correct that, or fetch it again."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CohortError(
            f"{path} is no COCO file with images, categories and annotations that fit together; fetch it again."
        ) from error


def _sides(box: Any) -> list[Any]:
    """Four numbers; those that are none, or not there, as NaN."""
    numbers = [side if type(side) in (int, float) else np.nan for side in list(box)[: len(SIDES)]]
    return numbers + [np.nan] * (len(SIDES) - len(numbers))
