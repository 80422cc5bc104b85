"""A ChestX-ray14 image as the RSNA and SIIM challenges wrapped it: 8-bit JPEG baseline in a DCMTK secondary capture."""

from __future__ import annotations

from pathlib import Path

import cv2
from pydicom.config import disable_value_validation
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, SecondaryCaptureImageStorage

from cohorts.phantom.simulated import SimulatedStudy
from store.atomic import replacing

UID_ROOT = "1.2.276.0.7230010.3.1"  # DCMTK
QUALITY = 92


def uids(study: SimulatedStudy) -> tuple[str, str, str]:
    """Study, series and image UID, built as DCMTK builds them: kind, host, process, second, count."""
    tail = f"{6000 + study.index}.15178752{study.index % 100:02d}"
    return (
        f"{UID_ROOT}.2.8323329.{tail}.{850818 + study.index}",
        f"{UID_ROOT}.3.8323329.{tail}.{850817 + study.index}",
        f"{UID_ROOT}.4.8323329.{tail}.{850819 + study.index}",
    )


def write_jpeg_dicom(path: Path, study: SimulatedStudy, patient_id: str) -> None:
    """Write the image of `study` under `path`. The age is a bare number, against the standard, as in the challenges."""
    with disable_value_validation():
        image = _header(path, study, patient_id)
        _, jpeg = cv2.imencode(".jpg", study.grey, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        image.PixelData = encapsulate([jpeg.tobytes()])
        image["PixelData"].VR = "OB"
        with replacing(path) as partial_path:
            image.save_as(partial_path, enforce_file_format=True)


def _header(path: Path, study: SimulatedStudy, patient_id: str) -> FileDataset:
    study_uid, series_uid, image_uid = uids(study)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(image_uid)
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.ImplementationClassUID = UID("1.2.276.0.7230010.3.0.3.6.0")
    meta.ImplementationVersionName = "OFFIS_DCMTK_360"
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, image_uid
    image.StudyDate, image.StudyTime, image.AccessionNumber = "19010101", "000000.00", ""
    image.Modality, image.ConversionType, image.ReferringPhysicianName = "CR", "WSD", ""
    image.SeriesDescription = f"view: {study.view}"
    image.PatientName = image.PatientID = patient_id
    image.PatientBirthDate, image.PatientSex, image.PatientAge = "", study.sex, str(study.age)
    image.BodyPartExamined, image.ViewPosition = "CHEST", study.view
    image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
    image.StudyID, image.SeriesNumber, image.InstanceNumber, image.PatientOrientation = "", "1", "1", ""
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = study.pixels.shape
    image.PixelSpacing = [0.168, 0.168]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.LossyImageCompression, image.LossyImageCompressionMethod = "01", "ISO_10918_1"
    return image
