"""A hospital's export as a tree of DICOM files: real objects, written with the attributes that a test needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from cohorts.base import Scan
from cohorts.readers.archive import Archive
from cohorts.views import KINDS
from tests.cohorts.scans import check

RADIOGRAPH: Mapping[str, Any] = {
    "SOPClassUID": ComputedRadiographyImageStorage,
    "Modality": "CR",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "StudyDate": "20200131",
    "PatientSex": "F",
    "PatientAge": "045Y",
    "Manufacturer": "ACME",
    "ManufacturerModelName": "Ray 3",
    "InstitutionName": "St. Elsewhere",
    "PatientName": "Doe^Jane",
}
BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"
REPORT = "FINDINGS: The lungs are clear. No pleural effusion.\nIMPRESSION: No acute disease."


def open_tree(folder: Path, description: str = "split: 70/10/20", views: tuple[str, ...] = KINDS) -> Archive:
    """The archive in `folder / "tree"` with a description, and its home beside it."""
    (folder / "tree").mkdir(exist_ok=True)
    (folder / "tree" / "archive.yaml").write_text(description + "\n", encoding="utf-8")
    return Archive(folder / "tree", views=views, home=folder / "home")


def scan_tree(folder: Path, description: str = "split: 70/10/20", views: tuple[str, ...] = KINDS) -> Scan:
    """The scan of the archive of `open_tree`."""
    return check(open_tree(folder, description, views).scan())


def reasons(scan: Scan) -> dict[str, str]:
    """The reason of each reject by its path."""
    return dict(zip(scan.rejects["source_path"].to_pylist(), scan.rejects["reason"].to_pylist(), strict=True))


def studies(scan: Scan) -> dict[str, dict[str, Any]]:
    """The studies by path."""
    return {row["image_path"]: row for row in scan.studies.to_pylist()}


def write_object(
    path: Path,
    number: int,
    pixels: np.ndarray | None = None,
    preamble: bool = True,
    syntax: str = ExplicitVRLittleEndian,
    **changes: Any,
) -> Path:
    """Image `number` of patient and study `number` with the attributes RADIOGRAPH and `changes`; None removes one."""
    pixels = (np.arange(64 * 64).reshape(64, 64) % 4096) if pixels is None else pixels
    identifiers = {
        "SOPInstanceUID": f"1.2.3.{number}",
        "StudyInstanceUID": f"1.2.4.{number}",
        "SeriesInstanceUID": f"1.2.5.{number}",
        "PatientID": f"PAT{number:04d}",
        "AccessionNumber": f"A{number:05d}",
        "StudyID": f"S{number}",
    }
    shape = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": pixels.astype("<u2").tobytes(),
    }
    return _save(path, {**identifiers, **RADIOGRAPH, **shape, **changes}, syntax, preamble)


def write_report(path: Path, number: int, items: Iterable[Dataset], **changes: Any) -> Path:
    """A structured report of study `number` with the content `items`."""
    attributes = {
        "SOPClassUID": BASIC_TEXT,
        "SOPInstanceUID": f"1.2.6.{number}.{path.name}",
        "StudyInstanceUID": f"1.2.4.{number}",
        "Modality": "SR",
        "PatientID": f"PAT{number:04d}",
        "PatientName": "Doe^Jane",
        "ContentDate": "20200131",
        "ContentTime": "120000",
        "VerificationFlag": "VERIFIED",
        "CompletionFlag": "COMPLETE",
        "ValueType": "CONTAINER",
        "ContentSequence": Sequence(list(items)),
    }
    return _save(path, {**attributes, **changes})


def item(kind: str, code: str, meaning: str, relation: str = "CONTAINS", **content: Any) -> Dataset:
    """An item of a content tree with the name `meaning`; `content` has its value or its items."""
    concept = Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = code, "DCM", meaning
    found = Dataset()
    found.ValueType, found.RelationshipType = kind, relation
    found.ConceptNameCodeSequence = Sequence([concept])
    for keyword, value in content.items():
        setattr(found, keyword, Sequence(value) if isinstance(value, list) else value)
    return found


def write_directory(path: Path, names: Iterable[str | list[str]]) -> Path:
    """A DICOMDIR that names files."""
    records = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType, record.RecordInUseFlag, record.ReferencedFileID = "IMAGE", 0xFFFF, name
        records.append(record)
    return _save(path, {"SOPClassUID": MediaStorageDirectoryStorage, "DirectoryRecordSequence": Sequence(records)})


def _save(
    path: Path, attributes: Mapping[str, Any], syntax: str = ExplicitVRLittleEndian, preamble: bool = True
) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = attributes["SOPClassUID"]
    meta.MediaStorageSOPInstanceUID = attributes.get("SOPInstanceUID") or "1.2.3"
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    if attributes["SOPClassUID"] == MediaStorageDirectoryStorage:
        attributes = {keyword: value for keyword, value in attributes.items() if keyword != "SOPClassUID"}
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    if preamble:
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.preamble, dataset.file_meta = None, FileMetaDataset()
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    return path
