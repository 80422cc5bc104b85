"""Content-addressed batches: what is there under its fingerprint is not computed again.

A stage has a folder. In it lie `<fingerprint>.parquet` per batch, `<fingerprint>.rejects.parquet` beside
it, and `plan.parquet`, which names the batches that count. The seal of the output covers the rejects and is written
last. It says that the batch is complete, whatever was killed before; the plan is written when all of its batches are.

A plan has a row for each batch, with the number of its rows and rejects: who plans opens no file of a batch that it
knows. The settings are the metadata of the table.

Nothing is removed here: other runs may be reading or writing in the folder. `radalign clean` removes what none needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import IOBase
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.atomic import write_table
from store.digests import fingerprint
from store.errors import DamageError
from store.remote import mirror
from store.seals import expect_intact, is_intact, is_sealed, seal, set_aside, unlink, write_sealed_table

PLAN = "plan.parquet"
FORMER_PLAN = "plan.json"  # of earlier versions of this code; read where there is no PLAN, removed by the next commit
SETTINGS = b"settings"  # key of the metadata of a plan
NO_PLAN = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
_NAMED = pa.map_(pa.string(), pa.string())
PLAN_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("inputs", _NAMED, nullable=False),
        pa.field("aspects", _NAMED, nullable=False),
        pa.field("rows", pa.int64()),  # null where a plan was committed without the files of its batches
        pa.field("rejects", pa.int64()),
    ]
)
AGAIN = "bring the dataset up to date, which makes it again: `dagster job execute -j ingest`."

Log = Callable[[str], object]
Computed = tuple[pa.Table, pa.Table | None]
Readable = Path | IOBase


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

    def parts(self, size: int = 50) -> Iterator[Plan]:
        """The plan cut into plans of successive batches: a table of all rows may not fit into memory."""
        for start in range(0, len(self.batches), size):
            yield replace(self, batches=self.batches[start : start + size])

    def version(self) -> str:
        """Digest of the batches and the settings."""
        return fingerprint(self.fingerprints(), self.settings)


@dataclass(frozen=True)
class Count:
    """What a batch holds."""

    rows: int
    rejects: int


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
        batches.append(Batch(batch.name, fingerprint_batch(stage, code, settings, content), inputs))
    return Plan(tuple(batches), dict(settings))


def fingerprint_batch(stage: str, code: str, settings: Mapping[str, Any], content: Mapping[str, str]) -> str:
    """What a batch is called: `content` is what it reads of each stage upstream, by the fingerprint of that."""
    return fingerprint(stage, code, settings, content)


def missing(folder: Path, plan: Plan, log: Log = lambda _: None) -> list[Batch]:
    """The batches of a plan that are yet to be computed; damaged ones are set aside, which `log` is told."""
    mirror.look_for_batches(folder)
    return [batch for batch in plan.batches if not _is_complete(folder, batch, log)]


def run_batch(
    folder: Path,
    batch: Batch,
    compute: Callable[[], Computed],
    write: Callable[[pa.Table, Path], None] | None = None,
    log: Log = lambda _: None,
) -> Outcome:
    """Compute a batch unless it is there. Rejects first, then the output, last their seal: it says "complete"."""
    output, rejects = output_path(folder, batch.fingerprint), rejects_path(folder, batch.fingerprint)
    computed = not _is_complete(folder, batch, log)
    if computed:
        table, rejected = compute()
        folder.mkdir(parents=True, exist_ok=True)
        if rejected is None:
            rejects.unlink(missing_ok=True)
        else:
            write_table(rejected, rejects)
        (write or write_table)(table, output)
        seal(output, *([] if rejected is None else [rejects]))
    return Outcome(batch.name, batch.fingerprint, computed, row_count(output), reject_count(folder, batch))


def commit(folder: Path, plan: Plan, counts: Mapping[str, Count] | None = None) -> None:
    """Make a complete plan the one that counts. `counts` are those of `count`, where the caller has them."""
    mirror.keep_batches([output_path(folder, batch.fingerprint) for batch in plan.batches])
    counts = count(folder, plan) if counts is None else counts
    found = [counts.get(batch.fingerprint) for batch in plan.batches]
    columns = {
        "name": [batch.name for batch in plan.batches],
        "fingerprint": [batch.fingerprint for batch in plan.batches],
        "inputs": [list(batch.inputs.items()) for batch in plan.batches],
        "aspects": [list(batch.aspects.items()) for batch in plan.batches],
        "rows": [one and one.rows for one in found],
        "rejects": [one and one.rejects for one in found],
    }
    settings = {SETTINGS: json.dumps(plan.settings).encode()}
    write_sealed_table(pa.table(columns, schema=PLAN_SCHEMA.with_metadata(settings)), folder / PLAN)
    unlink(folder / FORMER_PLAN)


def count(folder: Path, plan: Plan, known: Mapping[str, Count] = MappingProxyType({})) -> dict[str, Count]:
    """Rows and rejects by the fingerprint of each batch that is there.

    No file is opened of batches that are `known` to the caller, or to the plan that counts.
    """
    known = {**_read_counts(folder), **known}
    found = {}
    mirror.learn_batches([output_path(folder, name) for name in plan.fingerprints().values() if name not in known])
    for batch in plan.batches:
        if batch.fingerprint in known:
            found[batch.fingerprint] = known[batch.fingerprint]
        elif (path := output_path(folder, batch.fingerprint)).exists() or mirror.is_kept(path):
            found[batch.fingerprint] = Count(row_count(path), reject_count(folder, batch))
    return found


def read_plan(folder: Path, remedy: str = AGAIN) -> Plan:
    """The plan that counts; empty where nothing was committed yet.

    DamageError where it is not what was committed; its message ends with `remedy`. The file stays where it is: its
    settings must not be taken for defaults.
    """
    path = _plan_path(folder)
    if path is None:
        return Plan()
    expect_intact(path, remedy, keep=True)
    try:
        return _parse_plan(path) if path.name == PLAN else _parse_former_plan(path)
    except NO_PLAN as error:
        raise DamageError(f"{path} is no plan of batches; {remedy}") from error


def expect_plan(folder: Path) -> Plan:
    """The plan that counts. DamageError where nothing was committed yet, or where it is not what was committed."""
    plan = read_plan(folder)
    if not plan.settings and not plan.batches:
        raise DamageError(f"There is no {folder / PLAN}; {AGAIN}")
    return plan


def read_last_plan(folder: Path, log: Log) -> Plan:
    """The plan that counts, or an empty one where it is damaged: for who is about to make another."""
    try:
        return read_plan(folder)
    except DamageError as error:
        log(f"The plan of {folder} is made again: {error}")
        return Plan()


def read_batches(
    folder: Path, plan: Plan | None = None, columns: Sequence[str] | None = None, verified: bool = True
) -> pa.Table:
    """All rows of a stage, in the plan's order; of all columns or of some.

    DamageError where a file is not what was written. `verified` compares every byte; without it, as for a preview, a
    file that nobody touched is taken as it is.
    """
    batches = (plan or read_plan(folder)).batches
    return _concat([open_batch(folder, batch, verified) for batch in batches], columns)


def read_rejects(folder: Path, plan: Plan | None = None) -> pa.Table | None:
    """All rejects of a stage, or None where it keeps none. DamageError where a file is not what was written."""
    files: list[Readable] = []
    for batch in (plan or read_plan(folder)).batches:
        path = rejects_path(folder, batch.fingerprint)
        if isinstance(open_batch(folder, batch), Path):
            files += [path] if path.exists() else []
        elif published := mirror.open_ranged(path):
            files.append(published)
    return _concat(files) if files else None


def output_path(folder: Path, fingerprint: str) -> Path:
    """The file of a batch."""
    return folder / f"{fingerprint}.parquet"


def open_batch(folder: Path, batch: Batch, verified: bool = False) -> Readable:
    """What pyarrow reads a batch from: its file as `intact_path`, or the one in the store of a remote home.

    Of a file in the store only what is read is fetched, and compared with its digests.
    """
    output = output_path(folder, batch.fingerprint)
    published = None if output.exists() else mirror.open_ranged(output)
    return published or intact_path(folder, batch, verified)


def size_of(folder: Path, batch: Batch) -> int:
    """Bytes of the file of a batch."""
    output = output_path(folder, batch.fingerprint)
    return output.stat().st_size if output.exists() else mirror.size_of(output)


def intact_path(folder: Path, batch: Batch, verified: bool = False) -> Path:
    """The file of a batch; DamageError where it, or what it rejected, is not what was written.

    `verified` compares every byte; without it a file that nobody touched is taken as it is.
    """
    output = output_path(folder, batch.fingerprint)
    mirror.fetch(output)
    return output if not verified and is_intact(output) else expect_intact(output, AGAIN)


def rejects_path(folder: Path, fingerprint: str) -> Path:
    """The file of what a batch rejected."""
    return folder / f"{fingerprint}.rejects.parquet"


def row_count(path: Path) -> int:
    """Rows of a Parquet file, from its footer alone."""
    known = mirror.rows_of(path)
    return int(pq.read_metadata(path).num_rows) if known is None else known


def reject_count(folder: Path, batch: Batch) -> int:
    """How many images a batch rejected."""
    path = rejects_path(folder, batch.fingerprint)
    return row_count(path) if path.exists() else mirror.rows_of(path) or 0


def _plan_path(folder: Path) -> Path | None:
    """The file of the plan that counts; None where nothing was committed yet."""
    paths = (folder / PLAN, folder / FORMER_PLAN)
    return next((path for path in paths if path.exists() or is_sealed(path)), None)


def _parse_plan(path: Path) -> Plan:
    """The plan of a table; other content raises one of NO_PLAN."""
    table = pq.ParquetFile(path).read(["name", "fingerprint", "inputs", "aspects"])
    settings = json.loads((table.schema.metadata or {})[SETTINGS])
    names, fingerprints, inputs, aspects = (table[name].to_pylist() for name in table.column_names)
    rows = zip(names, fingerprints, map(dict, inputs), map(dict, aspects), strict=True)
    return _expect_names(Plan(tuple(Batch(*row) for row in rows), dict(settings)))


def _parse_former_plan(path: Path) -> Plan:
    """The plan of a file that an earlier version of this code wrote; other content raises one of NO_PLAN."""
    stored = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    return _expect_names(Plan(tuple(Batch(**batch) for batch in stored["batches"]), dict(stored["settings"])))


def _expect_names(plan: Plan) -> Plan:
    if any("/" in batch.fingerprint for batch in plan.batches):
        raise ValueError("a fingerprint is a path")
    return plan


def _read_counts(folder: Path) -> dict[str, Count]:
    """The counts of the plan that counts, by fingerprint; empty where it has none, or is damaged."""
    path = folder / PLAN
    if not is_intact(path):
        return {}
    mirror.fetch(path)
    try:
        table = pq.ParquetFile(path).read(["fingerprint", "rows", "rejects"])
        known = zip(*(table[name].to_pylist() for name in ("fingerprint", "rows", "rejects")), strict=True)
    except NO_PLAN:
        return {}
    return {name: Count(rows, rejects) for name, rows, rejects in known if rows is not None}


def _is_complete(folder: Path, batch: Batch, log: Log) -> bool:
    output = output_path(folder, batch.fingerprint)
    if is_intact(output):
        return True
    if is_sealed(output):
        rejects = rejects_path(folder, batch.fingerprint)
        log(f"{output} or its rejects are damaged or gone; they are set aside as *.damaged and made again.")
        for path in (rejects, output):
            set_aside(path)
    return False


def _concat(files: Iterable[Readable], columns: Sequence[str] | None = None) -> pa.Table:
    names = None if columns is None else list(columns)
    tables = [pq.ParquetFile(file).read(names) for file in files]
    if not tables:
        raise ValueError("There is no batch to read: the archive has no usable study")
    return pa.concat_tables(tables)
