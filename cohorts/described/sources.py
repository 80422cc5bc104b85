"""Chooses what lists the images of a described archive."""

from __future__ import annotations

from pathlib import Path

from cohorts.described import Source
from cohorts.described.description import Description


def open_source(description: Description, root: Path, home: Path) -> Source:
    """The source of a description: its manifest or, without one, the DICOM files below the root.

    Their headers are kept in the `home`, so that they are read once.
    """
    if description.manifest:
        from cohorts.described.manifest import Manifest

        return Manifest(description, root)
    from cohorts.described.dicom.tree import DicomTree

    return DicomTree(description, root, home)
