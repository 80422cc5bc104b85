"""A file that says that an archive was drawn: in the layout of a published dataset nothing else would tell."""

from __future__ import annotations

from pathlib import Path

MARKER = "SIMULATED.txt"
TEXT = "Films, reports and patients in this folder are a simulation; nothing measured on them speaks of patients.\n"


def mark(root: Path) -> None:
    """Say that what lies in `root` is simulated."""
    (root / MARKER).write_text(TEXT, encoding="utf-8")


def is_marked(root: Path) -> bool:
    """Whether the archive in `root` says that it is simulated."""
    return (root / MARKER).is_file()
