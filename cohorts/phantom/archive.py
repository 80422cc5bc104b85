"""Writes a simulated archive in the layout of MIMIC-CXR 2.0.0, with the ground truth beside it.

`files/` and the three tables are those of the real archive. `truth/` holds what only a simulator knows: `labels.csv`,
`boxes.csv`, one mask per finding, and in `facts.csv` what MIMIC-CXR does not say: date, sex, age, device and site.
Study `i` depends on the seed and on `i` alone. Existing files are kept, so an archive can be extended.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cohorts.phantom.config import FINDINGS, VERSION, PhantomConfig
from cohorts.phantom.dicom import write_dicom
from cohorts.phantom.image import SimulatedImage, sample_findings, simulate_image
from cohorts.phantom.patients import facts_of, plant_faults
from cohorts.phantom.report import Report, write_report
from imaging.shapes import bounding_box
from store.atomic import replacing, write_text
from store.errors import SettingError

RECORD = "phantom.json"
FACTS = Path("truth", "facts.csv")
SPLITS = (("train", 0.72), ("validate", 0.82), ("test", 1.0))  # cumulative shares of the patients
SAME_PATIENT = 0.25  # probability that a study is another one of the patient before
# Columns of the CheXpert table that the simulated reports can speak of.
CHEXPERT = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "edema",
    "Enlarged Cardiomediastinum": None,
    "Fracture": None,
    "Lung Lesion": "nodule",
    "Lung Opacity": None,
    "No Finding": None,
    "Pleural Effusion": "effusion",
    "Pleural Other": None,
    "Pneumonia": None,
    "Pneumothorax": "pneumothorax",
    "Support Devices": "line",
}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Study:
    """Identifiers of one simulated study: one image, one report."""

    index: int
    subject_id: str
    study_id: str
    image_id: str
    split: str
    view: str

    @property
    def folder(self) -> str:
        """Folder of the study's images; the report lies beside it with `.txt`."""
        return f"files/p{self.subject_id[:2]}/p{self.subject_id}/s{self.study_id}"

    @property
    def image_path(self) -> str:
        """Path of the image."""
        return f"{self.folder}/{self.image_id}.dcm"

    def mask_path(self, finding: str) -> str:
        """Path of the mask of one finding."""
        return f"truth/masks/p{self.subject_id}/{self.image_id}-{finding}.png"


def simulate(root: Path, config: PhantomConfig, progress: Progress | None = None) -> dict[str, int]:
    """Write the archive `config` describes into `root`; returns how many studies it has and how many are new.

    An archive whose record equals `config` is left as it is. `progress(done, total)` is called from time to time.
    """
    record = {"version": VERSION, **asdict(config)}
    previous = read_record(root)
    if previous == record:
        if not (root / FACTS).exists():  # of an archive that was simulated before there were any
            write_facts(root, config, plan_studies(config))
        return {"studies": config.studies, "computed": 0}
    if previous is not None and {**previous, "studies": config.studies} != record:
        raise SettingError(
            f"{root} holds an archive simulated with other settings than those asked for; choose another folder "
            f"(RADALIGN_PHANTOM_ROOT) or delete this one"
        )
    kept = 0 if previous is None else min(int(previous["studies"]), config.studies)
    studies = plan_studies(config)
    statements = simulate_missing(root, config, studies, progress)
    write_tables(root, studies, statements)
    write_facts(root, config, studies)
    write_text(root / RECORD, json.dumps(record, indent=1))
    return {"studies": config.studies, "computed": config.studies - kept}


def read_record(root: Path) -> dict[str, Any] | None:
    """What the archive in `root` was made with, or None. A setting that is newer than the archive has its default."""
    path = root / RECORD
    if not path.exists():
        return None
    return {**asdict(PhantomConfig()), **json.loads(path.read_text(encoding="utf-8"))}


def plan_studies(config: PhantomConfig) -> list[Study]:
    """Identifiers, splits and views of all studies; a patient's studies follow one another."""
    studies: list[Study] = []
    for index in range(config.studies):
        rng = np.random.default_rng([config.seed, index, 0])
        digits = int(rng.integers(10**6, 10**7))
        subject = f"1{(index * 7919 + config.seed) % 10**7:07d}"
        if studies and rng.random() < SAME_PATIENT:
            subject = studies[-1].subject_id
        share = int(hashlib.sha256(f"{config.seed}/{subject}".encode()).hexdigest()[:8], 16) / 2**32
        split = next(name for name, limit in SPLITS if share < limit)
        code = hashlib.sha256(f"{config.seed}/{index}/{digits}".encode()).hexdigest()[:40]
        image_id = "-".join(code[start : start + 8] for start in range(0, 40, 8))
        view = "AP" if rng.random() < 0.6 else "PA"
        studies.append(Study(index, subject, f"5{index:07d}", image_id, split, view))
    return studies


