"""MURA 1.1: folders of regions, patients and studies with the label in the name, and tables without a header.

The images are chests all the same: a simulation of the layout, not of hands and shoulders.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import SimulatedStudy, to_grey

FOLDER = "MURA-v1.1"
REGIONS = ("ELBOW", "FINGER", "FOREARM", "HAND", "HUMERUS", "SHOULDER", "WRIST")


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write MURA-v1.1/ below `root`; patients keep their number in every region, as in the original."""
    paths: dict[str, list[list[str]]] = {"train": [], "valid": []}
    labels: dict[str, list[list[str]]] = {"train": [], "valid": []}
    for study in studies:
        part = "train" if study.split == "train" else "valid"
        folder = f"{FOLDER}/{part}/{study_folder(study)}"
        labels[part].append([f"{folder}/", str(int(abnormal(study)))])
        for number, pixels in enumerate([study.pixels, *([] if study.lateral is None else [study.lateral])], start=1):
            paths[part].append([f"{folder}/image{number}.png"])
            write_image(root / folder / f"image{number}.png", to_grey(pixels))
    for part in paths:
        write_rows(root / FOLDER / f"{part}_image_paths.csv", (), paths[part])
        write_rows(root / FOLDER / f"{part}_labeled_studies.csv", (), labels[part])


def abnormal(study: SimulatedStudy) -> bool:
    """Whether the study has a finding."""
    return bool(study.masks)


def study_folder(study: SimulatedStudy) -> str:
    """Region, patient and study; a patient's later studies are of other regions, and begin with study1 again."""
    region = REGIONS[(study.patient + study.visit) % len(REGIONS)]
    number = 1 + study.visit // len(REGIONS)
    return f"XR_{region}/patient{study.patient + 1:05d}/study{number}_{'positive' if abnormal(study) else 'negative'}"
