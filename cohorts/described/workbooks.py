"""Sheets of Excel workbooks (.xlsx) as rows of text. Nothing in them is run: of a formula the stored value counts.

A workbook is a zip file of XML (ECMA-376). It is read as a stream with limits, so that neither packed zeros nor XML
entities can fill the memory, and only the parts that are needed are opened.
"""

from __future__ import annotations

import posixpath
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import IO, NamedTuple, cast

from cohorts.archive.remote import open_file
from cohorts.errors import CohortError

MOST_COLUMNS = 16_384  # of a sheet, as in Excel
MOST_ROWS = 1_048_576
MOST_BYTES = 1 << 30  # of a part when it is unpacked
MOST_CHARACTERS = 1 << 28  # of all shared texts, and of the values that are kept
MOST_TEXTS = 4_000_000
MOST_STYLES = 100_000
MOST_ELEMENTS = 1 << 20  # of a row, a shared text, or of all that is neither; each takes memory
LONGEST_TEXT = 1 << 24  # bytes without an element; Excel's longest cell has 32,767 characters
CHUNK = 1 << 16
RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
STRICT_RELATION = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"
DATE_FORMATS = frozenset([*range(14, 18), 22, *range(27, 32), *range(34, 37), *range(50, 59)])  # with a day and a month
DATE_CODE = re.compile(r"[yd]", re.IGNORECASE)
LITERALS = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
ESCAPED = re.compile(r"_x(000[9AD]|005F)_")  # a tab or a line end that XML would change, or an underscore
REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]+")
EPOCHS = {False: date(1899, 12, 30), True: date(1904, 1, 1)}


class Sheet(NamedTuple):
    """Where a sheet is in a workbook, and what its cells refer to."""

    part: str
    texts: list[str]  # shared by all sheets
    dates: frozenset[int]  # styles that show a number as a date
    epoch: date  # day 0 of dates


def read_header(path: Path, sheet: str = "") -> list[str]:
    """The texts of the first row that has any, of the named sheet or of the first."""
    with _opened(path) as book:
        return next(iter(_rows(path, book, _find(path, book, sheet))), [])


def read_rows(path: Path, columns: Sequence[str], sheet: str = "") -> Iterator[list[str]]:
    """The named columns of each row below the header that has a value."""
    with _opened(path) as book:
        rows = _rows(path, book, _find(path, book, sheet))
        names = [name.strip() for name in next(rows, [])]
        places = [names.index(name) for name in columns]
        kept = 0
        for values in rows:
            chosen = [values[place] if place < len(values) else "" for place in places]
            kept += sum(map(len, chosen))
            if kept > MOST_CHARACTERS:
                raise CohortError(f"{path} has more than {MOST_CHARACTERS} characters in the columns that are named.")
            yield chosen


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with open_file(path) as stream, zipfile.ZipFile(stream) as book:
            yield book
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError) as error:
        raise CohortError(
            f"{path} is no Excel workbook that can be read (damaged, protected, or another kind of zip file); save it "
            "again as .xlsx or as CSV."
        ) from error
    except ET.ParseError as error:
        raise CohortError(f"{path} has a part that is no XML; save it again as .xlsx or as CSV.") from error
    except OSError as error:
        raise CohortError(f"{path} cannot be read ({error.strerror or error}).") from error


def _find(path: Path, book: zipfile.ZipFile, sheet: str) -> Sheet:
    """The named sheet, or the first."""
    parts = set(book.namelist())
    if "xl/workbook.xml" not in parts:
        raise CohortError(f"{path} is a zip file and no Excel workbook; unpack it, or save the table as CSV.")
    relations = {
        element.get("Id", ""): element.get("Target", "")
        for element in _elements(path, book, "xl/_rels/workbook.xml.rels", ("Relationship",))
    }
    sheets, old = {}, False
    for element in _elements(path, book, "xl/workbook.xml", ("sheet", "workbookPr")):
        if _name(element) == "workbookPr":
            old = element.get("date1904", "0") in ("1", "true")
        else:
            target = relations.get(element.get(RELATION) or element.get(STRICT_RELATION) or "", "")
            sheets[element.get("name", "")] = posixpath.normpath(posixpath.join("xl", target)).lstrip("/")
    if sheet and sheet not in sheets:
        raise CohortError(f"{path} has no sheet {sheet!r}; it has {', '.join(list(sheets)[:20])}.")
    part = sheets[sheet] if sheet else next(iter(sheets.values()), "")
    if part not in parts:
        raise CohortError(f"{path} has no sheet with cells; save it again as .xlsx or as CSV.")
    texts = list(_shared_texts(path, book)) if "xl/sharedStrings.xml" in parts else []
    dates = _date_styles(path, book) if "xl/styles.xml" in parts else frozenset()
    return Sheet(part, texts, dates, EPOCHS[old])


def _shared_texts(path: Path, book: zipfile.ZipFile) -> Iterator[str]:
    characters = count = 0
    for element in _elements(path, book, "xl/sharedStrings.xml", ("si",)):
        text = _text(element)
        characters, count = characters + len(text), count + 1
        if characters > MOST_CHARACTERS or count > MOST_TEXTS:
            raise CohortError(f"{path} has more texts than any manifest; save the sheet as CSV.")
        yield text


