"""Says what the columns of a table hold, from the values of its first rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from cohorts.archive.paths import clean_path
from cohorts.described.manifest import SEVERAL
from cohorts.described.words import (
    DAY_FIRST,
    EITHER,
    NAMED,
    SERIAL,
    SEXES,
    SIDES,
    SPLITS,
    TIME,
    YEAR_FIRST,
    read_age,
    read_label,
    read_number,
    says_nothing,
)
from cohorts.views import FRONTAL, UNKNOWN, kind_of_view
from ingestion.inspection import lexicon

IMAGE_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", ".jpg", ".jpeg", ".png")
TEXT_SUFFIXES = (".txt", ".text")
LONG_TEXT = 40  # characters of a mean cell of text
FEW = 40  # different words of a column of categories


@dataclass(frozen=True)
class Column:
    """A column by its name and the values of its first rows, without those that say nothing."""

    name: str
    values: Sequence[str]

    @cached_property
    def distinct(self) -> list[str]:
        """The different values, the first first."""
        return list(dict.fromkeys(self.values))

    def share(self, is_so: Callable[[str], bool]) -> float:
        """The share of the values for which something is so; 0 without values."""
        true = {value for value in self.distinct if is_so(value)}
        return sum(value in true for value in self.values) / len(self.values) if self.values else 0.0

    @cached_property
    def paths(self) -> list[str]:
        """The paths that the cells name, where these look like paths of images."""
        return self._named(IMAGE_SUFFIXES)

    @cached_property
    def text_files(self) -> list[str]:
        """The paths that the cells name, where these look like paths of texts."""
        return self._named(TEXT_SUFFIXES)

    def _named(self, suffixes: Collection[str]) -> list[str]:
        named = [clean_path(path) for value in self.values for path in SEVERAL.split(value) if path.strip()]
        right = [path for path in named if PurePosixPath(path).suffix.lower() in suffixes]
        return right if len(right) * 2 > len(named) else []

    @cached_property
    def is_text(self) -> bool:
        """Whether the cells are sentences."""
        if not self.values or self.paths or self.text_files:
            return False
        return float(np.mean([len(value) for value in self.values])) >= LONG_TEXT and self.share(_has_words) > 0.8

    @cached_property
    def is_varied(self) -> bool:
        """Whether the values differ as reports do, and licences, addresses and remarks do not."""
        return len(self.distinct) * 2 > len(self.values) > 0

    @cached_property
    def sexes(self) -> float:
        """Share of the values that name a sex."""
        return self.share(lambda value: value.lower() in SEXES or bool(lexicon.meaning("sex", value)))

    @cached_property
    def splits(self) -> float:
        """Share of the values that name a split."""
        return self.share(lambda value: value.lower() in SPLITS or bool(lexicon.meaning("split", value)))

    @cached_property
    def views(self) -> float:
        """Share of the values that name a view."""
        return self.share(_names_views)

    @cached_property
    def has_frontal_views(self) -> bool:
        """Whether a value names a frontal view with one of the words that only views have."""
        return any(kind_of_view(word) == FRONTAL for value in self.distinct for word in SEVERAL.split(value))

    @cached_property
    def ages(self) -> float:
        """Share of the values that are an age."""
        return self.share(lambda value: not np.isnan(read_age(value)))

    @cached_property
    def sides(self) -> float:
        """Share of the values that name a side."""
        return self.share(lambda value: value.lower() in SIDES)

    @cached_property
    def dates(self) -> float:
        """Share of the values that are written as dates are."""
        return self.share(_is_date)

    @cached_property
    def numbers(self) -> float:
        """Share of the values that are numbers."""
        return self.share(lambda value: not np.isnan(read_number(value)))

    @cached_property
    def is_label(self) -> bool:
        """Whether the values are 1, 0 and -1, and not all the same."""
        return self.share(lambda value: not np.isnan(read_label(value))) == 1 and (
            len({read_label(value) for value in self.distinct}) > 1 or bool(lexicon.label_of(self.name))
        )

    @cached_property
    def may_be_identifier(self) -> bool:
        """Whether the values are short, and neither of a few words nor paths."""
        return bool(self.values) and not self.is_text and not self.paths and max(map(len, self.values)) <= 200

    def is_ambiguous_date(self) -> bool:
        """Whether all dates such as 03/04/2020 can be read with the day or with the month first."""
        pairs = {(int(found[1]), int(found[3])) for value in self.distinct if (found := EITHER.fullmatch(value))}
        days = any(one > 12 for one, _ in pairs) != any(two > 12 for _, two in pairs)
        return bool(pairs) and not days and any(one != two for one, two in pairs)


def make_columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Column]:
    """The columns of the rows of a table."""
    return [
        Column(name, [row[place].strip() for row in rows if not says_nothing(row[place].strip())])
        for place, name in enumerate(names)
    ]


def _names_views(value: str) -> bool:
    return all(
        kind_of_view(word) != UNKNOWN or bool(lexicon.meaning("view", word))
        for word in SEVERAL.split(value)
        if word.strip()
    )


def _has_words(value: str) -> bool:
    return value.count(" ") >= 2


def _is_date(value: str) -> bool:
    text = TIME.sub("", value)
    if any(form.fullmatch(text) for form in (YEAR_FIRST, DAY_FIRST, EITHER, SERIAL)):
        return True
    return any(_is_written(text, form) for form in NAMED)


def _is_written(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True
