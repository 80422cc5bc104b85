"""Archives that no published layout describes: a YAML file says where their images, reports and facts are.

`description` is the file. A `Source` lists the images: `manifest.Manifest` reads a table, `dicom.tree.DicomTree` the
headers of DICOM files where the description names no manifest. The reader `cohorts.readers.archive` makes studies and
rejects of the rows: it looks for the files, hashes the identifiers with the key of the home (`pseudonyms`), moves the
dates and draws the splits. A source does none of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

# The columns of the rows of a source; a row is an image. All are text, and empty where nothing is said.
ROWS = (
    "image_path",  # relative to the root of the description; for a row that is no image, what it is about
    "patient",  # as the archive names the patient; hashed by the reader
    "study",  # as the archive names the study; hashed by the reader, together with the patient
    "view",
    "split",  # train, validate or test; empty: drawn
    "report_path",  # relative path of the file that holds the report: a text, an SR object or a table
    "reason",  # why the row is no study (a key of `Source.details`), as far as the source can tell
    "date",  # yyyy-mm-dd, as the archive has it; moved by the reader
    "sex",  # F, M or O
    "age",  # years, a number
    "device",
    "site",
    "laterality",  # L or R
)


class Source(Protocol):
    """Lists the images of a described archive. Made by `Source(description, root)`; nothing is opened until asked."""

    has_reports: bool
    details: Mapping[str, str]  # reason -> a sentence without identifiers

    @property
    def notes(self) -> Sequence[str]:
        """What to say of the archive after its rows were listed, without names and identifiers."""
        ...

    def list_rows(self) -> pd.DataFrame:
        """A row per image with the columns ROWS, in an order that does not change."""
        ...

    def extras(self, rows: pd.DataFrame) -> Mapping[str, Any]:
        """`labels`, `boxes` and so on of `cohorts.tables.STUDIES` as Arrow arrays in the order of `rows`, or {}."""
        ...

    def read_report(self, row: Mapping[str, Any]) -> str:
        """The text of the report of a row with `image_path` and `report_path`, of `list_rows` or of the studies;
        raises report_parsing.errors.ReportError."""
        ...

    def release(self) -> None:
        """Forget what is kept beyond this object; whoever calls it lets this one go as well."""
        ...
