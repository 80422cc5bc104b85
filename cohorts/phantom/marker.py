"""A file that marks an archive as simulated. In the layout of a published dataset nothing else shows it."""

from __future__ import annotations

from pathlib import Path

from cohorts.archive.folders import is_file

MARKER = "SIMULATED.txt"
TEXT = "Images, reports and patients in this folder are a simulation; nothing measured on them speaks of patients.\n"


def mark(root: Path) -> None:
    """Mark the archive in `root` as simulated."""
    (root / MARKER).write_text(TEXT, encoding="utf-8")


def is_marked(root: Path) -> bool:
    """Whether the archive in `root` is marked as simulated."""
    return is_file(root / MARKER)