def simulate_missing(
    root: Path, config: PhantomConfig, studies: list[Study], progress: Progress | None
) -> list[dict[str, Any]]:
    """Simulate the studies that are missing, on all cores; returns one record of statements and truth per study."""
    work = partial(write_study, root, config)
    workers = min(os.cpu_count() or 1, 1 + len(studies) // 200)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        records = []
        for record in pool.map(work, studies, chunksize=16):
            records.append(record)
            if progress and len(records) % 100 == 0:
                progress(len(records), len(studies))
    return records


def write_study(root: Path, config: PhantomConfig, study: Study) -> dict[str, Any]:
    """Simulate one study. Its record is written last and shows that the study is complete."""
    record_path = root / "truth" / "records" / study.study_id[:5] / f"{study.study_id}.json"
    if record_path.exists():
        return json.loads(record_path.read_text(encoding="utf-8"))
    rng = np.random.default_rng([config.seed, study.index, 1])
    findings = plant_faults(config, study, sample_findings(config, rng))
    image = simulate_image(config, findings, rng)
    report = write_report(config, image.findings, rng)
    inverted = bool(rng.random() < 0.5)
    write_text(root / f"{study.folder}.txt", report.text)
    write_masks(root, study, image)
    write_dicom(root / study.image_path, image.pixels, study, inverted)
    record = describe_truth(image, report)
    write_text(record_path, json.dumps(record))
    return record


def describe_truth(image: SimulatedImage, report: Report) -> dict[str, Any]:
    """The findings in the image, with boxes in pixels, and what the report says of them."""
    boxes: dict[str, list[float]] = {}
    for name, mask in image.masks.items():
        box = bounding_box(mask)
        assert box is not None  # simulate_image leaves out what left no mark
        boxes[name] = list(box)
    height, width = image.pixels.shape
    findings = [asdict(finding) for finding in image.findings]
    return {"height": height, "width": width, "findings": findings, "boxes": boxes, "says": report.statements}


def write_masks(root: Path, study: Study, image: SimulatedImage) -> None:
    """Write one 8-bit PNG per finding: 255 where it is visible."""
    for finding, mask in image.masks.items():
        path = root / study.mask_path(finding)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])


def write_tables(root: Path, studies: list[Study], records: list[dict[str, Any]]) -> None:
    """The archive's own tables, and the truth tables."""
    pairs = list(zip(studies, records, strict=True))
    ids = [{"dicom_id": s.image_id, "subject_id": s.subject_id, "study_id": s.study_id} for s in studies]
    metadata = [
        {**row, "ViewPosition": study.view, "Rows": record["height"], "Columns": record["width"]}
        for row, (study, record) in zip(ids, pairs, strict=True)
    ]
    split = [
        {"dicom_id": s.image_id, "study_id": s.study_id, "subject_id": s.subject_id, "split": s.split} for s in studies
    ]
    chexpert = [
        {"subject_id": s.subject_id, "study_id": s.study_id}
        | {column: record["says"].get(name) for column, name in CHEXPERT.items()}
        for s, record in pairs
    ]
    labels = [
        {"dicom_id": s.image_id} | {name: int(name in record["boxes"]) for name in FINDINGS} for s, record in pairs
    ]
    boxes = [
        {"dicom_id": s.image_id, **finding, **dict(zip("xywh", record["boxes"][finding["name"]], strict=True))}
        | {"mask": s.mask_path(finding["name"])}
        for s, record in pairs
        for finding in record["findings"]
    ]
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", split)
    write_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", chexpert)
    write_csv(root / "truth" / "labels.csv", labels)
    write_csv(root / "truth" / "boxes.csv", boxes)


def write_facts(root: Path, config: PhantomConfig, studies: list[Study]) -> None:
    """The table of what is known of each study and its patient."""
    write_csv(root / FACTS, [{"dicom_id": study.image_id, **asdict(facts_of(config, study))} for study in studies])


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV, gzipped by the name, the same bytes for the same rows."""
    import pandas as pd

    content = pd.DataFrame(rows).to_csv(index=False).encode()
    with replacing(path) as partial:
        if path.suffix != ".gz":
            partial.write_bytes(content)
            return
        header_name = f"{path.name}.partial"  # part of the bytes, so it must not follow from the process
        with partial.open("wb") as file, gzip.GzipFile(header_name, "wb", fileobj=file, mtime=0) as packed:
            packed.write(content)
            packed.flush()  # a block of its own, as in archives that were simulated before
