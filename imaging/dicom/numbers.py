"""Numbers of attributes as writers spell them: with a decimal comma, with a fraction of zero, under another VR."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d*")  # a point behind the commas


def read_numbers(dataset: Dataset, keyword: str) -> list[float]:
    """The numbers of an attribute of none, one or several; NaN for each that cannot be read."""
    try:
        value: Any = dataset.get(keyword)
        several = isinstance(value, (list, tuple)) or hasattr(value, "append")
        return [_as_number(one) for one in (value if several else [value])]
    except MemoryError:
        raise
    except Exception:  # pydicom raises whatever the damage leads it to
        return [_as_number(part) for part in read_text(dataset, keyword).split("\\")]


def read_whole(dataset: Dataset, keyword: str) -> int | None:
    """The whole number of an attribute, the first of several; None where there is none."""
    number = next(iter(read_numbers(dataset, keyword)), np.nan)
    return int(number) if np.isfinite(number) and number == int(number) else None


def read_text(dataset: Dataset, keyword: str) -> str:
    """What stands in an attribute, if that is text; empty where it is not there."""
    try:
        element: Any = dataset.get_item(keyword)
        value = element.value if element is not None else ""
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    except MemoryError:
        raise
    except Exception:  # pydicom raises whatever the damage leads it to
        return ""


def _as_number(value: Any) -> float:
    if not isinstance(value, str) or hasattr(value, "original_string"):  # pydicom's decimal string is a number
        return np.nan if value is None else float(value)
    text = value.strip(" \0")
    if THOUSANDS.fullmatch(text):
        return float(text.replace(",", ""))
    return float(text.replace(",", ".")) if NUMBER.fullmatch(text) else np.nan
