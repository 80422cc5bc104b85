"""DICOM files made to measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

WriteDicom = Callable[..., Path]


@pytest.fixture(scope="session")
def write_dicom(tmp_path_factory: pytest.TempPathFactory) -> WriteDicom:
    """Writes monochrome pixels as an uncompressed DICOM file; further attributes by keyword, None removes."""
    folder = tmp_path_factory.mktemp("dicom")

    def write(pixels: np.ndarray, name: str = "image.dcm", bits: int = 0, **attributes: Any) -> Path:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = ComputedRadiographyImageStorage
        dataset.SOPInstanceUID = generate_uid()
        dataset.PatientName = "Identifying^Name"
        dataset.Modality = "CR"
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.BitsAllocated = pixels.itemsize * 8
        dataset.BitsStored = bits or dataset.BitsAllocated
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OW"
        path = folder / name
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write
