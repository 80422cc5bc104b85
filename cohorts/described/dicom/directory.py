"""A DICOMDIR: the list of the files of a medium (DICOM PS3.3, annex F)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword

from cohorts.described.dicom.header import HeaderError, read_header

MOST_BYTES = 256 << 20  # of the list of a medium with a million files
RECORDS = tag_for_keyword("DirectoryRecordSequence")
NOT_IN_USE = 0  # RecordInUseFlag of a record that was deleted


def read_names(stream: BinaryIO) -> list[str]:
    """The files that an open DICOMDIR names, relative to its folder, as they stand there.

    HeaderError where it cannot be read.
    """
    assert RECORDS is not None
    dataset = read_header(stream, [RECORDS], MOST_BYTES)
    try:
        records = [record for record in dataset.get("DirectoryRecordSequence") or () if _is_in_use(record)]
        named = [record.get("ReferencedFileID") for record in records]
    except Exception:  # pydicom raises whatever the damage leads it to
        raise HeaderError from None
    parts = [[name] if isinstance(name, str) else list(name) for name in named if name]
    return ["/".join(map(str, each)) for each in parts]


def match_names(folder: str, names: Sequence[str], paths: Mapping[str, str]) -> dict[str, str]:
    """For each of the `names` of a DICOMDIR in `folder` the file of the tree that it means, empty where there is none.

    `paths` has the files of the tree by `plain`, as media are copied with small letters or version numbers.
    """
    return {name: paths.get(plain(f"{folder}/{name}" if folder != "." else name), "") for name in names}


def plain(path: str) -> str:
    """A path in small letters and without the version number of ISO 9660."""
    return path.lower().partition(";")[0]


def folder_of(path: str) -> str:
    """The folder of a path, `.` for the root."""
    return str(PurePosixPath(path).parent)


def _is_in_use(record: object) -> bool:
    return getattr(record, "RecordInUseFlag", None) != NOT_IN_USE
