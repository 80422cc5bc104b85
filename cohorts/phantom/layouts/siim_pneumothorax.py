"""SIIM-ACR Pneumothorax, stage 1: nested folders of DICOM, and run-length masks that count from the run before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cohorts.phantom.files import replace_text
from cohorts.phantom.layouts.drawn import DrawnStudy, runs
from cohorts.phantom.layouts.jpeg_dicom import uids, write_jpeg_dicom
from cohorts.phantom.layouts.rsna_pneumonia import SIZE, patient_id

FINDING = "pneumothorax"


def write(root: Path, studies: Sequence[DrawnStudy]) -> None:
    """dicom-images-train/, dicom-images-test/ (not labelled) and train-rle.csv in `root`."""
    lines = ["ImageId, EncodedPixels"]
    for study in studies:
        film = study.resized(SIZE, SIZE)
        study_uid, series_uid, image_uid = uids(study)
        folder = "dicom-images-test" if study.split == "test" else "dicom-images-train"
        write_jpeg_dicom(root / folder / study_uid / series_uid / f"{image_uid}.dcm", film, patient_id(study))
        if study.split != "test":
            lines += [f"{image_uid}, {encoded}" for encoded in encode(film)]
    replace_text(root / "train-rle.csv", "".join(f"{line}\n" for line in lines))


def encode(film: DrawnStudy) -> list[str]:
    """`EncodedPixels` of each connected region, or one -1: pairs of the gap since the last run, and a run."""
    if FINDING not in film.masks:
        return ["-1"]
    count, labelled = cv2.connectedComponents(film.masks[FINDING].astype(np.uint8))
    return [_pairs(labelled == number) for number in range(1, count)]


def _pairs(mask: np.ndarray) -> str:
    position, pairs = 0, []
    for start, length in runs(mask):
        pairs.append(f"{start - position} {length}")
        position = start + length
    return " ".join(pairs)
