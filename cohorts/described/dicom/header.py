"""The attributes that a row is made of, from the header of one DICOM file. The pixels are never reached.

A file may announce any length: no more than MOST_BYTES of it are read or unpacked.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import BinaryIO, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from imaging.dicom.reader import HEAD_BYTES, MAGIC, META_LENGTH, META_START, PREAMBLE

MOST_BYTES = 1 << 20  # of a header that are looked at; values that are not needed are passed over
IMAGES = "Image Storage"  # in the name of a class of images
KEYWORDS = (
    *("SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID"),
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "ContentTime"),
    *("AccessionNumber", "Modality", "PresentationIntentType", "Manufacturer", "InstitutionName"),
    *("StudyDescription", "SeriesDescription", "ManufacturerModelName", "AnatomicRegionSequence"),
    *("PatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("BodyPartExamined", "ProtocolName", "AcquisitionDeviceProcessingDescription", "ViewPosition"),
    *("StudyInstanceUID", "SeriesInstanceUID", "StudyID", "PatientOrientation", "Laterality", "ImageLaterality"),
    *("SamplesPerPixel", "NumberOfFrames", "Rows", "RequestedProcedureDescription"),
    *("PerformedProcedureStepDescription", "CompletionFlag", "VerificationFlag", "ViewCodeSequence"),
)
TAGS = [cast(int, tag_for_keyword(keyword)) for keyword in KEYWORDS]


class HeaderError(Exception):
    """A header that cannot be parsed. Says nothing of its content."""


def read_header(stream: BinaryIO, tags: list[int] = TAGS, most: int = MOST_BYTES) -> FileDataset:
    """The attributes `tags` of an open file that begins as DICOM.

    HeaderError where the file is damaged, ends within the header of an image, or has a header of more than `most`
    bytes.
    """
    last, reached = max(tags), False

    def is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal reached
        reached = int.__gt__(tag, last)  # BaseTag compares ten times as slowly
        return reached

    try:
        dataset = read_partial(_bounded(stream, most), is_behind, force=True, specific_tags=list(tags))
        kind = class_of(dataset)
        is_image = "Rows" in dataset or IMAGES in UID(kind).name
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's fault
        raise HeaderError from None
    except Exception:  # bytes that are no DICOM fail in many ways
        raise HeaderError from None
    if not (kind or is_image) or (is_image and not reached):
        raise HeaderError
    return dataset


def class_of(dataset: FileDataset) -> str:
    """The UID of the class of an object, from its header or from the file meta before it; empty without either."""
    return str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")


def _bounded(stream: BinaryIO, most: int) -> BinaryIO:
    """The file, of which no more than `most` bytes can be read; of a deflated one, the same uncompressed."""
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    deflated = DeflatedExplicitVRLittleEndian.encode()
    if head[PREAMBLE : PREAMBLE + 4] != MAGIC or deflated not in head:
        return cast(BinaryIO, _Bounded(stream, most))
    end = META_START + int.from_bytes(head[META_LENGTH], "little")
    meta = head[:end].replace(deflated, ExplicitVRLittleEndian.encode().ljust(len(deflated), b"\0"))
    stream.seek(end)
    return BytesIO(meta + zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(most), most))


class _Bounded:
    """A stream that fails where more than `left` bytes of it are read, and does not mind where nothing is left."""

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self._stream, self._left = stream, left
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, count: int = -1) -> bytes:
        found = self._stream.read(min(count, self._left + 1) if count >= 0 else self._left + 1)
        self._left -= len(found)
        if self._left < 0:
            raise HeaderError
        return found
