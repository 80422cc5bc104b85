"""How a stage of ingestion runs: plan its batches, compute those that are missing, then make the whole set count.

A stage is a folder of batches (`store.batches`). Dagster runs the three steps as ops, `ingestion.pipeline` in a loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from store import batches
from store.batches import AGAIN, Batch, Computed, Count, Outcome, Plan
from store.code import code_version
from store.errors import DamageError
from store.remote import mirror
from store.seals import expect_intact, is_sealed, write_sealed_json

if TYPE_CHECKING:
    from ingestion.workspace import Workspace

Log = Callable[[str], object]
SETTINGS_FILE = "settings.json"  # of a table that has no plan


@dataclass(frozen=True)
class Work:
    """What the computation of one batch gets: upstream files, settings and the workspace."""

    workspace: Workspace
    inputs: Mapping[str, Path]
    settings: Mapping[str, Any]
    batch: str = ""  # its name


@dataclass(frozen=True)
class NoSettings:
    """A stage with nothing to choose."""


@dataclass(frozen=True)
class Stage:
    """One stage: a folder of the same name, and how a batch of it is made."""

    name: str
    upstream: tuple[str, ...]  # stages with batches of the same names
    code: Callable[[Workspace], tuple[str, ...]]  # modules whose version is part of every fingerprint
    compute: Callable[[Work], Computed]
    settings: type = NoSettings
    after: tuple[str, ...] = ()  # tables that `finish` reads, beside the batches
    aspect: str = ""  # of the upstream batches, where that alone is read: other changes of theirs cost nothing
    # what the settings and the plans upstream imply: it is part of the fingerprint of every batch
    implied: Callable[[Mapping[str, Any], Mapping[str, Plan]], Mapping[str, Any]] | None = None
    write: Callable[[pa.Table, Path], None] | None = None
    finish: Callable[[Workspace, Plan], Mapping[str, Any]] | None = None  # before the plan counts

    def code_version(self, workspace: Workspace) -> str:
        """Version of the code that makes a batch."""
        return code_version(*self.code(workspace))


def plan(stage: Stage, workspace: Workspace, settings: Any, planned: Mapping[str, Plan] | None = None) -> Plan:
    """All batches of a stage with these settings, an object of the stage's dataclass.

    The stages upstream are those of `planned`, or else what counts in their folders.
    """
    upstream = {
        name: planned[name] if planned and name in planned else batches.read_plan(workspace.folder(name))
        for name in stage.upstream
    }
    values = asdict(settings)
    if stage.implied:
        values |= stage.implied(values, upstream)
    return _plan(stage, workspace, values, upstream)


def plan_again(stage: Stage, workspace: Workspace, settings: Mapping[str, Any], version: str) -> Plan:
    """The plan of this version, made again of its own settings and of the plans that count upstream.

    DamageError where it comes out as another one: the code, or a plan upstream, was changed since.
    """
    upstream = {name: batches.read_plan(workspace.folder(name)) for name in stage.upstream}
    planned = _plan(stage, workspace, settings, upstream)
    if planned.version() != version:
        raise DamageError(
            f"The code of {stage.name}, or what it reads of {' and '.join(stage.upstream)}, was changed while the run "
            f"went on; {AGAIN}"
        )
    return planned


def _plan(stage: Stage, workspace: Workspace, settings: Mapping[str, Any], upstream: Mapping[str, Plan]) -> Plan:
    return batches.plan_stage(stage.name, stage.code_version(workspace), settings, upstream, stage.aspect)


def missing(stage: Stage, workspace: Workspace, planned: Plan, log: Log = lambda _: None) -> list[Batch]:
    """The batches of a plan that have to be computed; those that are damaged are set aside, which `log` is told."""
    return batches.missing(workspace.folder(stage.name), planned, log)


def run(
    stage: Stage, workspace: Workspace, batch: Batch, settings: Mapping[str, Any], log: Log = lambda _: None
) -> Outcome:
    """Compute one batch of a plan with these settings, unless it is there.

    DamageError where a file of a stage upstream is not what was written. It is set aside, so that the next run of that
    stage makes it again.
    """

    def compute() -> Computed:
        inputs = {
            name: expect_intact(batches.output_path(workspace.folder(name), fingerprint), AGAIN)
            for name, fingerprint in batch.inputs.items()
        }
        return stage.compute(Work(workspace, inputs, settings, batch.name))

    return batches.run_batch(workspace.folder(stage.name), batch, compute, stage.write, log)


def collect(
    stage: Stage, workspace: Workspace, planned: Plan, computed: int, known: Mapping[str, Count] | None = None
) -> dict[str, Any]:
    """Make a complete plan the one that counts; returns counts of its batches and rows.

    `known` are those of some batches by fingerprint; the files of others may be opened. DamageError where a batch is
    gone.
    """
    folder = workspace.folder(stage.name)
    mirror.look_for_batches(folder)  # other machines have computed some since the plan was made
    found = batches.count(folder, planned, known or {})
    counts = count_batches(found, planned, computed) | {"code_version": stage.code_version(workspace)}
    if stage.finish:
        counts |= stage.finish(workspace, planned)
    batches.commit(folder, planned, found)
    return counts


def count_batches(found: Mapping[str, Count], planned: Plan, computed: int) -> dict[str, Any]:
    """The counts that every stage reports, of `batches.count`; DamageError where a batch is gone."""
    if gone := next((batch for batch in planned.batches if batch.fingerprint not in found), None):
        raise DamageError(f"The batch {gone.name} is gone that was there before; {AGAIN}")
    counts = [found[batch.fingerprint] for batch in planned.batches]
    return {
        "batches": len(planned.batches),
        "computed": computed,
        "reused": len(planned.batches) - computed,
        "rows": sum(count.rows for count in counts),
        "rejects": sum(count.rejects for count in counts),
    }


def keep_settings(folder: Path, settings: Any) -> None:
    """Keep what a table without batches was made with."""
    write_sealed_json(folder / SETTINGS_FILE, asdict(settings))


def kept_settings(folder: Path) -> dict[str, Any]:
    """What the table in a folder was made with: of its plan, or as `keep_settings` kept it; empty where neither is.

    DamageError where the file is not what was written: settings must not be taken for the defaults.
    """
    path = folder / SETTINGS_FILE
    stored: dict[str, Any] = {}
    if path.exists() or is_sealed(path):
        stored = json.loads(expect_intact(path, AGAIN, keep=True).read_text(encoding="utf-8"))
    return batches.read_plan(folder).settings or stored


def describe_outcomes(stage: str, outcomes: Sequence[Outcome]) -> str:
    """One line on one batch or several successive ones."""
    rows, rejects = sum(outcome.rows for outcome in outcomes), sum(outcome.rejects for outcome in outcomes)
    names = " to ".join(dict.fromkeys((outcomes[0].name, outcomes[-1].name)))
    return f"{stage} {names}: {rows} rows, {rejects} rejects"


def describe_progress(position: int, of: int, started: float) -> str:
    """How far a loop over batches is. The estimate takes batches as alike and in their order."""
    elapsed = time.time() - started
    left = elapsed / (position + 1) * (of - position - 1)
    return f"{position + 1} of {of} after {format_duration(elapsed)}, about {format_duration(left)} left"


def format_duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
