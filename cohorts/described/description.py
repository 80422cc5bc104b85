"""The description of an archive, `archive.yaml`: where its images, reports, facts, labels and boxes are.

docs/guides/your_archive.md has the keys with examples. Columns of tables are named as the tables name them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType

NO_PATIENTS = "none"  # columns: {patient: none}: every study is a patient of its own
SHIFT, KEEP = "shift", "keep"  # what becomes of dates
DEFAULT_SPLIT = "70/10/20"
# Sections of a report that may have columns, and the headings that the report is put together with.
HEADINGS = MappingProxyType(
    {name: name.upper() for name in ("examination", "indication", "technique", "comparison", "findings", "impression")}
)


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a manifest."""

    image: str | list[str] | dict[str, str] = ""  # a column, several, or view -> column; a cell may hold several paths
    patient: str = ""  # a column, or NO_PATIENTS
    study: str = ""  # empty: each row is a study
    date: str = ""
    view: str = ""  # empty: every image counts as frontal
    sex: str = ""
    age: str = ""
    device: str = ""
    site: str = ""
    laterality: str = ""
    split: str = ""

    def images(self) -> tuple[tuple[str, str], ...]:
        """(view or "", column) of each column of paths."""
        if isinstance(self.image, dict):
            return tuple(self.image.items())
        return tuple(("", name) for name in ([self.image] if isinstance(self.image, str) else self.image) if name)

    def facts(self) -> dict[str, str]:
        """Name in the table of studies -> column, for all that is not an image."""
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "image"}
        return {name: column for name, column in named.items() if column and (name, column) != ("patient", NO_PATIENTS)}


@dataclass(frozen=True)
class ReportSource:
    """Where the reports are. Of `text`, `file`, `sections`, `folder` and `sr` one is given; a `table` adds its key."""

    text: str = ""  # column of the text
    file: str = ""  # column of the path of a text file
    sections: dict[str, str] = field(default_factory=dict)  # section, such as findings -> column
    table: str = ""  # a table of its own, joined by `key`
    key: str = ""  # of a table its column; of a folder what its files are named by: accession, study or study_id
    by: str = ""  # of a DICOM tree: accession, study (StudyInstanceUID) or study_id; empty: told from `key`
    folder: str = ""  # of text files that are named by the key
    sr: bool = False  # the DICOM SR objects of the study


@dataclass(frozen=True)
class LabelSource:
    """Labels: a column for each, or one column whose words are mapped to labels."""

    columns: dict[str, str] = field(default_factory=dict)  # label -> column of 1, 0, -1 or nothing
    column: str = ""  # of words, several of them separated by ; or |
    values: dict[str, str] = field(default_factory=dict)  # word -> label


@dataclass(frozen=True)
class BoxSource:
    """Boxes in source pixels: columns of a table of its own, or of the manifest."""

    table: str = ""
    image: str = ""  # column of the path of the image; needed with a table
    label: str = ""
    x: str = ""
    y: str = ""
    width: str = ""
    height: str = ""


@dataclass(frozen=True)
class Description:
    """A described archive."""

    root: str = ""  # folder of images and tables; empty: the folder of the description
    manifest: str = ""  # table of the images, relative to the root; empty: a tree of DICOM files
    images: str = ""  # folder that the paths of images count from, relative to the root; empty: the root
    sheet: str = ""  # of a manifest that is an Excel workbook; empty: its first
    columns: Columns = field(default_factory=Columns)
    report: ReportSource = field(default_factory=ReportSource)
    labels: LabelSource = field(default_factory=LabelSource)
    boxes: BoxSource = field(default_factory=BoxSource)
    values: dict[str, dict[str, str]] = field(default_factory=dict)  # column -> its word -> the word that is meant
    split: str = DEFAULT_SPLIT  # shares of the patients for train, validate and test, where no column says it
    dates: str = SHIFT  # or KEEP
    keep_sites: bool = False  # of a DICOM tree: institutions by their names; else each has a name such as site-1f2e3d4c
    date_format: str = ""  # such as %d/%m/%Y; empty: told from the dates
