"""CheXpert-v1.0-small with its test set, and the test labels as a copy of their own repository beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import CHEXPERT_ORDER, SimulatedStudy, chexpert_labels, to_grey

RELEASE = "CheXpert-v1.0-small"
FIRST_PATIENT = {"train": 1, "valid": 64541}
VALIDATION_PATIENTS = 200  # of the release, after whom the test set begins
PARTS = {"train": "train", "validate": "valid", "test": "test"}
SHORTER_SIDE = 320  # of the images of the small release
HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_ORDER)


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """CheXpert-v1.0-small/ and cheXpert-test-set-labels/ in `root`."""
    validation = len({study.patient for study in studies if study.split == "validate"})
    first_of_test = FIRST_PATIENT["valid"] + max(VALIDATION_PATIENTS, validation)
    numbers = {part: count(first) for part, first in {**FIRST_PATIENT, "test": first_of_test}.items()}
    patients: dict[int, int] = {}
    tables: dict[str, list[tuple[Any, ...]]] = {part: [] for part in numbers}
    for study in studies:
        part = PARTS[study.split]
        if study.patient not in patients:
            patients[study.patient] = next(numbers[part])
        folder = f"{RELEASE}/{part}/patient{patients[study.patient]:05d}/study{study.visit + 1}"
        images = [("view1_frontal", study.pixels), ("view2_lateral", study.lateral)]
        for name, pixels in images:
            if pixels is not None:
                write_image(root / folder / f"{name}.jpg", _small(pixels))
                if part != "test":
                    tables[part].append(_row(study, f"{folder}/{name}.jpg", lateral=name != "view1_frontal"))
        if part == "test":
            tables[part].append((folder.replace("-small", ""), *_expert_labels(study, int)))
    for part in ("train", "valid"):
        write_rows(root / RELEASE / f"{part}.csv", HEADER, tables[part])
    write_rows(root / "cheXpert-test-set-labels" / "groundtruth.csv", ("Study", *CHEXPERT_ORDER), tables["test"])


def _row(study: SimulatedStudy, path: str, lateral: bool) -> tuple[Any, ...]:
    if study.split == "train":
        labels = [None if value is None else float(value) for value in chexpert_labels(study.statements).values()]
    else:
        labels = _expert_labels(study, float)
    view = ("Lateral", None) if lateral else ("Frontal", study.view)
    return path, {"M": "Male", "F": "Female"}[study.sex], study.age, *view, *labels


def _expert_labels(study: SimulatedStudy, number: type[int] | type[float]) -> list[Any]:
    """Labels of experts, 1 or 0 for each finding: what the image shows."""
    labels = chexpert_labels(dict.fromkeys(study.masks, 1))
    return [number(value or 0) for value in labels.values()]


def _small(pixels: np.ndarray) -> np.ndarray:
    scale = SHORTER_SIDE / min(pixels.shape)
    return to_grey(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR))
