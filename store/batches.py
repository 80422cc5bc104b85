"""Content-addressed batches: what is there under its fingerprint is not computed again.

A stage has a folder. In it lie `<fingerprint>.parquet` per batch, `<fingerprint>.rejects.parquet` beside
it, and `plan.json`, which names the batches that count. The output file is written last, so its presence
says that the batch is complete, whatever was killed before; the plan is written when all of its batches are.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.atomic import PARTIAL, write_json, write_table
from store.digests import fingerprint

PLAN = "plan.json"
BATCH_FILE = re.compile(r"([0-9a-f]{20})(\.rejects)?\.parquet")
STRAY_SECONDS = 3600  # no file takes longer to write; whoever began an older partial one was killed

Computed = tuple[pa.Table, pa.Table | None]


@dataclass(frozen=True)
class Batch:
    """One piece of a stage's work: what it will be called, and the upstream files it is made from."""

    name: str
    fingerprint: str
    inputs: dict[str, str] = field(default_factory=dict)  # upstream stage -> fingerprint of its batch
    aspects: dict[str, str] = field(default_factory=dict)  # what a later stage may read alone -> fingerprint of that


@dataclass(frozen=True)
class Outcome:
    """What became of a batch."""

    name: str
    fingerprint: str
    computed: bool
    rows: int
    rejects: int


@dataclass(frozen=True)
class Plan:
    """The batches of a stage that count, in order, and the settings they were made with."""

    batches: tuple[Batch, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def fingerprints(self, aspect: str = "") -> dict[str, str]:
        """Fingerprint by batch name: of the whole batch, or of one aspect where the stage tells them apart."""
        return {batch.name: batch.aspects.get(aspect, batch.fingerprint) for batch in self.batches}

    def to_json(self) -> dict[str, Any]:
        """The plan as values that JSON can write."""
        return {"settings": self.settings, "batches": [asdict(batch) for batch in self.batches]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Plan:
        """The plan of `to_json`."""
        return cls(tuple(Batch(**batch) for batch in stored["batches"]), stored["settings"])


def plan_stage(
    stage: str, code: str, settings: Mapping[str, Any], upstream: Mapping[str, Plan], aspect: str = ""
) -> Plan:
    """A batch per upstream batch; its fingerprint covers stage, code, settings and what it reads of upstream."""
    first, *others = upstream.values()
    for other in others:
        if other.fingerprints().keys() != first.fingerprints().keys():
            raise ValueError(f"The inputs of {stage} were cut into different batches: materialize them together")
    files = {name: plan.fingerprints() for name, plan in upstream.items()}
    read = {name: plan.fingerprints(aspect) for name, plan in upstream.items()}
    batches = []
    for batch in first.batches:
        content = {name: fingerprints[batch.name] for name, fingerprints in read.items()}
        inputs = {name: fingerprints[batch.name] for name, fingerprints in files.items()}
        batches.append(Batch(batch.name, fingerprint(stage, code, settings, content), inputs))
    return Plan(tuple(batches), dict(settings))


def missing(folder: Path, plan: Plan) -> list[Batch]:
    """The batches of a plan that are yet to be computed."""
    return [batch for batch in plan.batches if not output_path(folder, batch.fingerprint).exists()]


def run_batch(
    folder: Path,
    batch: Batch,
    compute: Callable[[], Computed],
    write: Callable[[pa.Table, Path], None] | None = None,
) -> Outcome:
    """Compute a batch unless its file is there. Rejects first, output last: the output says "complete"."""
    output, rejects = output_path(folder, batch.fingerprint), rejects_path(folder, batch.fingerprint)
    computed = not output.exists()
    if computed:
        table, rejected = compute()
        folder.mkdir(parents=True, exist_ok=True)
        if rejected is not None:
            write_table(rejected, rejects)
        (write or write_table)(table, output)
    return Outcome(batch.name, batch.fingerprint, computed, row_count(output), reject_count(folder, batch))


def commit(folder: Path, plan: Plan) -> list[Path]:
    """Make a complete plan the one that counts and remove what it no longer needs; returns what was removed.

    Files of the plan before this one stay for one more commit: a run that began earlier may be reading them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = {*plan.fingerprints().values(), *read_plan(folder).fingerprints().values()}
    write_json(folder / PLAN, plan.to_json())
    removed = []
    for path in folder.iterdir():
        match = BATCH_FILE.fullmatch(path.name)
        if (match and match[1] not in needed) or _is_stray(path):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def read_plan(folder: Path) -> Plan:
    """The plan that counts; empty where nothing was committed yet."""
    path = folder / PLAN
    if not path.exists():
        return Plan()
    return Plan.from_json(json.loads(path.read_text()))


def read_batches(folder: Path, plan: Plan | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a stage, in the plan's order; of all columns or of some."""
    paths = [output_path(folder, batch.fingerprint) for batch in (plan or read_plan(folder)).batches]
    return _concat(paths, columns)


def read_rejects(folder: Path, plan: Plan | None = None) -> pa.Table | None:
    """All rejects of a stage, or None where it keeps none."""
    batches = (plan or read_plan(folder)).batches
    paths = [path for batch in batches if (path := rejects_path(folder, batch.fingerprint)).exists()]
    return _concat(paths) if paths else None


def output_path(folder: Path, fingerprint: str) -> Path:
    """The file of a batch."""
    return folder / f"{fingerprint}.parquet"


def rejects_path(folder: Path, fingerprint: str) -> Path:
    """The file of what a batch rejected."""
    return folder / f"{fingerprint}.rejects.parquet"


def row_count(path: Path) -> int:
    """Rows of a Parquet file, from its footer alone."""
    return int(pq.read_metadata(path).num_rows)


def reject_count(folder: Path, batch: Batch) -> int:
    """How many images a batch rejected."""
    path = rejects_path(folder, batch.fingerprint)
    return row_count(path) if path.exists() else 0


def _concat(paths: Iterable[Path], columns: Sequence[str] | None = None) -> pa.Table:
    names = None if columns is None else list(columns)
    tables = [pq.ParquetFile(path).read(names) for path in paths]
    if not tables:
        raise ValueError("There is no batch to read: the archive has no usable study")
    return pa.concat_tables(tables)


def _is_stray(path: Path) -> bool:
    """Whether a killed process left this behind: a partial file that nobody has written to for an hour."""
    try:
        return path.suffix == PARTIAL and time.time() - path.stat().st_mtime > STRAY_SECONDS
    except FileNotFoundError:
        return False
