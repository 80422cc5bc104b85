"""MIMIC-CXR 2.0.0 as PhysioNet gives it, with the tables of MIMIC-CXR-JPG 2.1.0, which say views and splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cohorts.phantom.dicom import write_dicom
from cohorts.phantom.files import write_rows
from cohorts.phantom.layouts.mimic_cxr_jpg import DICOM_RELEASE, JPG_RELEASE, images_of, write_reports, write_tables
from cohorts.phantom.simulated import SimulatedStudy


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """mimic-cxr/2.0.0 with DICOM and reports, beside the tables of mimic-cxr-jpg/2.1.0."""
    images = list(images_of(studies))
    for number, image in enumerate(images):
        path = root / DICOM_RELEASE / image.folder / f"{image.study.image_id}.dcm"
        write_dicom(path, image.study.pixels, image.study, inverted=number % 2 == 1)
    records = [
        (i.study.subject_id, i.study.study_id, i.study.image_id, f"{i.folder}/{i.study.image_id}.dcm") for i in images
    ]
    lists = root / DICOM_RELEASE
    write_rows(lists / "cxr-record-list.csv.gz", ("subject_id", "study_id", "dicom_id", "path"), records)
    reports = dict.fromkeys((i.study.subject_id, i.study.study_id, f"{i.folder}.txt") for i in images)
    write_rows(lists / "cxr-study-list.csv.gz", ("subject_id", "study_id", "path"), list(reports))
    write_reports(root / DICOM_RELEASE, studies)
    write_tables(root / JPG_RELEASE, studies, images)