def _date_styles(path: Path, book: zipfile.ZipFile) -> frozenset[int]:
    """The cell styles whose numbers are dates: built-in formats, or codes with a year or a day in them."""
    own, styles = {}, []
    for element in _elements(path, book, "xl/styles.xml", ("numFmt", "cellXfs")):
        if _name(element) == "numFmt":
            own[element.get("numFmtId")] = bool(DATE_CODE.search(LITERALS.sub("", element.get("formatCode", ""))))
        else:
            styles = [child.get("numFmtId", "0") for child in element][:MOST_STYLES]
    return frozenset(
        place
        for place, number in enumerate(styles)
        if own.get(number, False) or (number.isdecimal() and int(number) in DATE_FORMATS)
    )


def _rows(path: Path, book: zipfile.ZipFile, sheet: Sheet) -> Iterator[list[str]]:
    """The rows that have a value, each as long as its last value."""
    for number, element in enumerate(_elements(path, book, sheet.part, ("row",))):
        if number >= MOST_ROWS:
            raise CohortError(f"{path} has more than {MOST_ROWS} rows, as no sheet has.")
        values: list[str] = []
        for cell in element:
            place = _place(cell.get("r", ""), len(values))
            if place >= MOST_COLUMNS:
                raise CohortError(f"{path} has more than {MOST_COLUMNS} columns, as no sheet has.")
            values.extend([""] * (place + 1 - len(values)))
            values[place] = _value(cell, sheet)
        if any(value.strip() for value in values):
            yield values


def _place(reference: str, next_place: int) -> int:
    """The column of a cell such as C7, from 0; a cell without a reference follows the one before."""
    if not (found := REFERENCE.fullmatch(reference)):
        return next_place
    place = 0
    for letter in found[1]:
        place = 26 * place + ord(letter) - ord("A") + 1
    return place - 1


def _value(cell: ET.Element, sheet: Sheet) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    value = next((child.text or "" for child in cell if _name(child) == "v"), "")
    if kind == "s":
        return sheet.texts[int(value)] if value.isdecimal() and int(value) < len(sheet.texts) else ""
    if kind != "n" or not value:
        return "" if kind == "e" else value  # of an error such as #REF! nothing is known
    try:
        number = float(value)
    except ValueError:
        return value
    if cell.get("s", "0").isdecimal() and int(cell.get("s", "0")) in sheet.dates and 0 < number < 3_000_000:
        return (sheet.epoch + timedelta(days=int(number))).isoformat()
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _text(element: ET.Element) -> str:
    """The text of a cell or of a shared text, runs joined, without the readings of Asian characters."""
    found = []
    for child in element:
        name = _name(child)
        if name == "t":
            found.append(ESCAPED.sub(lambda code: chr(int(code[1], 16)), child.text or ""))
        elif name in ("r", "is"):
            found.append(_text(child))
    return "".join(found)


def _elements(path: Path, book: zipfile.ZipFile, part: str, names: Sequence[str]) -> Iterator[ET.Element]:
    """The elements of these names in a part, each whole; what was yielded is forgotten."""
    parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(["start", "end"])
    with book.open(part) as stream:
        root: ET.Element | None = None
        kept = silent = 0  # elements since the last row or text, bytes since the last element
        for chunk in _chunks(path, stream):
            parser.feed(chunk)
            silent += len(chunk)
            for event, element in cast(Iterator[tuple[str, ET.Element]], parser.read_events()):  # of starts and ends
                silent = 0
                if event == "start":
                    root = element if root is None else root
                    kept += 1
                elif _name(element) in names:
                    yield element
                    element.clear()
                    if root is not None and _name(element) in ("row", "si"):
                        _forget(root)
                        kept = 0
            if kept > MOST_ELEMENTS or silent > LONGEST_TEXT:
                raise CohortError(f"{path} has a row or a cell far larger than those of a sheet; save it as CSV.")
    parser.close()


def _forget(root: ET.Element) -> None:
    """Drop the finished children of the root, and of its `sheetData`, so that a large sheet takes no room."""
    for parent in [root, *root]:
        if _name(parent) in ("sheetData", "sst"):
            del parent[:]


def _chunks(path: Path, stream: IO[bytes]) -> Iterator[bytes]:
    total, before = 0, b""
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        if total > MOST_BYTES:
            raise CohortError(f"{path} unpacks to more than {MOST_BYTES} bytes, as no manifest does.")
        if b"\0" in chunk:  # UTF-16, in which nothing below would be found
            raise CohortError(f"{path} has a part that is not in UTF-8; save it again as .xlsx or as CSV.")
        if b"<!DOCTYPE" in before + chunk or b"<!ENTITY" in before + chunk:
            raise CohortError(f"{path} declares XML entities, as no Excel workbook does.")
        before = chunk[-len(b"<!DOCTYPE") :]
        yield chunk


def _name(element: ET.Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]
