"""ChestX-ray14: folders of PNG, a label file with commas in its header, lists of the split, boxes of some images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import SimulatedStudy, regions
from store.atomic import write_text

SIZE = 1024
FOLDERS = 2  # of the twelve
RGBA_EVERY = 20  # a few hundred of the released images have four channels
LABELS = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
    "OriginalImage[Width",
    "Height]",
    "OriginalImagePixelSpacing[x",
    "y]",
)
BOXES = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", "")
FINDINGS = {
    "atelectasis": "Atelectasis",
    "cardiomegaly": "Cardiomegaly",
    "effusion": "Effusion",
    "nodule": "Nodule",
    "pneumothorax": "Pneumothorax",
    "consolidation": "Infiltration",
    "edema": "Edema",
}
BOXED = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Nodule", "Pneumothorax")
NAMES_IN_BOXES = {"Infiltration": "Infiltrate"}


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """images_001/images/ and so on, Data_Entry_2017_v2020.csv, the two lists and BBox_List_2017.csv in `root`."""
    boxes: list[tuple[Any, ...]] = []
    for study in studies:
        image = study.resized(SIZE, SIZE)
        folder = f"images_{1 + image.index * FOLDERS // len(studies):03d}"
        boxes += _box_rows(image)
        pixels = image.grey
        if image.index % RGBA_EVERY == RGBA_EVERY - 1:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGRA)
        write_image(root / folder / "images" / image_name(image), pixels)
    write_rows(root / "Data_Entry_2017_v2020.csv", LABELS, [_label_row(study) for study in studies])
    # The commas in the name of the box column are column breaks, and three more follow.
    write_rows(root / "BBox_List_2017.csv", BOXES, boxes)
    for name, parts in (("train_val_list.txt", ("train", "validate")), ("test_list.txt", ("test",))):
        listed = [image_name(study) for study in studies if study.split in parts]
        write_text(root / name, "\n".join(listed))


def image_name(study: SimulatedStudy) -> str:
    """<patient>_<follow-up>.png."""
    return f"{study.patient + 1:08d}_{study.visit:03d}.png"


def finding_names(study: SimulatedStudy) -> list[str]:
    """The findings as the label file has them, those that the report calls present."""
    return [label for name, label in FINDINGS.items() if name in study.present()]


def _label_row(study: SimulatedStudy) -> tuple[Any, ...]:
    height, width = study.pixels.shape
    spacing = 0.143
    return (
        image_name(study),
        "|".join(finding_names(study)) or "No Finding",
        study.visit,
        study.patient + 1,
        study.age,
        study.sex,
        study.view,
        width,
        height,
        spacing,
        spacing,
    )


def _box_rows(image: SimulatedStudy) -> Iterator[tuple[Any, ...]]:
    """Boxes are given for a part of the test images, one for each finding that is visible and reported."""
    if image.split != "test":
        return
    for name, mask in image.masks.items():
        label = FINDINGS.get(name, "")
        if label in finding_names(image) and label in BOXED:
            box = max(regions(mask), key=lambda found: found[2] * found[3])
            yield image_name(image), NAMES_IN_BOXES.get(label, label), *(side + 0.084745762712 for side in box)
