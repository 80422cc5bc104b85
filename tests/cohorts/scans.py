"""What every scan must be, whichever archive it is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cohorts.base import Scan
from cohorts.tables import REJECTS, STUDIES


def check(scan: Scan) -> Scan:
    """Schemas, row accounting, unique images, and no patient in two splits; returns the scan."""
    assert scan.studies.schema.equals(STUDIES, check_metadata=True)
    assert scan.rejects.schema.equals(REJECTS, check_metadata=True)
    assert scan.source_rows == len(scan.studies) + len(scan.rejects)
    ids = scan.studies["image_id"].to_pylist() + scan.rejects["image_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert all(scan.rejects["detail"].to_pylist())
    splits = dict(zip(scan.studies["subject_id"].to_pylist(), scan.studies["split"].to_pylist(), strict=True))
    assert splits == {row["subject_id"]: row["split"] for row in reversed(scan.studies.to_pylist())}
    return scan


def rejected(scan: Scan) -> dict[str, str]:
    """Reason by image."""
    return dict(zip(scan.rejects["image_id"].to_pylist(), scan.rejects["reason"].to_pylist(), strict=True))


def by_image(scan: Scan) -> dict[str, dict]:
    """The studies by image, with labels as dicts."""
    return {row["image_id"]: row | {"labels": dict(row["labels"] or ())} for row in scan.studies.to_pylist()}


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Rewrite the lines of a text file."""
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
