"""Report text files of an archive."""

from __future__ import annotations

from pathlib import Path

from cohorts.archive.outages import ABSENT, DENIED, outage
from cohorts.archive.paths import OutsideRootError, inside
from cohorts.archive.remote import open_file
from report_parsing.errors import ReportError

MAXIMUM_BYTES = 1 << 20  # the longest reports have some ten thousand characters


def read_text(root: Path, relative: str) -> str:
    """Text of a report file: UTF-8, or Latin-1 where it is not.

    ReportError says what is wrong with the file, OutageError what is wrong with the disk or the network below it.
    """
    try:
        with open_file(inside(root, relative), MAXIMUM_BYTES + 1) as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except OutsideRootError as error:
        raise ReportError("unreadable_report", str(error)) from None
    except OSError as error:
        if error.errno is not None and error.errno not in ABSENT | DENIED:
            raise outage(f"{root}/{relative}", error) from error
        raise ReportError("unreadable_report", "The report file cannot be opened or read.") from error
    if len(content) > MAXIMUM_BYTES or b"\0" in content:
        raise ReportError("unreadable_report", "The report file is no text, or far longer than a report.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if not text.strip():
        raise ReportError("empty_report", "The report file holds no text.")
    return text
