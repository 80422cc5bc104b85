"""The headers of a tree as one table, kept in the home: a file that is as it was is not opened again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from cohorts.archive.listed import explain_loss
from cohorts.archive.outages import ABSENT, DENIED, outage
from cohorts.archive.remote import is_remote, open_file
from cohorts.described.dicom.directory import read_names
from cohorts.described.dicom.facts import DIRECTORY, Facts, read_facts
from cohorts.described.dicom.files import Found, find_files
from cohorts.described.dicom.header import HeaderError, class_of, read_header
from imaging.dicom.reader import looks_like_dicom
from store.code import code_version
from store.seals import is_intact, sealing, set_aside

OBJECT, CATALOGUE, OTHER = "object", "directory", "other"  # kinds of files; the first are source rows
HEADERS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("stamp", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("names", pa.list_(pa.string())),  # the files that a DICOMDIR names, relative to its folder
        *(pa.field(item.name, pa.bool_() if item.type == "bool" else pa.string()) for item in fields(Facts)),
    ]
)
HEAD_LENGTH = 1024  # bytes that tell whether a file is DICOM, a text or something else
FETCHED = (1 << 17, 1 << 24)  # bytes of an object on a storage; the second where the header does not end in the first
GZIP = b"\x1f\x8b"
DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", ".dc3")
IMAGE_SUFFIXES = (*DICOM_SUFFIXES, ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".jp2", ".j2k", ".nii")
MODE = 0o600
BAR_FROM = 500  # files to read
FILES_PER_TASK = 64
CODE = "cohorts.described.dicom.index"


def index_headers(root: Path, cache: Path | None = None) -> tuple[pa.Table, int]:
    """The table HEADERS of all files of a tree, sorted by path, and how many hidden files and folders it leaves out.

    Headers that are in the sealed table `cache` with the stamp that the file still has are taken from there, and the
    table is brought up to date. Raises CohortError or OutageError where the tree cannot be listed or a disk fails.
    """
    found, hidden = find_files(root)
    known = read_cache(cache)
    places = {(path, stamp): row for row, (path, stamp) in enumerate(zip(*_keys(known), strict=True))}
    kept = [places[each.path, each.stamp] for each in found if each.stamp and (each.path, each.stamp) in places]
    todo = [each for each in found if not each.stamp or (each.path, each.stamp) not in places]
    new = pa.Table.from_pylist(list(_read_all(root, todo)), HEADERS)
    table = pa.concat_tables([known.take(pa.array(kept, pa.int64())), new]).sort_by("path")
    if cache is not None and (new.num_rows or len(kept) < known.num_rows):
        _write_cache(table, cache)
    return table, hidden


def describe_file(root: Path, found: Found) -> dict[str, Any]:
    """One row of HEADERS: what a file is and, of a DICOM object, what its header says."""
    described = {"path": found.path, "stamp": found.stamp, "kind": OTHER, "names": None, **vars(Facts())}
    if found.problem:
        return described | _refuse(found.problem, _may_be_image(found.path))
    try:
        return described | _read_file(root, found)
    except OSError as error:
        if error.errno in DENIED:
            return described | _refuse("unreadable_file", _may_be_image(found.path))
        raise (explain_loss(root, found.path) if error.errno in ABSENT else outage(root / found.path, error)) from error


def _read_file(root: Path, found: Found) -> dict[str, Any]:
    """What differs in the row of a file from that of a file without content. OSError where it cannot be read."""
    for most in FETCHED if is_remote(root) else (-1,):
        with open_file(root / found.path, most) as stream, suppress(HeaderError):
            head = stream.read(HEAD_LENGTH)
            if not looks_like_dicom(head):
                reason = "packed_file" if head.startswith(GZIP) else "not_dicom"
                return _refuse(reason, _may_be_image(found.path, head))
            stream.seek(0)
            dataset = read_header(stream)
            if class_of(dataset) == DIRECTORY:
                stream.seek(0)
                return {"kind": CATALOGUE, "names": read_names(stream)}
            return {"kind": OBJECT, **vars(read_facts(dataset))}
    return _refuse("unreadable_header")


def _refuse(reason: str, is_row: bool = True) -> dict[str, Any]:
    return {"kind": OBJECT, "reason": reason} if is_row else {}


def _may_be_image(path: str, head: bytes = b"") -> bool:
    """Whether a file that is no DICOM has the name of an image or, without one, does not begin as a text does."""
    name = PurePosixPath(path.lower().removesuffix(".gz"))
    is_unnamed = not name.suffix or name.suffix[1:].isdigit()  # as UIDs end
    return name.suffix in IMAGE_SUFFIXES or (is_unnamed and (not head or b"\0" in head or head.startswith(GZIP)))


def _read_all(root: Path, todo: list[Found]) -> Iterable[Mapping[str, Any]]:
    chunks = [todo[start : start + FILES_PER_TASK] for start in range(0, len(todo), FILES_PER_TASK)]
    with (
        ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool,
        tqdm(total=len(todo), unit="file", desc="headers", disable=len(todo) < BAR_FROM or None) as bar,
    ):
        for rows in pool.map(lambda chunk: [describe_file(root, each) for each in chunk], chunks):
            bar.update(len(rows))
            yield from rows


def _write_cache(table: pa.Table, cache: Path) -> None:
    """Keep the headers where nobody else may read them, as they have identifiers."""
    with sealing(cache) as partial:
        partial.touch(MODE)
        pq.write_table(table.replace_schema_metadata({"code": code_version(CODE)}), partial, compression="zstd")


def read_cache(cache: Path | None) -> pa.Table:
    """The headers that are kept; none where they are damaged or were read by another version of the code."""
    if cache is not None and cache.exists():
        if not is_intact(cache):
            set_aside(cache)
        else:
            table = pq.read_table(cache)
            if (table.schema.metadata or {}).get(b"code") == code_version(CODE).encode():
                return table.replace_schema_metadata(None)
    return HEADERS.empty_table()


def _keys(table: pa.Table) -> tuple[list[str], list[str]]:
    return table["path"].to_pylist(), table["stamp"].to_pylist()
