"""Stored values of DICOM files by GDCM, which shares no decoder with us."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np

from imaging.dicom.reader import damage_as_image_error, read_frame

TYPES = {"UINT8": "u1", "INT8": "i1", "UINT12": "u2", "INT12": "i2", "UINT16": "u2", "INT16": "i2"}


def gdcm_values(path: Path) -> np.ndarray:
    """First frame, (rows, columns) or (rows, columns, samples)."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    columns, rows = image.GetDimensions()[:2]
    pixels = image.GetPixelFormat()
    samples = pixels.GetSamplesPerPixel()
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), TYPES[pixels.GetScalarTypeAsString()])[
        : rows * columns * samples
    ]
    if image.GetPlanarConfiguration():
        values = values.reshape(samples, -1).T
    return values.reshape((rows, columns, samples)[: 3 if samples > 1 else 2])


def our_values(path: Path) -> np.ndarray:
    """First frame as we read it, before any window."""
    with open(path, "rb") as stream, damage_as_image_error():
        _, frame = read_frame(stream)
        return frame.unpack(frame.numbers)
