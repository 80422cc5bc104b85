"""SIIM-ACR Pneumothorax, stage 1: nested folders of DICOM, and run-length masks that count from the run before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cohorts.phantom.dicom.jpeg import uids, write_jpeg_dicom
from cohorts.phantom.layouts.rsna_pneumonia import SIZE, patient_id
from cohorts.phantom.simulated import SimulatedStudy, runs
from imaging.shapes import bounding_box
from store.atomic import write_text

FINDING = "pneumothorax"


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """dicom-images-train/, dicom-images-test/ (not labelled) and train-rle.csv in `root`."""
    lines = ["ImageId, EncodedPixels"]
    for study in studies:
        image = study.resized(SIZE, SIZE)
        study_uid, series_uid, image_uid = uids(study)
        folder = "dicom-images-test" if study.split == "test" else "dicom-images-train"
        write_jpeg_dicom(root / folder / study_uid / series_uid / f"{image_uid}.dcm", image, patient_id(study))
        if study.split != "test":
            lines += [f"{image_uid}, {encoded}" for encoded in encode(image)]
    write_text(root / "train-rle.csv", "".join(f"{line}\n" for line in lines))


def encode(image: SimulatedStudy) -> list[str]:
    """`EncodedPixels` of each region, or one -1: pairs of the gap since the last run, and a run."""
    if FINDING not in image.masks:
        return ["-1"]
    return [_pairs(region) for region in _regions(image.masks[FINDING], image.index)]


def _regions(mask: np.ndarray, index: int) -> list[np.ndarray]:
    """The mask as one region or, in every other image, as two that overlap, like those of two readers."""
    box = bounding_box(mask)
    if index % 2 or box is None:
        return [mask]
    rows = np.arange(len(mask))[:, None]
    above, below = rows < box[1] + 0.6 * box[3], rows >= box[1] + 0.4 * box[3]
    return [part for part in (mask & above, mask & below) if part.any()]


def _pairs(mask: np.ndarray) -> str:
    position, pairs = 0, []
    for start, length in runs(mask):
        pairs.append(f"{start - position} {length}")
        position = start + length
    return " ".join(pairs)
