"""Where the parts of MIMIC-CXR and MIMIC-CXR-JPG lie under one root, however they were downloaded.

The root may be a release folder, hold release folders (`mimic-cxr/2.0.0`, `mimic-cxr-jpg/2.1.0`, or wget's
`physionet.org/files/...`), both releases side by side, and the unpacked reports in `mimic-cxr-reports/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cohorts.archive.folders import is_folder, matches
from cohorts.archive.paths import OutsideRootError, are_files, inside
from cohorts.errors import CohortError

if TYPE_CHECKING:
    import pandas as pd

RELEASES = ("[0-9].*", "mimic-cxr*", "mimic-cxr*/[0-9].*", "physionet.org/files/mimic-cxr*/[0-9].*")
EXTENSIONS = (".jpg", ".dcm")  # where an archive has both, the one that decodes faster
PROBES = 200  # rows looked at to tell which folder holds the files


@dataclass(frozen=True)
class Place:
    """A folder, relative to the root, that holds `files/` with entries of one extension."""

    folder: str
    extension: str

    def paths(self, rows: pd.DataFrame) -> pd.Series:
        """Relative path of each row's image, or of its study's report for `.txt`."""
        subject, study = rows["subject_id"], rows["study_id"]
        study_folder = self.folder + "files/p" + subject.str[:2] + "/p" + subject + "/s" + study
        return study_folder + ("" if self.extension == ".txt" else "/" + rows["image_id"]) + self.extension


def in_releases(pattern: str) -> tuple[str, ...]:
    """A pattern of paths in a release folder, as patterns from the root that `release_folders` would find."""
    return (pattern, *(f"{release}/{pattern}" for release in RELEASES))


def release_folders(root: Path) -> list[Path]:
    """Folders that may be a release, newest version first within each kind of place."""
    found = [folder for pattern in RELEASES for folder in reversed(matches(root, pattern))]
    return [root, *(folder for folder in dict.fromkeys(found) if is_folder(folder) and folder != root)]


def image_place(root: Path, rows: pd.DataFrame) -> Place:
    """Where most of the images lie. All come from one place, so that no cohort mixes two renderings."""
    return _fullest(root, EXTENSIONS, rows)


def report_place(root: Path, rows: pd.DataFrame) -> Place:
    """Where most of the reports lie."""
    return _fullest(root, (".txt",), rows)


def _fullest(root: Path, extensions: Iterable[str], rows: pd.DataFrame) -> Place:
    sample = rows.iloc[:: max(1, len(rows) // PROBES)]
    places = [
        Place(_prefix(root, folder), extension)
        for extension in extensions
        for folder in release_folders(root)
        if _has_files(root, folder)
    ]
    if not places:
        return Place("", next(iter(extensions)))
    return max(places, key=lambda place: int(are_files(root, place.paths(sample).tolist()).sum()))


def _prefix(root: Path, folder: Path) -> str:
    return "" if folder == root else f"{folder.relative_to(root).as_posix()}/"


def _has_files(root: Path, folder: Path) -> bool:
    if not is_folder(folder / "files"):
        return False
    try:
        inside(root, f"{_prefix(root, folder)}files")
    except OutsideRootError as error:
        raise CohortError(
            f"{folder / 'files'} is a link out of {root}; set the root to the folder it leads to."
        ) from error
    return True
