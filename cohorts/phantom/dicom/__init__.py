"""A simulated image as a DICOM file a hospital could have sent: 12 bits stored, MONOCHROME1 or MONOCHROME2."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from store.atomic import replacing

BITS_STORED = 12


class Identified(Protocol):
    """What a header needs to know of an image."""

    @property
    def subject_id(self) -> str: ...  # noqa: D102
    @property
    def study_id(self) -> str: ...  # noqa: D102
    @property
    def image_id(self) -> str: ...  # noqa: D102
    @property
    def view(self) -> str: ...  # noqa: D102


def write_dicom(path: Path, pixels: np.ndarray, study: Identified, inverted: bool) -> None:
    """Write `pixels` (height, width) uint16; `inverted` stores them as MONOCHROME1, where 0 is white."""
    stored = (2**BITS_STORED - 1 - pixels if inverted else pixels).astype("<u2")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[study.image_id])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID = meta.MediaStorageSOPClassUID
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID = generate_uid(entropy_srcs=[study.study_id, study.image_id])
    image.SeriesInstanceUID = generate_uid(entropy_srcs=["series", study.image_id])
    image.PatientID, image.StudyID = study.subject_id, study.study_id
    image.PatientName = "Phantom^Simulated"
    image.Modality, image.BodyPartExamined, image.ViewPosition = "CR", "CHEST", study.view
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, BITS_STORED, BITS_STORED - 1
    image.PixelRepresentation = 0
    low, high = np.percentile(stored, [0.5, 99.5])
    image.WindowCenter, image.WindowWidth = float(round((low + high) / 2)), float(max(round(high - low), 2))
    image.PixelData = stored.tobytes()
    with replacing(path) as partial_path:
        image.save_as(partial_path, enforce_file_format=True)
