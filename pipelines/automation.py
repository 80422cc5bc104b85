"""The nightly schedule, and the sensors of new studies, ingestions and dead runs. All are stopped until started.

Schedule and sensor of new studies start ingestions; which batches are computed follows from their content. The sensor
looks at the upper folders of an archive alone, which is quick. A file that changes in place, deep down, is noticed by
the next run. After an ingestion, whoever started it, the standing network scores what is new.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.networks.dead_runs import close_silent_runs
from assets.workspace import WorkspaceResource, one_sentence
from cohorts.archive.listed import is_gone
from ingestion.pipeline import last_settings
from ingestion.workspace import Workspace
from models.registry import evaluated_names
from pipelines.identity import with_partition, workspace_of
from pipelines.jobs import ingest, monitoring
from tracking.runs import MONITOR_VARIABLE, standing_methods

DEPTH = 3  # files/p10/p10000032/ in MIMIC-CXR: a new study changes the time of its patient's folder
CHECK_VARIABLE = "RADALIGN_CHECK_SECONDS"
CHECK_EVERY = int(os.environ.get(CHECK_VARIABLE) or 300)  # seconds
SILENT_MINUTES = 30.0  # without any event before a run is looked after; a training reports every five
SILENT_VARIABLE = "RADALIGN_SILENT_MINUTES"

SIMULATED = dg.SkipReason("The simulated archive does not grow by itself.")


@dg.schedule(
    job=ingest,
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Brings the shards up to date at two in the morning; only what is new or changed costs.",
)
def nightly(workspace: WorkspaceResource) -> dg.RunRequest | dg.SkipReason:
    """The job `ingest`, as it was last run."""
    there = workspace.plain()
    with one_sentence():
        return SIMULATED if there.simulated() else request_run(there)


@dg.sensor(
    job=ingest,
    minimum_interval_seconds=CHECK_EVERY,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Starts the job ingest when the archive's folders or tables changed.",
)
def new_studies(context: dg.SensorEvaluationContext, workspace: WorkspaceResource) -> dg.SensorResult | dg.SkipReason:
    """Compares a digest of the archive's listing with the one of the last request."""
    there = workspace.plain()
    with one_sentence():
        if there.simulated():
            return SIMULATED
        root, watched = there.root(), there.watched_files()
    if not isinstance(root, Path):
        return dg.SkipReason(
            f"{root} is on object storage, which has no folder times; the nightly schedule looks there."
        )
    if is_gone(root):
        return dg.SkipReason(f"There is no archive at {root}, or it is not mounted.")
    listing = archive_digest(root, watched)
    if listing == context.cursor:
        return dg.SkipReason("The archive did not change.")
    # No run key: an archive may come back to a state that was asked for before.
    return dg.SensorResult([request_run(there)], cursor=listing)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[ingest],
    request_jobs=monitoring,
    minimum_interval_seconds=min(CHECK_EVERY, 30),
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="After each run of ingest, scores new studies with the network that was trained last, or with those of "
    f"{MONITOR_VARIABLE}.",
)
def after_ingest(context: dg.RunStatusSensorContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The job `monitor_<method>` on the dataset that was ingested; nothing is trained."""
    run = context.dagster_run
    config = with_partition(run.run_config, run.tags)
    there = workspace_of(config)
    if there.is_pool:
        yield dg.SkipReason(f"{there.cohort_name()} is several datasets, and nights are those of one.")
        return
    with one_sentence():
        methods = standing_methods(there, evaluated_names())
    if not methods:
        yield dg.SkipReason(f"No method has a finished run on {there.cohort_name()}, so nothing scores new studies.")
    given = {"resources": {"workspace": config["resources"]["workspace"]}} if config.get("resources") else {}
    for method in methods:
        yield dg.RunRequest(
            run_key=f"{run.run_id}-{method}",
            job_name=f"monitor_{method}",
            run_config=given,
            partition_key=there.cohort_name(),
        )


@dg.sensor(
    minimum_interval_seconds=CHECK_EVERY,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Marks runs that stopped reporting and whose process is gone as failed, in Dagster and in MLflow.",
)
def dead_runs(context: dg.SensorEvaluationContext, workspace: WorkspaceResource) -> dg.SkipReason:
    """After a power cut or a `kill -9` nobody else says that a run has ended."""
    minutes = float(os.environ.get(SILENT_VARIABLE) or SILENT_MINUTES)
    found = close_silent_runs(context.instance, workspace.plain().home_path(), 60 * minutes)
    return dg.SkipReason(" ".join(found) or "Every run in progress reports.")


def request_run(workspace: Workspace) -> dg.RunRequest:
    """A run on this dataset, which is its partition."""
    return dg.RunRequest(run_config=run_config_of(workspace), partition_key=workspace.cohort_name())


def run_config_of(workspace: Workspace) -> dict[str, Any]:
    """Run config with the settings that the present tables were made with: defaults would make them all anew."""
    return {"ops": {name: {"config": settings} for name, settings in last_settings(workspace).items()}}


def archive_digest(root: Path, watched: Sequence[Path] = (), depth: int = DEPTH) -> str:
    """Digest of the tables at the root, the folders below and `watched` files, by name and time; opens nothing."""
    digest = hashlib.sha256()
    for entry, stamp in sorted([*_listing(root, root, depth), *((str(path), _time_of(path)) for path in watched)]):
        digest.update(f"{entry}\0{stamp}\n".encode())
    return digest.hexdigest()


def _time_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # the run says what is wrong with it
        return 0


def _listing(folder: Path, root: Path, depth: int) -> Iterator[tuple[str, int]]:
    try:
        found = os.scandir(folder)
    except OSError as error:  # the run says what is wrong with it
        yield f"{os.path.relpath(folder, root)}: {error.strerror}", 0
        return
    with found as entries:
        for entry in entries:
            name = os.path.relpath(entry.path, root)
            if entry.is_dir():
                yield name, entry.stat().st_mtime_ns
                if depth > 1:
                    yield from _listing(Path(entry.path), root, depth - 1)
            elif folder == root:
                yield name, entry.stat().st_mtime_ns
