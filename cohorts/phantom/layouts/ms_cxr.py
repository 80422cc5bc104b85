"""MS-CXR 1.1.0: the table of phrases with boxes beside MIMIC-CXR-JPG, which has the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cohorts.phantom.files import write_rows
from cohorts.phantom.layouts import mimic_cxr_jpg
from cohorts.phantom.simulated import SimulatedStudy, regions

TABLE = "ms-cxr/1.1.0/MS_CXR_Local_Alignment_v1.1.0.csv"
HEADER = (
    *("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height", "split"),
)
CATEGORIES = {  # finding -> category, and the words of the phrase
    "atelectasis": ("Atelectasis", "basilar atelectasis"),
    "cardiomegaly": ("Cardiomegaly", "enlarged heart"),
    "consolidation": ("Consolidation", "focal consolidation"),
    "edema": ("Edema", "interstitial edema"),
    "nodule": ("Lung Opacity", "rounded opacity"),
    "effusion": ("Pleural Effusion", "pleural effusion"),
    "pneumothorax": ("Pneumothorax", "apical pneumothorax"),
}
SPLITS = {"train": "train", "validate": "val", "test": "test"}


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """mimic-cxr-jpg/ and ms-cxr/ below `root`."""
    mimic_cxr_jpg.write(root, studies)
    write_rows(root / TABLE, HEADER, [row for study in studies for row in _rows(study)])


def phrases(study: SimulatedStudy) -> Iterator[tuple[str, str, str]]:
    """Finding, category and phrase of what a box is drawn around."""
    for finding in study.findings:
        if finding.name in CATEGORIES and regions(study.masks[finding.name]):
            category, words = CATEGORIES[finding.name]
            yield finding.name, category, f"{finding.side} {words}" if finding.side else words


def _rows(study: SimulatedStudy) -> Iterator[tuple[Any, ...]]:
    height, width = study.pixels.shape
    path = f"{mimic_cxr_jpg.Image(study).folder}/{study.image_id}.jpg"
    for name, category, phrase in phrases(study):
        for box in regions(study.masks[name]):
            yield study.image_id, category, phrase, path, *box, width, height, SPLITS[study.split]
