"""Cuts an archive into batches of studies that stay what they are when the archive grows.

The plan remembers which study is in which batch. New studies go into new batches, so they cost only
themselves; a study that changed or vanished gives its batch another fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets import batches
from assets.batches import Batch, Outcome, Plan

if TYPE_CHECKING:
    from cohorts.base import Cohort, Scan

REJECTS = "rejects.parquet"


def take_inventory(folder: Path, cohort: Cohort, scan: Scan, batch_size: int) -> tuple[Plan, list[Outcome]]:
    """Write the scan of an archive as batches of studies, its rejects and the plan."""
    rows = _rows_by_study(scan.studies)
    members = assign(_previous_members(folder, batch_size), list(rows), batch_size)
    texts = _shared_texts(cohort, rows)
    plan_batches, outcomes = [], []
    for name, studies in members.items():
        chosen = [row for study in studies for row in rows[study]]
        batch = Batch(name, source_fingerprint(cohort.root, chosen, texts))
        table = pa.Table.from_pylist(chosen, schema=scan.studies.schema)
        outcomes.append(batches.run_batch(folder, batch, lambda table=table: (table, None)))  # type: ignore[misc]
        plan_batches.append(batch)
    batches.write_table(scan.rejects, folder / REJECTS)
    settings = {"batch_size": batch_size, "members": members, "source_rows": scan.source_rows}
    plan = Plan(tuple(plan_batches), settings)
    batches.commit(folder, plan)
    return plan, outcomes


def assign(previous: Mapping[str, Sequence[str]], present: Sequence[str], size: int) -> dict[str, list[str]]:
    """Which study is in which batch: known ones stay, new ones open new batches, vanished ones leave."""
    there = set(present)
    kept = {name: [study for study in studies if study in there] for name, studies in previous.items()}
    known = {study for studies in kept.values() for study in studies}
    new = [study for study in present if study not in known]
    first = 1 + max((int(name[1:]) for name in previous), default=-1)
    fresh = {f"b{first + index:05d}": new[start : start + size] for index, start in enumerate(range(0, len(new), size))}
    return {name: studies for name, studies in {**kept, **fresh}.items() if studies}


def source_fingerprint(root: Path, rows: Iterable[Mapping[str, Any]], texts: Mapping[str, str]) -> str:
    """Digest of a batch's rows and of the size and time of every file they name."""
    described = []
    for row in rows:
        files = [_stamp(root, row["image_path"]), _stamp(root, row["report_path"])]
        text = texts.get(row["study_id"])
        described.append([row, text if text else files[1], files[0]])
    return batches.fingerprint("inventory", described)


def _rows_by_study(studies: pa.Table) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in studies.to_pylist():
        rows.setdefault(row["study_id"], []).append(row)
    return rows


def _previous_members(folder: Path, batch_size: int) -> dict[str, list[str]]:
    settings = batches.read_plan(folder).settings
    return settings["members"] if settings.get("batch_size") == batch_size else {}


def _shared_texts(cohort: Cohort, rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Digest of the text of each study whose report is a row of a table instead of a file of its own."""
    users: dict[str | None, int] = {}
    for study_rows in rows.values():
        path = study_rows[0]["report_path"]
        users[path] = users.get(path, 0) + 1
    return {
        study: _text_digest(cohort, study_rows[0])
        for study, study_rows in rows.items()
        if study_rows[0]["report_path"] is None or users[study_rows[0]["report_path"]] > 1
    }


def _text_digest(cohort: Cohort, study: Mapping[str, Any]) -> str:
    from report_parsing.errors import ReportError

    try:
        return hashlib.sha256(cohort.read_report(study).encode()).hexdigest()
    except ReportError as error:
        return f"no text: {error.reason}"


def _stamp(root: Path, relative: str | None) -> tuple[str, int, int] | None:
    if relative is None:
        return None
    try:
        found = (root / relative).stat()
    except OSError:
        return (relative, -1, -1)
    return (relative, found.st_size, found.st_mtime_ns)
