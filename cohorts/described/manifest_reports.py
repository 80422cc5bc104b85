"""The reports of a manifest: in its columns, in a table of their own, or in text files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from cohorts.archive.names import is_escaped
from cohorts.archive.paths import clean_path
from cohorts.described.description import HEADINGS, Description, ReportSource
from cohorts.described.tables import ROWS_AT_ONCE, column_names, plain_name, plain_text, read_table, table_path
from cohorts.errors import CohortError
from cohorts.rows import files_below
from store.errors import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".txt", ".TXT", ".text")  # of text files that are named by a key


class ManifestReports:
    """Finds the report of each row of a manifest."""

    def __init__(self, description: Description, root: Path) -> None:
        self._description, self._source, self._root = description, description.report, root

    @property
    def columns(self) -> list[str]:
        """The columns of the manifest that are read for its reports."""
        if self._source.table:
            return [self._source.key] if self._joins_by_key else []
        return [*self._text_columns, *([self._source.key] if self._source.key else [])]

    def find(self, table: pd.DataFrame, keys: pd.Series) -> pd.DataFrame:
        """For each row of the manifest `report` (the text, where no file has it), `report_path` (of that file or of the
        table), and whether it `differs` from an earlier one of its study. `keys` tell the studies apart.

        A study has one report, the first that one of its rows names.
        """
        import pandas as pd

        source, nothing = self._source, pd.Series("", table.index, dtype=object)
        if source == ReportSource():
            return pd.DataFrame({"report": nothing, "report_path": nothing, "differs": False})
        own = self._own_reports(table)
        chosen, differs = _first_of_study(own, keys)
        if source.file or source.folder:
            return pd.DataFrame({"report": nothing, "report_path": chosen, "differs": differs})
        paths = nothing.mask(chosen != "", clean_path(source.table or self._description.manifest))
        return pd.DataFrame({"report": chosen, "report_path": paths, "differs": differs})

    def _own_reports(self, table: pd.DataFrame) -> pd.Series:
        """For each row the report that it names itself: a text, or the path of a file; empty for none."""
        if self._source.folder:
            return table[self._source.key].map(self._named_files).fillna("")
        if not self._source.table:
            return self._texts(table)
        keys = table[self._source.key if self._joins_by_key else self._description.columns.study]
        return keys.map(self._joined).fillna("")

    @property
    def _text_columns(self) -> list[str]:
        source = self._source
        return [name for name in (source.text, source.file, *source.sections.values()) if name]

    @cached_property
    def _joins_by_key(self) -> bool:
        """Whether the manifest has the key of the table of reports under the same name; else its study is the key."""
        described, key = self._description, self._source.key
        known = column_names(table_path(self._root, described.manifest), described.sheet)
        is_there = plain_name(key) in map(plain_name, known)
        if not is_there and not described.columns.study:
            raise CohortError(
                f"{described.manifest} has no column {key!r}, by which {self._source.table} could be joined"
                f"{did_you_mean(key, known)}; name one that both have, or `columns: {{study: ...}}`."
            )
        return is_there

    @cached_property
    def _joined(self) -> dict[str, str]:
        """The reports of the table of reports, by its key."""
        import pandas as pd

        source = self._source
        path = table_path(self._root, source.table)
        table = read_table(
            path, [source.key, *self._text_columns], meanings=self._description.values, exact=[source.file]
        )
        told = pd.DataFrame({"key": table[source.key], "text": self._texts(table)})
        told = told[(told["key"] != "") & (told["text"] != "")].drop_duplicates()
        if several := told.loc[told["key"].duplicated(), "key"].nunique():
            raise CohortError(
                f"The table {source.table} has several reports for {several} of its keys in {source.key!r}; leave one "
                "of each."
            )
        return dict(zip(told["key"], told["text"], strict=True))

    def _texts(self, table: pd.DataFrame) -> pd.Series:
        """The reports that the columns of a table hold, as texts or as paths of files."""
        import pandas as pd

        source = self._source
        if source.text:
            return table[source.text]
        if source.file:
            return table[source.file].map(lambda path: clean_path(path) if path else "")
        sections = [(HEADINGS[name], table[column].tolist()) for name, column in source.sections.items()]
        texts = [
            "\n\n".join(f"{heading}: {column[line]}" for heading, column in sections if column[line])
            for line in range(len(table))
        ]
        return pd.Series(texts, table.index, dtype=object)

    @cached_property
    def _named_files(self) -> dict[str, str]:
        """Relative paths of the text files of the folder, by their names without ending."""
        found = files_below(self._root, [clean_path(self._source.folder)], SUFFIXES)
        return {plain_text(PurePosixPath(path).stem): path for path in found if not is_escaped(path)}


def _first_of_study(own: pd.Series, keys: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """For each row the first report that a row of its study names, and whether the row names another one.

    Where every row names that of its study, as it usually is, the reports are not copied.
    """
    import pandas as pd

    says = (own != "").to_numpy(bool)
    studies, distinct = pd.factorize(keys)
    places = np.full(len(distinct), -1)
    named = np.flatnonzero(says)
    places[studies[named[::-1]]] = named[::-1]  # the first is written last
    first = places[studies]
    differs = np.zeros(len(own), bool)
    for start in range(0, len(own), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        differs[rows] = says[rows] & (own.iloc[rows].to_numpy() != own.iloc[first[rows]].to_numpy())
    if says.all() and not differs.any():
        return own, differs
    chosen = own.iloc[first].set_axis(own.index)
    return chosen.where(first >= 0, ""), differs
