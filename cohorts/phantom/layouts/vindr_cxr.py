"""VinDr-CXR 1.0.0: DICOM, three readers of each train image who differ a little, and one agreed reading of the test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohorts.phantom.dicom import write_dicom
from cohorts.phantom.files import write_rows
from cohorts.phantom.simulated import SimulatedStudy, regions

LABELS = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis"),
    *("Other diseases", "No finding"),
)
FINDINGS = {
    "atelectasis": "Atelectasis",
    "cardiomegaly": "Cardiomegaly",
    "consolidation": "Consolidation",
    "edema": "Edema",
    "nodule": "Nodule/Mass",
    "effusion": "Pleural effusion",
    "pneumothorax": "Pneumothorax",
}
READERS = ("R8", "R9", "R10")  # of a train image
OVERLOOKED = 0.15  # probability that one of them misses a finding
CORNERS = ("x_min", "y_min", "x_max", "y_max")


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """train/, test/ and annotations/ in `root`; the validation patients are in train."""
    tables: dict[str, list[tuple[Any, ...]]] = {"train": [], "test": []}
    boxes: dict[str, list[tuple[Any, ...]]] = {"train": [], "test": []}
    for study in studies:
        part, name = "test" if study.split == "test" else "train", image_id(study)
        write_dicom(root / part / f"{name}.dicom", study.pixels, study, inverted=study.index % 2 == 1)
        for reader, found in readings(study):
            label = (name,) if part == "test" else (name, reader)
            marks = {FINDINGS[finding] for finding in found} or {"No finding"}
            tables[part].append((*label, *(int(known in marks) for known in LABELS)))
            boxes[part] += [(*label, *box) for box in _boxes(study, reader, found)]
    for part, key in (("train", ("image_id", "rad_id")), ("test", ("image_id",))):
        names = LABELS if part == "train" else tuple(name.replace("diseases", "disease") for name in LABELS)
        write_rows(root / "annotations" / f"image_labels_{part}.csv", (*key, *names), tables[part])
        write_rows(root / "annotations" / f"annotations_{part}.csv", (*key, "class_name", *CORNERS), boxes[part])


def image_id(study: SimulatedStudy) -> str:
    """32 hexadecimal digits."""
    return hashlib.sha256(study.image_id.encode()).hexdigest()[:32]


def readings(study: SimulatedStudy) -> Iterator[tuple[str, list[str]]]:
    """What each reader sees: the findings of the image; of a train image, each may be overlooked."""
    seen = [name for name in study.masks if name in FINDINGS]
    if study.split == "test":
        yield "", seen
        return
    for number, reader in enumerate(READERS):
        rng = np.random.default_rng([study.index, number])
        yield reader, [name for name in seen if rng.random() >= OVERLOOKED]


def _boxes(study: SimulatedStudy, reader: str, found: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """A box around each part of a finding, a few pixels apart from one reader to the next; none has empty corners."""
    shift = READERS.index(reader) if reader else 0
    for name in found:
        for x, y, width, height in regions(study.masks[name]):
            yield FINDINGS[name], float(x + shift), float(y), float(x + shift + width), float(y + height)
    if not found:
        yield "No finding", *[None] * len(CORNERS)
