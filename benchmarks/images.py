"""Synthetic radiographs as DICOM files of every transfer syntax, for benchmarks and tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

WINDOW = {"WindowCenter": 2000, "WindowWidth": 3200}  # cuts off both ends of a 12-bit image
BITS = 12


@dataclass(frozen=True)
class Compression:
    """A transfer syntax, what makes its codestream of uint16 pixels below 4096, and how far that may change them."""

    syntax: uid.UID
    encode: Callable[[np.ndarray], bytes] | None = None  # None: not compressed, or by pydicom
    error: int = 0


def _jpeg(**options: Any) -> Callable[[np.ndarray], bytes]:
    return lambda pixels: bytes(imagecodecs.jpeg8_encode(pixels, bitspersample=BITS, **options))


def _jpeg_2000(**options: Any) -> Callable[[np.ndarray], bytes]:
    return lambda pixels: bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=BITS, **options))


COMPRESSIONS: Mapping[str, Compression] = {
    "implicit": Compression(uid.ImplicitVRLittleEndian),
    "explicit": Compression(uid.ExplicitVRLittleEndian),
    "big_endian": Compression(uid.ExplicitVRBigEndian),
    "deflated": Compression(uid.DeflatedExplicitVRLittleEndian),
    "rle": Compression(uid.RLELossless),
    "jpeg_extended": Compression(uid.JPEGExtended12Bit, _jpeg(level=95), error=60),
    "jpeg_lossless": Compression(uid.JPEGLossless, _jpeg(lossless=True, predictor=4)),
    "jpeg_lossless_sv1": Compression(uid.JPEGLosslessSV1, _jpeg(lossless=True, predictor=1)),
    "jpeg_ls": Compression(uid.JPEGLSLossless, lambda pixels: bytes(imagecodecs.jpegls_encode(pixels))),
    "jpeg_ls_near": Compression(
        uid.JPEGLSNearLossless, lambda pixels: bytes(imagecodecs.jpegls_encode(pixels, level=2)), error=2
    ),
    "jpeg_2000": Compression(uid.JPEG2000Lossless, _jpeg_2000(level=0, reversible=True)),
    "jpeg_2000_lossy": Compression(uid.JPEG2000, _jpeg_2000(level=60), error=60),
    "htj2k": Compression(uid.HTJ2KLossless, lambda pixels: bytes(imagecodecs.htj2k_encode(pixels, reversible=True))),
}


def draw_image(height: int, width: int, seed: int) -> np.ndarray:
    """A 12-bit image (uint16): soft shapes of many sizes, quantum noise, and dark and bright parts that clip."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width), np.float32)
    for cells in (3, 6, 12, 24):
        coarse = rng.random((cells + 1, cells)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / cells
    image = (image - image.min()) / np.ptp(image)
    return np.clip(image * 3800 + 100 + rng.normal(0, 6, image.shape), 0, 4095).astype(np.uint16)


def write_dicom(path: Path, pixels: np.ndarray, kind: str = "explicit", **attributes: Any) -> Path:
    """Write 12-bit pixels in one of COMPRESSIONS, with a window unless `attributes` say None or otherwise."""
    compression = COMPRESSIONS[kind]
    dataset = _header(pixels)
    if compression.encode:
        dataset.PixelData = encapsulate([compression.encode(pixels)])
    else:
        stored = pixels.astype(">u2" if kind == "big_endian" else "<u2")
        dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB" if compression.encode else "OW"
    for keyword, value in (WINDOW | attributes).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta.TransferSyntaxUID = compression.syntax
    if compression.syntax == uid.RLELossless:
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        dataset.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _header(pixels: np.ndarray) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = uid.ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = uid.generate_uid(entropy_srcs=["image"])  # the same file every time
    dataset.PatientName = "Identifying^Name"
    dataset.PatientID = "Identifying-1"
    dataset.StudyDate = "20200101"
    dataset.Modality = "CR"
    dataset.ViewPosition = "PA"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS, BITS - 1
    dataset.PixelRepresentation = 0
    return dataset
