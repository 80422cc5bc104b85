"""Object-CXR: 10,000 frontal chest radiographs of township hospitals, half of them with foreign objects outlined.

JF Healthcare, "Object-CXR: automatic detection of foreign objects on chest X-rays", MIDL 2020 challenge. CC BY-NC 4.0.

    train/00001.jpg ...  dev/08001.jpg ...  test/09001.jpg ...
    train.csv, dev.csv, test.csv   image_name,annotation (image_path, a path, in test.csv)

An annotation is a list of shapes separated by semicolons, each a kind and numbers separated by blanks: 0 a rectangle
and 1 an ellipse (x1 y1 x2 y2, left, top, right and bottom of it), 2 a polygon (x1 y1 x2 y2 ... xn yn). Coordinates are
pixels of the image, origin top-left. An empty annotation means an image without objects. (LoVT published box files with
width and height swapped, and polygon masks with x and y swapped.) No patients are named: every image counts as one.

Splits: `official` has dev to validate and test to test; `dev_as_test` is that of LoVT and MGCA, from before test.csv
was public: dev is the test set, a fifth of train is the validation set, and the images of test.csv are left out.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import numpy as np

from cohorts.archive import csv_files
from cohorts.archive.marks import Mark
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import BOXES, Dataset
from cohorts.errors import CohortError
from cohorts.labels import label_maps
from cohorts.rows import MOST_SHAPES, PLAIN_NAMES, first_reasons, list_column, look_for_files, number_duplicates
from cohorts.splits import OFFICIAL, carve_validation
from cohorts.tables import BOX, SHAPE

if TYPE_CHECKING:
    import pandas as pd

FOREIGN_OBJECT = "foreign object"
KINDS = {"0": "rectangle", "1": "ellipse", "2": "polygon"}
DEV_AS_TEST = "dev_as_test"
SPLIT_OF = {
    OFFICIAL: {"train": "train", "dev": "validate", "test": "test"},
    DEV_AS_TEST: {"train": "train", "dev": "test", "test": ""},
}
VALIDATION_SHARE = 0.2
DETAILS = {
    "path_outside_root": "The image name is empty or could name a path elsewhere.",
    "bad_annotation": "A shape has an unknown kind, or numbers that do not make such a shape, or there are too many.",
    "no_split": "The family of splits that was chosen leaves the images of test.csv out.",
    "duplicate_id": "An earlier row names the same image.",
    "missing_file": "The table names this image, but there is no such file.",
}
DATASET = Dataset(
    name="object_cxr",
    purposes=(BOXES,),
    zero_shot={},
    regions=(FOREIGN_OBJECT,),
)


class ObjectCxr(Reader):
    """Reads Object-CXR."""

    name = DATASET.name
    has_reports = False
    splits = (OFFICIAL, DEV_AS_TEST)
    signature = (
        (
            Mark(
                ("train.csv",),
                ("image_name", "annotation"),
                line=r"^\d+\.jpg,([01]( -?[\d.]+){4}|2( -?[\d.]+){6,})(;|\s*$)",
            ),
        ),
    )
    how_to_get = (
        "set it to a folder with train.csv, dev.csv and the unpacked train.zip and dev.zip (and those of test) of "
        "Object-CXR, which academictorrents.com has."
    )

    def scan(self) -> Scan:
        """List every row of the three tables as a study or a reject, in their order; test.csv may be absent."""
        import pandas as pd

        parts = [self._part(part) for part in SPLIT_OF[OFFICIAL]]
        rows = pd.concat([part for part in parts if part is not None], ignore_index=True)
        split = rows["part"].map(SPLIT_OF[self.split])
        if self.split == DEV_AS_TEST:
            split = carve_validation(self.name, rows["file_name"], split, VALIDATION_SHARE)
        objects, spoilt = parse_shapes(rows["annotation"])
        rows = rows.assign(image_path=rows["part"] + "/" + rows["file_name"], split=split)
        rows["reason"] = self._reasons(rows, spoilt)
        rows["image_id"] = number_duplicates(rows["file_name"].str.removesuffix(".jpg"))
        rows = rows.assign(cohort=self.name, study_id=rows["image_id"], subject_id=rows["image_id"], view="")
        objects = objects.assign(image_id=rows["image_id"].to_numpy()[objects["row"]], label=FOREIGN_OBJECT)
        present = rows.index.isin(objects["row"])
        everywhere = np.ones(len(rows), bool)
        return split_scan(
            rows,
            DETAILS,
            {
                "labels": label_maps([FOREIGN_OBJECT], present[:, None].astype(np.float32)),
                "boxes": list_column(rows["image_id"], objects, BOX, everywhere),
                "shapes": list_column(rows["image_id"], objects, SHAPE, everywhere),
            },
        )

    def _part(self, part: str) -> pd.DataFrame | None:
        import pandas as pd

        path = csv_files.find([self.root], f"{part}.csv")
        if path is None:
            if part == "test":
                return None
            raise self.missing(f"{part}.csv")
        table = csv_files.read(path, ["annotation"], others=["image_name", "image_path"])
        if "image_path" in table:
            table["image_name"] = table["image_path"].map(posixpath.basename)
        if "image_name" not in table:
            raise CohortError(f"{path} has no column image_name; is it the published file?")
        names = table["image_name"].str.strip()
        return pd.DataFrame({"file_name": names, "annotation": table["annotation"], "part": part})

    def _reasons(self, rows: pd.DataFrame, spoilt: np.ndarray) -> np.ndarray:
        reasons = first_reasons(
            {
                "path_outside_root": ~rows["file_name"].str.fullmatch(PLAIN_NAMES),
                "bad_annotation": spoilt,
                "no_split": rows["split"] == "",
                "duplicate_id": rows["file_name"].duplicated(),
            },
            len(rows),
        )
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons


def parse_shapes(annotations: pd.Series) -> tuple[pd.DataFrame, np.ndarray]:
    """The shapes of all rows in their order: the index of the row in `annotations`, kind, points, and the bounding box
    x, y, width and height; and for each row whether one of its shapes cannot be read (the row then has none)."""
    import pandas as pd

    annotations = annotations.reset_index(drop=True)
    crowded = annotations.str.count(";") > MOST_SHAPES
    texts = annotations[~crowded].str.split(";").explode().str.strip()
    texts = texts[texts != ""]
    shapes = [parse_shape(text) for text in texts]
    spoilt = crowded.to_numpy(bool, copy=True)
    spoilt[texts.index[[not kind for kind, _ in shapes]]] = True
    records = [
        (row, kind, points, min(points[0::2]), min(points[1::2]), np.ptp(points[0::2]), np.ptp(points[1::2]))
        for row, (kind, points) in zip(texts.index, shapes, strict=True)
        if not spoilt[row]
    ]
    return pd.DataFrame(records, columns=["row", "kind", "points", "x", "y", "width", "height"]), spoilt


def parse_shape(text: str) -> tuple[str, list[float]]:
    """Kind and points of one shape; an empty kind where they make none: rectangles and ellipses need x1 < x2 and
    y1 < y2, polygons three corners."""
    from imaging.shapes import FARTHEST, MOST_CORNERS

    number, *words = text.split()
    try:
        points = [float(word) for word in words]
    except ValueError:
        return "", []
    kind = KINDS.get(number, "") if all(abs(point) <= FARTHEST for point in points) else ""
    if kind == "polygon":
        well_formed = 6 <= len(points) <= 2 * MOST_CORNERS and len(points) % 2 == 0
    else:
        well_formed = len(points) == 4 and points[0] < points[2] and points[1] < points[3]
    return (kind if well_formed else ""), points
