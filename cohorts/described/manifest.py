"""Lists the images that a table of a described archive names, with what it says of each: a `Source`.

A row of the table is an image, or several where it names several paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts.archive.paths import clean_path, file_stamps
from cohorts.archive.report_files import MAXIMUM_BYTES, read_text
from cohorts.described import ROWS
from cohorts.described.boxes import read_boxes
from cohorts.described.description import NO_PATIENTS, Description, ReportSource
from cohorts.described.labels import describe_words, read_labels
from cohorts.described.manifest_reports import ManifestReports
from cohorts.described.tables import ROWS_AT_ONCE, read_table, table_path
from cohorts.described.texts import TextsByName
from cohorts.described.words import SEXES, SIDES, SPLITS, read_age, read_dates, says_nothing
from cohorts.errors import CohortError
from cohorts.rows import first_reasons
from cohorts.tables import BOX
from report_parsing.errors import ReportError

if TYPE_CHECKING:
    import pandas as pd

FRONTAL = "FRONTAL"  # the view of images of which the description names none
SEVERAL = re.compile(r"[;|]")  # between the paths, or the views, in a cell
LONGEST_PATH = 4096  # bytes; no system takes a longer one
LONGEST_WORD = 200  # characters of a view, device, site or identifier
REPORT_SUFFIXES = (".txt", ".TXT", ".text")
# The reports of the manifest that was read last, by the state of its tables: each batch of studies opens it anew.
_TEXTS: dict[tuple[str, ...], TextsByName] = {}
DETAILS = {
    "no_path": "The row of the manifest names no image.",
    "unusable_path": "The row names a path that no file can have.",
    "no_patient": "The row names no patient, so it cannot be put into a split.",
    "no_study": "The row names no study.",
    "views_unlike_paths": "The row names another number of views than of images.",
    "too_long": f"A view, device, site or identifier of the row has more than {LONGEST_WORD} characters.",
    "bad_date": "The date is none, or of a form that is not known: say `date_format`.",
    "bad_sex": "The sex is none of F, M, O and their words: say what it means in `values`.",
    "bad_age": "The age is no number of years that a patient can have.",
    "bad_laterality": "The laterality is neither L nor R, nor a word for one of them: say what it means in `values`.",
    "bad_split": "The split is none of train, validate and test, and of their words: say what it means in `values`.",
    "no_split": "The row is in no split.",
    "bad_label": "A label is none of 1, 0, -1 and empty: say what its words mean in `values`.",
    "bad_box": "A box of the image lacks a number or its label, has no size, or lies off every image.",
    "no_report": "The row, its study, or the table of the reports has no report for the image.",
    "other_report": "An earlier row gives the study another report.",
}


class Manifest:
    """Reads the images of a described archive from a table."""

    details: Mapping[str, str] = DETAILS

    def __init__(self, description: Description, root: Path) -> None:
        self.description, self.root = description, root
        self.has_reports = description.report != ReportSource()
        self._folder = clean_path(description.images)
        self._described_reports = ManifestReports(description, root)
        if description.report.sr:
            raise CohortError(
                "The description has a manifest and `report: {sr: true}`; SR objects are read without one."
            )

    @property
    def notes(self) -> Sequence[str]:
        """That all images are taken for frontal ones, where nothing says which are, and words that are no labels."""
        columns = self.description.columns
        words = describe_words(self._table, self.description.labels)
        if columns.view or any(view for view, _ in columns.images()):
            return words
        return ("The description names no column of the view, so every image counts as frontal.", *words)

    def list_rows(self) -> pd.DataFrame:
        """The rows of the manifest in their order, one for each path, with ROWS and `line` (of the table)."""
        self._check_values()
        lines = self._images["line"].to_numpy()
        facts = self._facts().iloc[lines].reset_index(drop=True)
        reports = self._reports[["report_path", "differs"]].iloc[lines].reset_index(drop=True)
        rows = self._images.assign(**facts, **reports)
        rows["reason"] = self._reasons(rows)
        return rows[[*ROWS, "line"]]

    def extras(self, rows: pd.DataFrame) -> Mapping[str, Any]:
        """Labels and boxes of the rows."""
        from cohorts.rows import list_column

        found: dict[str, Any] = {}
        labels, _ = self._labels
        if labels is not None:
            found["labels"] = labels.take(pa.array(rows["line"].to_numpy()))
        if self._boxes is not None:
            repeated = rows["image_path"].duplicated() | (rows["image_path"] == "")
            ids = rows["image_path"].where(~repeated, "\0" + rows.index.astype(str))
            found["boxes"] = list_column(ids, self._boxes[0], BOX)
        return found

    def read_report(self, row: Mapping[str, Any]) -> str:
        """The text of the report: of the cell, of the columns of its sections, or of its file."""
        report = self.description.report
        in_file = report.file or report.folder
        text = read_text(self.root, row["report_path"]) if in_file else self._texts_of_images.find(row["image_path"])
        if not text.strip():
            raise ReportError("empty_report", "The row of the manifest has no report.")
        if len(text) > MAXIMUM_BYTES:
            raise ReportError("unreadable_report", "The cell of the report is far longer than a report.")
        return text

    def release(self) -> None:
        """Forget the reports that batches share; the rest goes with this object."""
        _TEXTS.clear()

    @cached_property
    def _texts_of_images(self) -> TextsByName:
        """The report of each image, of the first row that names it."""
        tables = [name for name in (self.description.manifest, self.description.report.table) if name]
        state = (repr(self.description), str(self.root), *file_stamps(self.root, [clean_path(name) for name in tables]))
        if state not in _TEXTS:
            _TEXTS.clear()
            _TEXTS[state] = TextsByName(self._images["image_path"], self._images["line"], self._reports["report"])
        return _TEXTS[state]

    @cached_property
    def _table(self) -> pd.DataFrame:
        """The columns that the description names, with the words of `values` replaced by what they mean."""
        described = self.description
        columns, boxes = described.columns, described.boxes
        named = [column for _, column in columns.images()] + list(columns.facts().values())
        named += self._described_reports.columns
        named += [*described.labels.columns.values(), described.labels.column]
        if not boxes.table:
            named += [boxes.label, boxes.x, boxes.y, boxes.width, boxes.height]
        return self._read(described.manifest, [name for name in named if name], described.sheet)

    def _check_values(self) -> None:
        """CohortError where the description says what the words of a column mean that it does not use."""
        described = self.description
        report, boxes = described.report, described.boxes
        used = {*self._table.columns, report.text, report.file, report.key, *report.sections.values()}
        used |= {boxes.image, boxes.label, boxes.x, boxes.y, boxes.width, boxes.height}
        if unknown := next((column for column in described.values if column not in used), None):
            raise CohortError(
                f"The description says what the words of {unknown!r} mean, a column that it does not use."
            )

    def _read(self, name: str, columns: list[str], sheet: str = "") -> pd.DataFrame:
        described = self.description
        paths = [column for _, column in described.columns.images()] + [described.report.file, described.boxes.image]
        return read_table(table_path(self.root, name), columns, sheet, described.values, exact=paths)

    @cached_property
    def _reports(self) -> pd.DataFrame:
        """For each row of the table: report, report_path, and whether it `differs` from an earlier one of the study."""
        keys = self._identities["patient"].str.cat(self._identities["study"], sep="\0")
        return self._described_reports.find(self._table, keys)

    @cached_property
    def _images(self) -> pd.DataFrame:
        """line, image_path, view and problem of each path that the table names, and of each row that names none."""
        import pandas as pd

        columns, table = self.description.columns, self._table
        named = [column for _, column in columns.images()]
        parts = [
            self._images_of(table.iloc[start : start + ROWS_AT_ONCE][[*named, *filter(None, [columns.view])]], start)
            for start in range(0, len(table), ROWS_AT_ONCE)
        ]
        return pd.concat(parts, ignore_index=True) if parts else self._images_of(table, 0)

    def _images_of(self, table: pd.DataFrame, start: int) -> pd.DataFrame:
        """The `_images` of some rows of the table, the first of which is its line `start`."""
        import pandas as pd

        columns = self.description.columns
        views = table[columns.view].tolist() if columns.view else None
        found: list[tuple[int, str, str, str]] = []
        cells = [(view, table[column].tolist()) for view, column in columns.images()]
        for row in range(len(table)):
            line = start + row
            paths = [
                (self._place(path), view)
                for view, column in cells
                for path in SEVERAL.split(column[row])
                if path.strip()
            ]
            problem = "" if paths else "no_path"
            paths = paths or [(f"{self.description.manifest}#{line + 1}", "")]
            named = [view for _, view in paths]
            if views is not None and not any(named):
                said = [view.strip() for view in SEVERAL.split(str(views[row]))]
                named = said if len(said) == len(paths) else said * len(paths)
                problem = problem or ("views_unlike_paths" if len(named) != len(paths) else "")
            elif views is None and not any(named):
                named = [FRONTAL] * len(paths)
            found += [(line, path, view, problem) for (path, _), view in zip(paths, named, strict=False)]
        return pd.DataFrame(found, columns=["line", "image_path", "view", "problem"]).astype({"line": int})

    def _place(self, path: str) -> str:
        """The path of an image from the root."""
        folder, cleaned = self._folder, clean_path(path)
        return f"{folder}/{cleaned}" if folder and cleaned and not cleaned.startswith("/") else cleaned

    def _facts(self) -> pd.DataFrame:
        """For each row of the table: patient, study, split and the facts, with NaN where a word has no meaning."""
        import pandas as pd

        known = self._dates()

        def read_years(word: str) -> float:
            return np.nan if says_nothing(word) else read_age(word)

        return pd.DataFrame(
            {
                **self._identities,
                "split": self._meaning("split", SPLITS),
                "date": map_words(self._words("date"), lambda word: "" if says_nothing(word) else known[word]),
                "sex": self._meaning("sex", SEXES),
                "age": map_words(self._words("age"), read_years),
                "old": map_words(self._words("age"), lambda word: not says_nothing(word) and np.isnan(read_age(word))),
                "device": self._words("device"),
                "site": self._words("site"),
                "laterality": self._meaning("laterality", SIDES),
            }
        )

    def _words(self, name: str) -> pd.Series:
        """The column of a fact; empty where the description names none."""
        import pandas as pd

        column = self.description.columns.facts().get(name)
        return self._table[column] if column else pd.Series("", self._table.index, dtype=object)

    def _meaning(self, name: str, known: Mapping[str, str]) -> pd.Series:
        return map_words(self._words(name), lambda word: "" if says_nothing(word) else known.get(word.lower()))

    def _dates(self) -> dict[str, str | None]:
        """The date of each word of their column, as text."""
        words = {word for word in self._words("date").unique() if not says_nothing(word)}
        dates = read_dates(words, self.description.date_format, self.description.columns.date)
        return {word: day.isoformat() if day else None for word, day in dates.items()}

    @cached_property
    def _identities(self) -> dict[str, pd.Series]:
        """The patient and the study of each row of the table. A study without a name is known by its images."""
        table, columns = self._table, self.description.columns
        images = table[[column for _, column in columns.images()]]
        study = self._words("study") if columns.study else images.iloc[:, 0].str.cat(images.iloc[:, 1:], sep="|")
        return {"patient": study if columns.patient == NO_PATIENTS else self._words("patient"), "study": study}

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        described = self.description
        _, spoilt_labels = self._labels
        spoilt_boxes = self._boxes[1] if self._boxes is not None else frozenset()
        words = rows[["patient", "study", "view", "device", "site"]]
        return first_reasons(
            {
                "problem": np.zeros(len(rows), bool),
                **{reason: rows["problem"] == reason for reason in ("no_path", "views_unlike_paths")},
                "unusable_path": rows["image_path"].map(lambda path: len(path.encode()) > LONGEST_PATH),
                "no_patient": rows["patient"].map(says_nothing),
                "no_study": rows["study"].map(says_nothing),
                "too_long": (words.apply(lambda column: column.str.len()) > LONGEST_WORD).any(axis=1),
                **{f"bad_{name}": rows[name].isna() for name in ("date", "sex", "laterality", "split")},
                "no_split": (rows["split"] == "") & bool(described.columns.split),
                "bad_age": rows["old"],
                "bad_label": spoilt_labels[rows["line"].to_numpy()],
                "bad_box": rows["image_path"].isin(spoilt_boxes),
                "other_report": rows["differs"],
                "no_report": (rows["report_path"] == "") & self.has_reports,
            },
            len(rows),
        )

    @cached_property
    def _labels(self) -> tuple[pa.MapArray | None, np.ndarray]:
        """The labels of each row of the table, and whether one of them is spoilt."""
        return read_labels(self._table, self.description.labels)

    @cached_property
    def _boxes(self) -> tuple[pd.DataFrame, frozenset[str]] | None:
        """The boxes by image_path, and the paths of images with a broken one; None where none are described."""
        described = self.description
        boxes = described.boxes
        if not boxes.label:
            return None
        if boxes.table:
            table = self._read(boxes.table, [boxes.image, boxes.label, boxes.x, boxes.y, boxes.width, boxes.height])
            paths = table[boxes.image].map(self._place)
            if len(paths) and not paths.isin(self._images["image_path"]).any():
                raise CohortError(
                    f"{boxes.table} names no image of {described.manifest} in its column {boxes.image!r}; correct the "
                    "description."
                )
            return read_boxes(table, paths, boxes)
        images = self._images
        rows = self._table.iloc[images["line"].to_numpy()].reset_index(drop=True)
        return read_boxes(rows, images["image_path"], boxes)


def map_words(words: pd.Series, meaning: Callable[[str], Any]) -> pd.Series:
    """What each word means; of words that are there often, it is found once."""
    import pandas as pd

    codes, distinct = pd.factorize(words)
    found = pd.Series([meaning(word) for word in distinct], dtype=object)
    return found.take(codes).set_axis(words.index)
