"""Simulated studies, which every layout can write: images, findings and their masks, reports and patients."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cohorts.phantom.archive import Study, plan_studies
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.findings import Finding
from cohorts.phantom.image import SimulatedImage, sample_findings, simulate_image
from cohorts.phantom.patients import plant_faults
from cohorts.phantom.report import Report, write_report
from imaging.letterbox import Box
from imaging.shapes import bounding_box

LATERAL_SHARE = 0.5  # of the studies have a second image, from the side
BITS = 12  # of a simulated image


@dataclass(frozen=True)
class SimulatedStudy:
    """One simulated study: a frontal image, sometimes a lateral one, the findings in it, and the report."""

    index: int  # place in the archive
    patient: int  # number of the patient, from 0; a patient's studies follow one another
    visit: int  # number of the study among those of its patient, from 0
    subject_id: str  # eight digits, the identifiers of MIMIC-CXR; other layouts make theirs of the numbers above
    study_id: str
    image_id: str
    split: str  # train, validate, test; the same for all studies of a patient
    view: str  # PA or AP
    age: int
    sex: str  # M or F
    pixels: np.ndarray  # (height, width) uint16, 12 bits, MONOCHROME2
    lateral: np.ndarray | None  # an image from the side, of the same height
    findings: tuple[Finding, ...]
    masks: dict[str, np.ndarray]  # (height, width) bool by the name of the finding
    report: str
    statements: dict[str, int]  # what the report says of the findings it names: 1 present, 0 absent, -1 uncertain

    @property
    def grey(self) -> np.ndarray:
        """The image as (height, width) uint8."""
        return to_grey(self.pixels)

    def present(self) -> set[str]:
        """Findings that the report calls present: what labels mined from it would say."""
        return {name for name, value in self.statements.items() if value == 1}

    def resized(self, height: int, width: int) -> SimulatedStudy:
        """The same study with frontal image and masks of another size."""
        pixels = cv2.resize(self.pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        masks = {
            name: cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
            for name, mask in self.masks.items()
        }
        return replace(self, pixels=pixels, masks=masks)


def simulate_studies(config: PhantomConfig, count: int) -> list[SimulatedStudy]:
    """The first `count` studies of `config`: the same ones, however many are asked for."""
    studies: list[SimulatedStudy] = []
    for study in plan_studies(replace(config, studies=count)):
        last = studies[-1] if studies else None
        same = last is not None and last.subject_id == study.subject_id
        image, lateral, report = _simulate_one(config, study)
        patient = int.from_bytes(hashlib.sha256(study.subject_id.encode()).digest()[:4], "big")
        studies.append(
            SimulatedStudy(
                index=study.index,
                patient=0 if last is None else last.patient + (not same),
                visit=last.visit + 1 if last and same else 0,
                subject_id=study.subject_id,
                study_id=study.study_id,
                image_id=study.image_id,
                split=study.split,
                view=study.view,
                age=20 + patient % 70,
                sex="MF"[patient % 2],
                pixels=image.pixels,
                lateral=lateral,
                findings=image.findings,
                masks=image.masks,
                report=report.text,
                statements=report.statements,
            )
        )
    return studies


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """12 bits to 8."""
    return (pixels >> (BITS - 8)).astype(np.uint8)


def regions(mask: np.ndarray, least: int = 9) -> list[Box]:
    """The boxes (x, y, width, height) around the connected parts of a mask that have `least` pixels, from the left."""
    count, labelled = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    parts = [labelled == number for number in range(1, count)]
    boxes = [bounding_box(part) for part in parts if part.sum() >= least]
    return sorted(box for box in boxes if box)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """The runs of a mask, read column by column, as (start, length)."""
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return [(int(start), int(end - start)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def chexpert_labels(statements: Mapping[str, int]) -> dict[str, int | None]:
    """What a CheXpert labeler would make of the statements of a report; None where it finds no mention.

    The keys are in the order of CheXpert's own tables.
    """
    said = {label: statements.get(name) for label, name in CHEXPERT_FINDINGS.items()}
    devices = [statements.get(name) for name in ("line", "tube")]
    said["Support Devices"] = 1 if 1 in devices else next((value for value in devices if value is not None), None)
    opacities = [statements.get(name) for name in ("consolidation", "edema", "atelectasis", "nodule")]
    said["Lung Opacity"] = 1 if 1 in opacities else None
    diseases = [value for label, value in said.items() if label != "Support Devices"]
    said["No Finding"] = None if 1 in diseases or -1 in diseases else 1
    return {label: said.get(label) for label in CHEXPERT_ORDER}


CHEXPERT_ORDER = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
CHEXPERT_FINDINGS = {
    "Cardiomegaly": "cardiomegaly",
    "Lung Lesion": "nodule",
    "Edema": "edema",
    "Consolidation": "consolidation",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "effusion",
}


def _simulate_one(config: PhantomConfig, study: Study) -> tuple[SimulatedImage, np.ndarray | None, Report]:
    rng = np.random.default_rng([config.seed, study.index, 1])
    findings = plant_faults(config, study, sample_findings(config, rng))
    image = simulate_image(config, findings, rng)
    report = write_report(config, image.findings, rng)
    aside = np.random.default_rng([config.seed, study.index, 2])
    lateral = _from_the_side(image.pixels) if aside.random() < LATERAL_SHARE else None
    return image, lateral, report


def _from_the_side(pixels: np.ndarray) -> np.ndarray:
    """A stand-in for a lateral image: both sides of the chest over each other, narrower."""
    height, width = pixels.shape
    both = (pixels.astype(np.float32) + pixels[:, ::-1]) / 2
    return cv2.resize(both, (round(width * 0.8), height), interpolation=cv2.INTER_AREA).astype(np.uint16)
