"""PadChest: 16-bit PNG in numbered folders, and one table with labels and the stemmed Spanish report of each image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import BITS, SimulatedStudy

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
FOLDERS = 3  # of the 52
HEADER = (
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Modality_DICOM", "Manufacturer_DICOM"),
    *("PhotometricInterpretation_DICOM", "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM"),
    *("SpatialResolution_DICOM", "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM"),
    *("Columns_DICOM", "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime"),
    *("RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel", "Labels", "Localizations"),
    *("LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS"),
)
WORDS = {  # finding -> stems of the report, and the label
    "effusion": ("derram pleural", "pleural effusion"),
    "pneumothorax": ("neumotorax", "pneumothorax"),
    "consolidation": ("condensacion", "consolidation"),
    "cardiomegaly": ("cardiomegali", "cardiomegaly"),
    "nodule": ("nodul pulmonar", "nodule"),
    "edema": ("edem pulmon", "pulmonary edema"),
    "atelectasis": ("atelectasi", "atelectasis"),
    "line": ("cateter venos central", "central venous catheter"),
    "tube": ("tub endotraqueal", "endotracheal tube"),
}
SIDES = {"left": "izquierd", "right": "derech"}
NOTHING = ("torax hallazg patolog relev", [["normal"]])


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """0/ and so on, and the table in `root`."""
    rows: list[tuple[Any, ...]] = []
    for study in studies:
        for name, projection, pixels in _images_of(study):
            folder = study.index % FOLDERS
            write_image(root / str(folder) / name, (pixels << (16 - BITS)).astype(np.uint16))
            rows.append((len(rows), *_row(study, name, folder, projection, pixels)))
    write_rows(root / TABLE, HEADER, rows)


def report_of(study: SimulatedStudy) -> tuple[str, list[list[str]]]:
    """The report in stems, and the labels and places of each of its sentences."""
    sides = {finding.name: finding.side for finding in study.findings}
    sentences, labels = [], []
    for name, value in study.statements.items():
        stems, label = WORDS[name]
        side = sides.get(name, "") if value else ""
        if value == 0:
            sentences.append(f"no identific {stems}")
            labels.append(["normal"])
        else:
            sentences.append(" ".join([*(["probabl"] if value < 0 else []), stems, SIDES.get(side, "")]).strip())
            labels.append([label, f"loc {side}"] if side in SIDES else [label])
    if not sentences:
        return NOTHING
    return " . ".join(sentences) + " .", labels


def patient_id(study: SimulatedStudy) -> str:
    """An identifier of the patient, in the form of the release."""
    return str(int(hashlib.sha256(study.subject_id.encode()).hexdigest(), 16))[:36]


def _images_of(study: SimulatedStudy) -> Iterator[tuple[str, str, np.ndarray]]:
    """File name, projection and pixels of the images of a study."""
    yield _name(study, "frontal"), "AP_horizontal" if study.view == "AP" else "PA", study.pixels
    if study.lateral is not None:
        yield _name(study, "lateral"), "L", study.lateral


def _name(study: SimulatedStudy, side: str) -> str:
    code = str(int(hashlib.sha256(f"{study.image_id}/{side}".encode()).hexdigest(), 16))
    return f"{_study_id(study)}_{code[:2]}-{code[2:5]}-{code[5:8]}.png"


def _study_id(study: SimulatedStudy) -> str:
    return f"2168401113669640{int(hashlib.sha256(study.study_id.encode()).hexdigest(), 16)}"[:45]


def _row(study: SimulatedStudy, name: str, folder: int, projection: str, pixels: np.ndarray) -> tuple[Any, ...]:
    text, by_sentence = report_of(study)
    found = list(dict.fromkeys(word for words in by_sentence for word in words if not word.startswith("loc ")))
    places = [", ".join(word for word in words if word.startswith("loc ")) for words in by_sentence]
    labels = [label for label in found if label != "normal"] or ["normal"]
    year = 2009 + study.index % 9
    method = "Physician" if study.split == "test" else "RNN_model"
    view = {"L": "LATERAL", "PA": "POSTEROANTERIOR"}.get(projection, "ANTEROPOSTERIOR")
    return (
        *(name, folder, f"{year}{1 + study.index % 12:02d}{1 + study.index % 28:02d}", _study_id(study)),
        *(patient_id(study), f"{year - study.age}.0", study.sex, view, projection, "Manual review of DICOM fields"),
        *("No", "CR", "PhilipsMedicalSystems", "MONOCHROME2", 0, None, 0.2, BITS, 2048, 4096, *pixels.shape),
        *(None, None, None, None, None, 4_000_000 + study.index, text, method),
        *(_listed(labels), str([place for place in places if place]), str(by_sentence), "[]", "[]"),
    )


def _listed(labels: Sequence[str]) -> str:
    """As a Python list; the release has blanks in front of some words."""
    return str([label if place == 0 else f" {label}" for place, label in enumerate(labels)])
