"""One way in for every image file: the content decides how it is read, not the name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imaging.dicom import looks_like_dicom, read_dicom
from imaging.errors import ImageError
from imaging.raster import looks_like_raster, read_raster

HEAD_BYTES = 140  # a DICOM preamble, its magic word and the first tag behind it


def read_grey(path: Path) -> np.ndarray:
    """Read a DICOM, JPG or PNG radiograph as (height, width) uint8, dark to bright as it is displayed.

    Raises ImageError, whose `reason` is one of `imaging.errors.REASONS`.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            if looks_like_raster(head):
                return read_raster(stream)
            if looks_like_dicom(head):
                return read_dicom(stream)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ImageError("missing_file") from None
    except OSError:
        raise ImageError("unreadable_file") from None
    raise ImageError("not_an_image", "" if head else "The file is empty.")
