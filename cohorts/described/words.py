"""What the words of a manifest mean: dates, ages, sexes, sides, splits, labels. None, or NaN, where it is unclear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType

import numpy as np

from cohorts.archive.facts import OLDEST
from cohorts.errors import CohortError

SEXES = MappingProxyType(
    {
        **dict.fromkeys(("f", "female", "w", "weiblich", "frau", "femenino", "femme", "woman"), "F"),
        **dict.fromkeys(("m", "male", "männlich", "maennlich", "mann", "masculino", "homme", "man"), "M"),
        **dict.fromkeys(("o", "other", "d", "divers", "x"), "O"),
    }
)
SIDES = MappingProxyType({"l": "L", "left": "L", "links": "L", "r": "R", "right": "R", "rechts": "R"})
SPLITS = MappingProxyType(
    {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("validate", "validation", "valid", "val", "dev", "validierung"), "validate"),
        **dict.fromkeys(("test", "testing"), "test"),
    }
)
UNKNOWN = frozenset({"u", "unknown", "unbekannt", "n/a", "na", "nan", "none", "null", "-", "?"})  # say nothing
YEARS = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}  # of one year; DICOM's ages
AGE = re.compile(r"(\d{1,3})(?:[.,](\d+))?\s*([YMWDymwd]?)")
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?")
TIME = re.compile(r"[T ]\d{1,2}:\d{2}.*", re.DOTALL)
YEAR_FIRST = re.compile(r"(\d{4})([-./])(\d{1,2})\2(\d{1,2})|(\d{4})(\d{2})(\d{2})")
DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
EITHER = re.compile(r"(\d{1,2})([-/])(\d{1,2})\2(\d{4})")
SERIAL = re.compile(r"(\d{5})(?:[.,]\d+)?")  # days of a spreadsheet, 1927 to 2173
NAMED = ("%B %d, %Y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y")
EPOCH = date(1899, 12, 30)
FIRST_YEAR = 1850  # of a date; an earlier one is a mistake of the archive


def says_nothing(word: str) -> bool:
    """Whether a cell is blank or says that nothing is known."""
    return not word or word.lower() in UNKNOWN


def read_number(word: str) -> float:
    """A number with a decimal point or comma; NaN for anything else."""
    return float(word.replace(",", ".")) if NUMBER.fullmatch(word) else np.nan


def read_age(word: str) -> float:
    """Years of `58`, `58,5`, `058Y` or `18M`; NaN where no patient is as old."""
    if not (found := AGE.fullmatch(word)):
        return np.nan
    years = float(f"{found[1]}.{found[2] or 0}") / YEARS[found[3].upper() or "Y"]
    return years if years <= OLDEST else np.nan


def read_label(word: str) -> float:
    """1, 0 or -1, also as `1.0` or `1,0`; NaN for anything else."""
    number = read_number(word)
    return number if number in (1, 0, -1) else np.nan


def read_dates(words: Iterable[str], date_format: str, column: str) -> Mapping[str, date | None]:
    """The date of each different word; None where it is none.

    CohortError where all dates of the form 03/04/2020 can be read in two ways.
    """
    distinct = {word: TIME.sub("", word) for word in words}
    if date_format:
        return {word: _parse(text, date_format) or _parse(word, date_format) for word, text in distinct.items()}
    day_first = _order(distinct.values(), column)
    return {word: _read_date(text, day_first) for word, text in distinct.items()}


def _read_date(text: str, day_first: bool) -> date | None:
    if found := YEAR_FIRST.fullmatch(text):
        year, month, day = (found[1], found[3], found[4]) if found[1] else (found[5], found[6], found[7])
    elif found := DAY_FIRST.fullmatch(text):
        day, month, year = found.groups()
    elif found := EITHER.fullmatch(text):
        day, month, year = (found[1], found[3], found[4]) if day_first else (found[3], found[1], found[4])
    elif found := SERIAL.fullmatch(text):
        return EPOCH + timedelta(days=int(found[1]))
    else:
        return next((parsed for form in NAMED if (parsed := _parse(text, form))), None)
    try:
        return date(int(year), int(month), int(day)) if int(year) >= FIRST_YEAR else None
    except ValueError:
        return None


def _order(texts: Iterable[str], column: str) -> bool:
    """Whether the day stands first in dates such as 31/12/2020."""
    pairs = {(int(found[1]), int(found[3])) for text in texts if (found := EITHER.fullmatch(text))}
    day_first, month_first = any(one > 12 for one, _ in pairs), any(two > 12 for _, two in pairs)
    if day_first == month_first and any(one != two for one, two in pairs):
        raise CohortError(
            f"The dates in the column {column!r} can be read with the day or the month first; say `date_format: "
            "'%d/%m/%Y'` or `'%m/%d/%Y'`."
        )
    return day_first


def _parse(text: str, date_format: str) -> date | None:
    try:
        found = datetime.strptime(text, date_format).date()
    except ValueError:
        return None
    return found if found.year >= FIRST_YEAR else None
