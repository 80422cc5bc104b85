"""MIMIC-CXR-JPG 2.1.0 as PhysioNet gives it: its gzipped tables and JPG, and the unpacked reports of MIMIC-CXR."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import CHEXPERT_ORDER, SimulatedStudy, chexpert_labels
from store.atomic import write_text

DICOM_RELEASE, JPG_RELEASE = "mimic-cxr/2.0.0", "mimic-cxr-jpg/2.1.0"
LABELS = sorted(CHEXPERT_ORDER)
METADATA = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
VIEW_CODES = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}


@dataclass(frozen=True)
class Image:
    """One image of a study, with its folder."""

    study: SimulatedStudy  # with the identifier, view and pixels of this image

    @property
    def folder(self) -> str:
        """Folder of the image; the report lies beside it with `.txt`."""
        return f"files/p{self.study.subject_id[:2]}/p{self.study.subject_id}/s{self.study.study_id}"


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """mimic-cxr-jpg/2.1.0 with histogram-equalised JPG, beside the reports of mimic-cxr/2.0.0."""
    images = list(images_of(studies))
    names = [f"{image.folder}/{image.study.image_id}.jpg" for image in images]
    for image, name in zip(images, names, strict=True):
        write_image(root / JPG_RELEASE / name, cv2.equalizeHist(image.study.grey))
    write_text(root / JPG_RELEASE / "IMAGE_FILENAMES", "".join(f"{name}\n" for name in names))
    write_reports(root / DICOM_RELEASE, studies)
    write_tables(root / JPG_RELEASE, studies, images)


def images_of(studies: Sequence[SimulatedStudy]) -> Iterator[Image]:
    """The images of all studies: the frontal one, then the lateral one where there is one."""
    for study in studies:
        yield Image(study)
        if study.lateral is not None:
            code = hashlib.sha256(f"{study.image_id}/lateral".encode()).hexdigest()
            image_id = "-".join(code[start : start + 8] for start in range(0, 40, 8))
            yield Image(replace(study, image_id=image_id, view="LATERAL", pixels=study.lateral))


def write_reports(release: Path, studies: Sequence[SimulatedStudy]) -> None:
    """The text files of the reports, beside the folders of their studies."""
    for study in studies:
        write_text(release / f"{Image(study).folder}.txt", study.report)


def write_tables(release: Path, studies: Sequence[SimulatedStudy], images: Sequence[Image]) -> None:
    """The five tables of the JPG release."""
    shown = [image.study for image in images]
    write_rows(release / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, [_metadata(study) for study in shown])
    write_rows(
        release / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        [(study.image_id, study.study_id, study.subject_id, study.split) for study in shown],
    )
    for labeler in ("chexpert", "negbio"):
        write_rows(
            release / f"mimic-cxr-2.0.0-{labeler}.csv.gz",
            ("subject_id", "study_id", *LABELS),
            [(study.subject_id, study.study_id, *_as_floats(chexpert_labels(study.statements))) for study in studies],
        )
    write_rows(
        release / "mimic-cxr-2.1.0-test-set-labeled.csv",
        ("study_id", *(name.replace("Lung Opacity", "Airspace Opacity") for name in LABELS)),
        [
            (study.study_id, *_as_floats(chexpert_labels(dict.fromkeys(study.masks, 1))))
            for study in studies
            if study.split == "test"
        ],
    )


def _metadata(study: SimulatedStudy) -> tuple[Any, ...]:
    rows, columns = study.pixels.shape
    time = f"{study.index % 24:02d}{study.index * 7 % 60:02d}{study.index * 13 % 60:02d}.{study.index * 17 % 1000:03d}"
    return (
        study.image_id,
        study.subject_id,
        study.study_id,
        "CHEST (PA AND LAT)" if study.view != "AP" else "CHEST (PORTABLE AP)",
        study.view,
        rows,
        columns,
        21100101 + study.index % 28,
        time,
        "CHEST (PA AND LAT)" if study.view != "AP" else "CHEST (PORTABLE AP)",
        VIEW_CODES[study.view],
        "Erect",
    )


def _as_floats(labels: dict[str, int | None]) -> list[float | None]:
    return [None if (value := labels[name]) is None else float(value) for name in LABELS]
