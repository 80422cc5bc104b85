"""Says what lies at a path: published datasets, an archive that has to be described, or nothing that can be read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cohorts.archive.folders import is_folder
from ingestion.inspection.archives import Archive, recognise_archives
from ingestion.inspection.errors import InspectionError
from ingestion.inspection.listing import Listing, list_folder
from ingestion.inspection.recognise import recognise

if TYPE_CHECKING:
    from ingestion.inspection.listing import Log

HOME_MARKS = ("mlflow.db", "checkpoints", "results", "dagster")  # of which a home has at least two


@dataclass(frozen=True)
class Inspection:
    """What was found at a path."""

    path: Path
    listing: Listing
    archives: list[Archive]  # published datasets, those that can be used first


def inspect(path: Path, log: Log) -> Inspection:
    """Look at a folder. No pixels are opened, and nothing is written.

    Raises:
        UserError: there is no such path, or nothing there that could be read; the message is one sentence.
    """
    if not os.path.lexists(path):
        raise InspectionError(f"There is no {path}: name the folder of an archive, a table or an archive.yaml.")
    if not is_folder(path):
        raise InspectionError(f"{path} is no folder.")
    listing = list_folder(path, log)
    if is_home(listing):
        raise InspectionError(
            f"{path} is a home of Radalign, where everything that is computed lies; name the folder of an archive."
        )
    archives = recognise_archives(path, recognise(listing), log)
    if not archives:
        raise InspectionError(explain_nothing(listing))
    return Inspection(path, listing, archives)


def is_home(listing: Listing) -> bool:
    """Whether a folder is where results of this project are kept."""
    there = {name for name in HOME_MARKS if name in listing.names or name in listing.names.get("", ())}
    return len(there) > 1


def explain_nothing(listing: Listing) -> str:
    """One sentence about a folder that holds nothing that could be read."""
    endings = [f"{count} {ending or 'without an ending'}" for ending, count in listing.suffixes().most_common(4)]
    if not endings:
        return f"{listing.root} holds no files; name the folder of an archive."
    return (
        f"{listing.root} is none of the published datasets, has no table with paths of its images and no DICOM files "
        f"(it holds {', '.join(endings)}); write a table with a row per image, with the columns image, patient and "
        "report."
    )
