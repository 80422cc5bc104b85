"""RSNA Pneumonia, stage 2: DICOM, a row per box, the classes repeated with them, and a test set without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from cohorts.phantom.dicom.jpeg import write_jpeg_dicom
from cohorts.phantom.files import write_rows
from cohorts.phantom.simulated import SimulatedStudy, regions
from imaging.letterbox import Box

SIZE = 1024
OPACITIES = ("consolidation", "atelectasis")


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """stage_2_train_images/, stage_2_test_images/ and the three tables in `root`."""
    labels: list[tuple[Any, ...]] = []
    classes: list[tuple[str, str]] = []
    submission: list[tuple[str, str]] = []
    for study in sorted(studies, key=patient_id):
        image, name = study.resized(SIZE, SIZE), patient_id(study)
        labelled = study.split != "test"
        folder = "stage_2_train_images" if labelled else "stage_2_test_images"
        write_jpeg_dicom(root / folder / f"{name}.dcm", image, name)
        if not labelled:
            submission.append((name, "0.5 0 0 100 100"))
            continue
        found = boxes(image)
        labels += [(name, *map(float, box), 1) for box in found] or [(name, None, None, None, None, 0)]
        classes += [(name, _class(study, found))] * max(1, len(found))
    write_rows(root / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), labels)
    write_rows(root / "stage_2_detailed_class_info.csv", ("patientId", "class"), classes)
    write_rows(root / "stage_2_sample_submission.csv", ("patientId", "PredictionString"), submission)


def patient_id(study: SimulatedStudy) -> str:
    """An identifier of the image, in the form of a random UUID."""
    return str(UUID(bytes=hashlib.sha256(study.image_id.encode()).digest()[:16], version=4))


def boxes(image: SimulatedStudy) -> list[Box]:
    """The boxes of an image of 1024 x 1024 pixels: one for each connected opacity."""
    return [box for name in OPACITIES if name in image.masks for box in regions(image.masks[name])]


def _class(study: SimulatedStudy, found: Sequence[Box]) -> str:
    if found:
        return "Lung Opacity"
    return "No Lung Opacity / Not Normal" if study.masks else "Normal"
