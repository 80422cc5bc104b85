"""Lines of the text files of an archive: in the encoding that the file has, unpacked, and never more than fits.

A file is UTF-8, with or without a mark, UTF-16 or UTF-32. A byte that UTF-8 has no place for is read as Windows-1252,
as spreadsheets write it. What is no text is named for what it is.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from cohorts.archive.remote import open_file
from cohorts.errors import CohortError

LONGEST_FIRST_LINE = 1 << 20  # characters; a header with ten thousand long names has half of it
LONGEST_LINE = 4 << 20  # characters; the runs of the most ragged mask of 1024 x 1024 pixels take half of it
MOST_CHARACTERS = 1 << 30  # of a file; the largest published tables hold the reports of 220,000 images twice
MOST_LINES = 4_000_000  # of a file; the longest published table has a tenth
HEAD_BYTES = 64
GZIP = b"\x1f\x8b"
KINDS = MappingProxyType(
    {
        GZIP: "a gzip file; unpack it, or add .gz to its name",
        b"PK\x03\x04": "an Excel workbook or a zip file; save its sheet as CSV, or unpack it",
        b"\xd0\xcf\x11\xe0": "an Excel workbook; save its sheet as CSV",
        b"PAR1": "a Parquet file; save it as CSV",
        b"BZh": "a bzip2 file; unpack it",
        b"\xfd7zXZ": "an xz file; unpack it",
        b"%PDF": "a PDF file; put the published table in its place",
        b"<!DOC": "a web page, as sites send instead of a file that needs a login; fetch the file again",
        b"<!doc": "a web page, as sites send instead of a file that needs a login; fetch the file again",
        b"<html": "a web page, as sites send instead of a file that needs a login; fetch the file again",
        b"version https://git-lfs": "a pointer of Git LFS; fetch the file that it stands for with git lfs pull",
    }
)
MARKS = MappingProxyType(  # UTF-32 first: its little-endian mark begins with that of UTF-16
    {
        codecs.BOM_UTF32_LE: "utf-32",
        codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF16_LE: "utf-16",
        codecs.BOM_UTF16_BE: "utf-16",
        codecs.BOM_UTF8: "utf-8-sig",
    }
)


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, gzipped if its name ends in .gz, with their ends: LF, CR LF or CR.

    Raises CohortError where the file cannot be opened, is no text, is damaged, or is larger than any table.
    """
    try:
        with open_file(path) as packed, _unpack(path, packed) as stream:
            yield from _decode(path, stream)
    except EOFError as error:
        raise CohortError(f"{path} ends too early to be unpacked; fetch it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CohortError(f"{path} cannot be unpacked; it is damaged or no gzip file, so fetch it again.") from error
    except OSError as error:
        raise CohortError(
            f"{path} cannot be read ({error.strerror or error}); correct that, or fetch it again."
        ) from error


def _unpack(path: Path, packed: BinaryIO) -> BinaryIO:
    return gzip.GzipFile(fileobj=packed) if path.suffix == ".gz" else packed  # type: ignore[return-value]


def _decode(path: Path, stream: BinaryIO) -> Iterator[str]:
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if kind := next((kind for mark, kind in KINDS.items() if head.startswith(mark)), None):
        raise CohortError(f"{path} is {kind}.")
    encoding = _encoding(head)
    errors = "replace" if encoding.startswith(("utf-16", "utf-32")) else _FALLBACK
    text = io.TextIOWrapper(stream, encoding, errors, newline="")
    number = total = 0
    longest = LONGEST_FIRST_LINE
    while line := text.readline(longest):
        number, total = number + 1, total + len(line)
        if len(line) == longest and not line.endswith(("\n", "\r")):
            raise CohortError(f"{path} has a line, {number}, of more than {longest} characters; is it a text file?")
        if total > MOST_CHARACTERS:
            raise CohortError(f"{path} has more than {MOST_CHARACTERS} characters, as no published table has.")
        if number > MOST_LINES:
            raise CohortError(f"{path} has more than {MOST_LINES} lines, as no published table has.")
        if "\0" in line:
            raise CohortError(f"{path} has bytes that are no text in line {number}; it is damaged, so fetch it again.")
        yield line
        longest = LONGEST_LINE


def _encoding(head: bytes) -> str:
    """The encoding of a file by its first bytes; UTF-16 without a mark shows by the zeros between its letters."""
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2], head[1::2]
    if any(even) and odd and not any(odd):
        return "utf-16-le"
    if any(odd) and not any(even):
        return "utf-16-be"
    return "utf-8"


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


_FALLBACK = "radalign-windows-1252"
codecs.register_error(_FALLBACK, _as_windows_1252)
