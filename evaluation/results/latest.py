"""The results of the latest run of each method."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.results.files import MEASURED, Say
from evaluation.results.schema import RESULTS
from evaluation.results.store import read_results
from evaluation.results.summary import OUTDATED, UNTRAINED
from evaluation.results.trainings import Pretraining, find_pretrainings
from ingestion.pipeline import FAILED as DATASET_FAILED
from ingestion.pipeline import dataset_state
from ingestion.pooling.names import members_of
from ingestion.versions import versions_folder
from ingestion.workspace import Workspace
from models.registry import evaluated_names
from shards.errors import ShardError
from shards.manifest import Manifest
from shards.pool import Pool
from store.errors import UserError
from tracking.runs import TrainedRun, known_runs

PRETRAINING = "pretraining"  # a column beside those of RESULTS
_warn = logging.getLogger(__name__).warning


def latest_results(
    workspace: Workspace, every_cohort: bool = False, log: Say = _warn, results: pa.Table | None = None
) -> pa.Table:
    """The results of the latest run of each method, variant and seed that was pretrained on the workspace's cohort.

    They are the results on this cohort, or with `every_cohort` on all. Those of a supervised network are included. A
    number has a note where its dataset has become another since, or cannot be read. `log` is told of files that cannot
    be used. `results` are all of the home, where they were read already.
    """
    own = pa.array(members_of(workspace.cohort_name()))
    table = read_results(workspace.home_path(), {}, log) if results is None else results
    table = table if every_cohort else table.filter(pc.is_in(table["cohort"], own))
    runs = [run for method in evaluated_names() for run in known_runs(workspace, method)]
    digests = [digest for run in runs for digest in (run.checkpoint_digest, run.untrained_digest)]
    latest = pc.is_in(table["checkpoint"], value_set=pa.array(digests, pa.string()))
    table = table.filter(pc.or_(latest, pc.equal(table["method"], "supervised")))
    return _note_outdated(_beside_trained(table), workspace, _trained_on(workspace, runs))


def latest_by_pretraining(
    workspace: Workspace, log: Say = _warn, results: pa.Table | None = None
) -> list[tuple[Pretraining, pa.Table]]:
    """Every cohort that networks of the home were pretrained on, the newest first, with their latest results.

    They are the results on all datasets. `log` and `results` are those of `latest_results`.
    """
    table = read_results(workspace.home_path(), {"source": MEASURED}, log) if results is None else results
    return [(one, latest_results(one.workspace, True, log, table)) for one in find_pretrainings(workspace)]


def join_pretrainings(found: Sequence[tuple[Pretraining, pa.Table]]) -> pa.Table:
    """The rows of all pretrainings in one table, whose first column is the cohort of the pretraining."""
    tables = [("", RESULTS.empty_table()), *((one.cohort, rows) for one, rows in found)]
    column = pa.field(PRETRAINING, pa.string())
    names = [pa.array([name] * len(rows), pa.string()) for name, rows in tables]
    return pa.concat_tables(rows.add_column(0, column, name) for name, (_, rows) in zip(names, tables, strict=True))


def _beside_trained(table: pa.Table) -> pa.Table:
    """The rows without those of untrained networks on datasets that their trained ones were not measured on.

    Trainings on two cohorts may begin with the same network. Its numbers on the one say nothing about the other.
    """
    places = list(zip(table["method"].to_pylist(), table["cohort"].to_pylist(), strict=True))
    trained = {(method, cohort) for method, cohort in places if not method.startswith(UNTRAINED)}
    kept = [(method.removeprefix(UNTRAINED), cohort) in trained for method, cohort in places]
    return table.filter(pa.array(kept, pa.bool_()))


def _note_outdated(table: pa.Table, workspace: Workspace, trained: set[str]) -> pa.Table:
    """The rows; those of datasets that are not what they were when measured have a note that says so.

    The data versions `trained` are those of the pretrainings: a network is evaluated on the version that it was trained
    on, also when there is a later one.
    """
    measured = table.group_by(["cohort", "data_version"]).aggregate([]).to_pylist()
    states = {cohort: _read_state(workspace, cohort) for cohort in {row["cohort"] for row in measured}}
    reasons = {
        (row["cohort"], row["data_version"]): _find_reason(row["data_version"], trained, *states[row["cohort"]])
        for row in measured
    }
    if not any(reasons.values()):
        return table
    rows = table.to_pylist()
    for row in rows:
        if row["value"] is not None:
            row["note"] = row["note"] or reasons[row["cohort"], row["data_version"]]
    return pa.Table.from_pylist(rows, RESULTS)


def _trained_on(workspace: Workspace, runs: Sequence[TrainedRun]) -> set[str]:
    """The data versions of the trainings, of pools also those of their members."""
    found = {run.data_version for run in runs}
    for shards in {versions_folder(workspace) / run.version / "shards" for run in runs if workspace.is_pool}:
        with suppress(UserError):
            found |= set(Pool.load(shards).data_versions.values())
    return found


def _read_state(workspace: Workspace, cohort: str) -> tuple[str, str]:
    """The data version of a dataset, or what is wrong with it; both are empty where it is not in this home."""
    state = dataset_state(workspace, cohort)
    if state["status"] == DATASET_FAILED:
        return "", str(state["note"])
    shards = Workspace(home=workspace.home, cohort=cohort).folder("shards")
    if not shards.is_dir():
        return "", ""
    try:
        return Manifest.load(shards).digest, ""
    except ShardError as error:
        return "", str(error)


def _find_reason(measured: str, trained: set[str], now: str, trouble: str) -> str:
    if trouble:
        return f"{OUTDATED}the dataset cannot be read now. {trouble}"
    if now in ("", measured) or measured in trained:
        return ""
    return f"{OUTDATED}measured on other data than the dataset has now; evaluate again."
