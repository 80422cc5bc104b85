"""Guesses the description of a tree of DICOM files from the headers of some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cohorts.described.description import Description, ReportSource
from cohorts.described.dicom.files import Found
from cohorts.described.dicom.index import OBJECT, describe_file
from cohorts.described.dicom.joining import ACCESSION, STUDY, STUDY_ID, join_files
from cohorts.described.dicom.rows import DETAILS
from cohorts.errors import CohortError
from ingestion.inspection.guess import Guess, report_columns

if TYPE_CHECKING:
    from ingestion.inspection.listing import Listing
    from ingestion.inspection.progress import Log
    from ingestion.inspection.sheets import Sheet

MOST_HEADERS = 400  # that are read
NEVER_DICOM = frozenset(
    {".csv", ".tsv", ".txt", ".text", ".xml", ".json", ".yaml", ".yml", ".md", ".html", ".pdf", ".parquet", ".xlsx"}
    | {".jpg", ".jpeg", ".png", ".gif", ".py", ".log", ".zip", ".gz", ".tar", ".db", ".pt", ".ckpt", ".safetensors"}
)
NO_DICOM = ("not_dicom", "packed_file", "not_a_file", "path_outside_root", "unreadable_file")
ATTRIBUTES = {ACCESSION: "AccessionNumber", STUDY: "StudyInstanceUID", STUDY_ID: "StudyID"}
COLUMNS = ("path", "patient", *ATTRIBUTES)


@dataclass(frozen=True)
class Tree:
    """What the headers of some files of a tree say. Identifiers serve to join reports and are shown nowhere."""

    headers: list[dict[str, Any]]  # rows of `cohorts.described.dicom.index.HEADERS`, of DICOM objects alone
    looked_at: int
    others: int  # files that were looked at and are no DICOM objects

    def count(self, name: str) -> dict[str, int]:
        """How many of the images have each value of a fact."""
        return dict(Counter(row[name] for row in self.images()).most_common())

    def images(self) -> list[dict[str, Any]]:
        """The headers of chest radiographs."""
        return [row for row in self.headers if not row["reason"]]

    def reasons(self) -> list[tuple[str, str, int]]:
        """Why objects are no studies: reason, sentence, objects."""
        found = Counter(row["reason"] for row in self.headers if row["reason"])
        return [(reason, DETAILS.get(reason, ""), count) for reason, count in found.most_common()]


def look_at_headers(listing: Listing, log: Log) -> Tree | None:
    """The headers of an even sample of the files that may be DICOM; None where none of them is."""
    paths = [path for path in listing.paths() if PurePosixPath(path).suffix.lower() not in NEVER_DICOM]
    chosen = (
        [paths[number * len(paths) // MOST_HEADERS] for number in range(MOST_HEADERS)]
        if len(paths) > MOST_HEADERS
        else paths
    )
    if chosen:
        log(f"Looking into the headers of {len(chosen)} of {len(paths)} files.")
    rows = [row for path in chosen if (row := _describe(listing, path)) is not None]
    headers = [row for row in rows if row["kind"] == OBJECT and row["reason"] not in NO_DICOM]
    return Tree(headers, len(chosen), len(chosen) - len(headers)) if headers else None


def guess_tree(tree: Tree, sheets: Sequence[Sheet], listing: Listing) -> Guess:
    """The description of a tree: where its reports are."""
    notes: dict[str, list[str]] = {}
    report = _structured(tree) or _in_table(tree, sheets) or _in_files(tree, listing)
    if report is None:
        notes["report"] = ["No reports were found: without them the export is for evaluation."]
    without = sum(not row["patient"] for row in tree.headers)
    if without:
        notes["split"] = [f"{without} of {len(tree.headers)} headers name no patient; these become rejects."]
    return Guess(Description(report=report or ReportSource()), notes, len(tree.headers))


def _describe(listing: Listing, path: str) -> dict[str, Any] | None:
    try:
        return describe_file(listing.root, Found(path, "seen"))
    except CohortError:  # it vanished, or the disk failed: a reader will say so
        return None


def _structured(tree: Tree) -> ReportSource | None:
    return ReportSource(sr=True) if any(row["is_report"] for row in tree.headers) else None


def _in_table(tree: Tree, sheets: Sequence[Sheet]) -> ReportSource | None:
    """The table with texts and a column that holds the most identifiers of studies."""
    best: tuple[float, ReportSource] | None = None
    for sheet in sheets:
        source = report_columns(sheet.columns)
        if not source.text and not source.sections:
            continue
        for column in sheet.columns:
            values = set(column.values)
            for attribute, called in ATTRIBUTES.items():
                known = {row[attribute] for row in tree.headers if row[attribute]}
                share = len(known & values) / len(known) if known else 0.0
                if share and (best is None or share > best[0]):
                    by = "" if _is_called(column.name, called) or attribute == ACCESSION else attribute
                    best = share, ReportSource(
                        table=sheet.path, key=column.name, text=source.text, sections=source.sections, by=by
                    )  # fmt: skip
    return best[1] if best else None


def _in_files(tree: Tree, listing: Listing) -> ReportSource | None:
    """The folder of text files whose names hold identifiers of studies."""
    import pandas as pd

    texts = [path for path in listing.paths() if PurePosixPath(path).suffix.lower() in (".txt", ".text", ".rpt")]
    rows = pd.DataFrame([{name: row[name] for name in COLUMNS} for row in tree.headers], dtype=object)
    best = max(
        ((join_files(texts, rows, attribute), attribute) for attribute in ATTRIBUTES), key=lambda one: len(one[0])
    )
    paths = [path for found in best[0].values() for path in found]
    if not paths:
        return None
    folders = Counter(PurePosixPath(path).parts[0] if "/" in path else "." for path in paths)
    folder = folders.most_common(1)[0][0] if len(folders) == 1 else "."
    return ReportSource(folder=folder, key=ATTRIBUTES[best[1]])


def _is_called(column: str, attribute: str) -> bool:
    return column.replace("_", "").replace(" ", "").lower() == attribute.lower()
