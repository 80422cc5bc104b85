"""Facts of studies as archives write them, brought into the form of `cohorts.tables.FACTS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M", "O": "O", "OTHER": "O"}
OLDEST = 120  # years; a larger number is a mistake of the archive


def read_dates(texts: pd.Series) -> pd.Series:
    """yyyymmdd, yyyy-mm-dd or January 22, 2020 as yyyy-mm-dd; None where it is no date."""
    import pandas as pd

    words = texts.str.strip()
    digits = words.str.replace("-", "").where(lambda text: text.str.fullmatch(r"\d{8}"))
    dates = pd.to_datetime(digits, format="%Y%m%d", errors="coerce")
    dates = dates.fillna(pd.to_datetime(words, format="%B %d, %Y", errors="coerce"))
    return dates.dt.strftime("%Y-%m-%d").astype(object).where(dates.notna(), None)


def read_sexes(texts: pd.Series) -> pd.Series:
    """F, M or O of letters or words; None where it is none of them."""
    return texts.str.strip().str.upper().map(SEXES).astype(object).where(lambda sex: sex.notna(), None)


def read_ages(texts: pd.Series) -> pd.Series:
    """Years of numbers, or of DICOM's `058Y`; NaN where it is no age."""
    import pandas as pd

    years = pd.to_numeric(texts.str.strip().str.removesuffix("Y"), errors="coerce")
    return keep_ages(years)


def keep_ages(years: pd.Series) -> pd.Series:
    """The numbers that can be the age of a patient, the others as NaN."""
    return years.where((years >= 0) & (years <= OLDEST)).astype(np.float32)


def read_facts(table: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, pd.Series]:
    """The facts that a table states: `columns` names the column of each fact, and may name columns that are not there.

    What is unknown is null.
    """
    return {fact: READ[fact](table[column]) for fact, column in columns.items() if column in table}


def read_words(texts: pd.Series) -> pd.Series:
    """Words as they are without blanks around them; None where there are none."""
    words = texts.str.strip().astype(object)
    return words.where(words != "", None)


READ: Mapping[str, Callable[[pd.Series], pd.Series]] = {
    "date": read_dates,
    "sex": read_sexes,
    "age": read_ages,
    "device": read_words,
    "site": read_words,
}
