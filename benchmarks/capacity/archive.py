"""An archive of many tiny images, which costs little to write: hard links to a few files, and reports that vary.

It is a described archive (`archive.yaml` and a Parquet manifest with the reports in a column). Every image has a path
and an inode of its own name; its bytes are shared with others, which no stage of the ingestion looks at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.simulated import simulate_studies

FILES, SIDE = 200, 48  # different images, and their side in pixels
LINKS = 5_000  # in one folder, and to one file: file systems allow 65,000 links
STUDY, PATIENT = (1, 2, 1, 2, 2), 3  # images of successive studies (1.6 on average); studies of a patient
IMAGES_PER_STUDY = sum(STUDY) / len(STUDY)
ROWS_AT_ONCE = 100_000
SCHEMA = pa.schema([(name, pa.string()) for name in ("patient", "study", "path", "report")])
DESCRIPTION = """\
manifest: manifest.parquet
columns: {patient: patient, study: study, image: path}
report: {text: report}
"""
PLACES = ("left", "right", "left lower lobe", "right upper lobe", "lingula", "right middle lobe", "both bases")


def write_archive(root: Path, images: int, first: int = 0) -> None:
    """Write an archive of `images` images into `root`. Those from `first` on are new, the others are there."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "archive.yaml").write_text(DESCRIPTION)
    reports = [_findings(study.report) for study in simulate_studies(PhantomConfig(height=64), FILES)]
    _link_images(root, first, images)
    with pq.ParquetWriter(root / "manifest.parquet", SCHEMA, compression="zstd") as writer:
        for rows in _batches(images, reports):
            writer.write_table(pa.table(rows, schema=SCHEMA))


def image_path(index: int) -> str:
    """Path of an image relative to the root."""
    return f"images/{index // LINKS:05d}/{index:09d}.jpg"


def _link_images(root: Path, first: int, images: int) -> None:
    sources: dict[tuple[int, int], Path] = {}
    for index in range(first, images):
        path = root / image_path(index)
        if index % LINKS == 0 or index == first:
            path.parent.mkdir(parents=True, exist_ok=True)
        key = (index % FILES, index // (FILES * LINKS))
        if key not in sources:
            sources[key] = root / "sources" / f"{key[0]}-{key[1]}.jpg"
            _write_image(sources[key], key[0])
        os.link(sources[key], path)


def _write_image(path: Path, seed: int) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    grey = cv2.resize(random.integers(40, 215, (6, 6), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())


def _batches(images: int, reports: Sequence[str]) -> Iterator[dict[str, list[str]]]:
    rows: dict[str, list[str]] = {name: [] for name in SCHEMA.names}
    study = left = 0
    for index in range(images):
        left = left or STUDY[study % len(STUDY)]
        rows["patient"].append(f"P{study // PATIENT:09d}")
        rows["study"].append(f"S{study:09d}")
        rows["path"].append(image_path(index))
        rows["report"].append(_report(study, reports))
        left -= 1
        study += left == 0
        if len(rows["path"]) == ROWS_AT_ONCE:
            yield rows
            rows = {name: [] for name in SCHEMA.names}
    yield rows


def _findings(report: str) -> str:
    """The findings of a simulated report."""
    return "FINDINGS: " + " ".join(report.partition("FINDINGS:")[2].partition("IMPRESSION:")[0].split())


def _report(study: int, reports: Sequence[str]) -> str:
    """A report that no other study has, made of sentences that others have too; 330 characters on average."""
    more = f"{study % 97 + 3} mm nodule in the {PLACES[study % len(PLACES)]}, compared with {study:09d}."
    return f"{reports[study % len(reports)]} {more}"
