"""Source rows of a tree: one per DICOM object, per file that has the name of an image, and per file that a DICOMDIR
names and nobody has. Each has the reason why it is no study, as far as headers tell.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cohorts.archive.names import escape_bytes
from cohorts.archive.paths import stays_inside
from cohorts.described.dicom.directory import folder_of, match_names, plain
from cohorts.described.dicom.index import CATALOGUE, OBJECT, OTHER
from cohorts.rows import first_reasons

if TYPE_CHECKING:
    import pandas as pd

DETAILS = MappingProxyType(
    {
        "not_dicom": "The file has the name of an image, or none, and does not begin as a DICOM file does.",
        "packed_file": "The file is gzipped; unpack it.",
        "unreadable_header": "The DICOM header is damaged, ends too early, or is far longer than one.",
        "unreadable_file": "The file may not be opened; correct its permissions.",
        "not_a_file": "This is no regular file: a pipe, a socket, a device, or a link that leads nowhere.",
        "path_outside_root": "A link, or the path in a DICOMDIR, leads out of the archive.",
        "missing_file": "A DICOMDIR names this file, and it is not there.",
        "no_image": "The DICOM object is no image: a report, a presentation state, a document or the like.",
        "other_modality": "The modality is not CR or DX, and the header does not call the image a chest radiograph.",
        "other_body_part": "The body part, or without one the descriptions, name no chest.",
        "localizer": "The image is a scout or localizer.",
        "screenshot": "The image is a secondary capture of a screen or a page.",
        "several_frames": "The object has several frames.",
        "no_subject": "The header has no PatientID, so the image cannot be put into a split.",
        "no_study": "The header has no StudyInstanceUID.",
        "duplicate_id": "An earlier file has the same SOPInstanceUID.",
        "for_processing": "The series has the same image for presentation.",
        "no_report": "No report belongs to the study.",
    }
)
FOR_PROCESSING, FOR_PRESENTATION = "FOR PROCESSING", "FOR PRESENTATION"


def list_objects(headers: pa.Table) -> pd.DataFrame:
    """The source rows of a table HEADERS, with its columns of facts as text, sorted by path."""
    import pandas as pd

    objects = headers.filter(pc.equal(headers["kind"], OBJECT)).drop_columns(["kind", "names", "stamp"])
    rows = pd.concat([objects.to_pandas(), _missing(headers)], ignore_index=True)
    rows = rows.fillna("").sort_values("path", kind="stable", ignore_index=True)
    rows["reason"] = _reasons(rows)
    return rows


def describe_others(headers: pa.Table, hidden: int) -> list[str]:
    """Sentences about the files that are no rows, `hidden` ones among them, and those that a DICOMDIR leaves out."""
    others = pc.sum(pc.equal(headers["kind"], OTHER)).as_py()
    notes = [f"{others} other files of the tree are no images."] if others else []
    if hidden:
        notes.append(f"{hidden} files and folders whose names begin with a point were left out; rename what is wanted.")
    if unlisted := _count_unlisted(headers):
        notes.append(f"{unlisted} DICOM files are not named by the DICOMDIR above them, and are read like all others.")
    return notes


def _count_unlisted(headers: pa.Table) -> int:
    """How many DICOM files lie below a DICOMDIR that does not name them."""
    listed: set[str] = set()
    folders: list[str] = []
    for folder, found in _catalogues(headers):
        folders.append("" if folder == "." else f"{folder}/")
        listed.update(found.values())
    objects = headers.filter(pc.not_equal(pc.fill_null(headers["image"], ""), ""))["path"].to_pylist()
    return sum(path not in listed and path.startswith(tuple(folders)) for path in objects) if folders else 0


def _missing(headers: pa.Table) -> pd.DataFrame:
    """Rows of the files that a DICOMDIR names and the tree does not have."""
    import pandas as pd

    names = {
        escape_bytes(name if folder == "." else f"{folder}/{name}"): None
        for folder, found in _catalogues(headers)
        for name, path in found.items()
        if not path
    }
    reasons = ["missing_file" if stays_inside(name) else "path_outside_root" for name in names]
    return pd.DataFrame({"path": list(names), "reason": reasons}, dtype=object)


def _catalogues(headers: pa.Table) -> list[tuple[str, dict[str, str]]]:
    """The folder of each DICOMDIR, and for each name in it the file of the tree."""
    catalogues = headers.filter(pc.equal(headers["kind"], CATALOGUE)).select(["path", "names"]).to_pylist()
    paths = {plain(path): path for path in headers["path"].to_pylist()} if catalogues else {}
    folders = [(folder_of(each["path"]), each["names"] or []) for each in catalogues]
    return [(folder, match_names(folder, names, paths)) for folder, names in folders]


def _reasons(rows: pd.DataFrame) -> pd.Series:
    """The reason of each header, else what only the other headers tell."""
    import pandas as pd

    alone = rows["reason"].mask(rows["reason"] == "", pd.Series(_own_reasons(rows), rows.index))
    free = rows[alone == ""]
    presented = free.loc[free["intent"] != FOR_PROCESSING, ["study", "series"]].drop_duplicates()
    is_presented = pd.MultiIndex.from_frame(free[["study", "series"]]).isin(pd.MultiIndex.from_frame(presented))
    together = first_reasons(
        {
            "duplicate_id": free["image"].duplicated() & (free["image"] != ""),
            "for_processing": (free["intent"] == FOR_PROCESSING) & is_presented,
        },
        len(free),
    )
    alone[free.index] = together
    return alone


def _own_reasons(rows: pd.DataFrame) -> object:
    return first_reasons({"no_subject": rows["patient"] == "", "no_study": rows["study"] == ""}, len(rows))
