"""COVIDx CXR as Kaggle has it (V9, CXR-2), with the A and B label files of COVID-Net beside it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path

from cohorts.phantom.files import write_image
from cohorts.phantom.simulated import SimulatedStudy
from store.atomic import write_text

TWO_CLASSES = {"COVID-19": "positive", "pneumonia": "negative", "normal": "negative"}
OTHER_FILES = {"COVIDx9A": False, "COVIDx9B": True, "COVIDx_CXR-3A": False, "COVIDx_CXR-3B": True}
EXTENSIONS = (".jpeg", ".jpg", ".png", ".JPG")


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write train/, test/ and the label files; the validation patients are in train, as in the release."""
    lines: dict[str, list[tuple[str, str, str, str]]] = {"train": [], "test": []}
    for study in studies:
        folder = "test" if study.split == "test" else "train"
        patient, name, source = names(study)
        write_image(root / folder / name, study.grey)
        lines[folder].append((patient, name, class_of(study), source))
    for folder, rows in lines.items():
        write_lines(root / f"{folder}.txt", rows, two_classes=True)
        for suffix, two_classes in OTHER_FILES.items():
            write_lines(root / "labels" / f"{folder}_{suffix}.txt", rows, two_classes)


def write_lines(path: Path, rows: Sequence[tuple[str, str, str, str]], two_classes: bool) -> None:
    """Patient, file name, class and source of each image, separated by blanks, without a header."""
    lines = [
        f"{patient} {name} {TWO_CLASSES[three] if two_classes else three} {source}\n"
        for patient, name, three, source in rows
    ]
    write_text(path, "".join(lines))


def class_of(study: SimulatedStudy) -> str:
    """Consolidations stand for COVID-19, other diseases of the lung for pneumonia."""
    if "consolidation" in study.masks:
        return "COVID-19"
    return "pneumonia" if study.masks.keys() & {"edema", "atelectasis", "effusion"} else "normal"


def names(study: SimulatedStudy) -> tuple[str, str, str]:
    """Patient, file name and source, each source with its own way of naming."""
    code = hashlib.sha256(study.image_id.encode()).hexdigest()
    if class_of(study) != "COVID-19":
        patient = str(
            uuid.UUID(hashlib.md5(study.subject_id.encode()).hexdigest())
        )  # RSNA has one image of each patient
        return patient, patient + (f"-{study.visit}" if study.visit else "") + ".png", "rsna"
    number = study.patient + 1
    if study.patient % 3 == 0:
        return str(number), f"{code[:30]}_jumbo{EXTENSIONS[study.index % len(EXTENSIONS)]}", "cohen"
    if study.patient % 3 == 1:
        blank = "" if study.patient % 2 else " "
        return f"COVID {number}", f"COVID{blank}({number + 1000 * study.visit}).png", "sirm"
    return f"419639-{number:06d}", f"MIDRC-RICORD-1C-419639-{number:06d}-{study.index:05d}-0.png", "ricord"
