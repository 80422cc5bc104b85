"""What tells the files of one dataset from those of all others, without opening an image.

A reader declares its `signature`: for each edition of the dataset, the marks that all have to be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cohorts.archive import csv_files
from cohorts.archive.text_files import read_lines
from cohorts.errors import CohortError

FIRST_LINES = 40  # of a file, that are looked at


@dataclass(frozen=True)
class Mark:
    """A file with a name, and with content, that other datasets do not have."""

    paths: tuple[str, ...]  # patterns such as `CheXpert*/train.csv`, from the root; one is enough; a table may be .gz
    columns: tuple[str, ...] = ()  # that the table has, among others
    line: str = ""  # regular expression that one of the first lines holds

    def fits(self, path: Path) -> bool:
        """Whether the content of a file with a matching name is what the mark says."""
        try:
            return (not self.columns or csv_files.has_columns(path, self.columns)) and self._has_line(path)
        except CohortError:  # no text, or damaged
            return False

    def _has_line(self, path: Path) -> bool:
        return not self.line or any(re.search(self.line, line) for line in islice(read_lines(path), FIRST_LINES))


Edition = tuple[Mark, ...]
Signature = tuple[Edition, ...]
