"""Everything Dagster knows of Radalign: assets, checks, jobs, what may start them, and what they need."""

from __future__ import annotations

import warnings

import dagster as dg

from assets.settings.evaluation import EvaluationSettings
from assets.workspace import WorkspaceResource
from pipelines import console
from pipelines.automation import after_ingest, dead_runs, new_studies, nightly
from pipelines.catalogue import ASSETS, CHECKS
from pipelines.cluster.handovers import handovers
from pipelines.executors.choice import in_process_by_default
from pipelines.jobs import jobs
from pipelines.specs import complete

# Output(data_version=...) and a property inside Pipes: what may change with Dagster is pinned by the lock.
for category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=category)

console.install()

STOP_SECONDS = 60  # for a trainer to finish its step and write its checkpoint when its run is terminated

defs = dg.Definitions(
    assets=[asset.map_asset_specs(complete) for asset in ASSETS],
    asset_checks=CHECKS,
    jobs=jobs,
    schedules=[nightly],
    sensors=[new_studies, after_ingest, dead_runs],
    resources={
        "workspace": WorkspaceResource(),
        "evaluation": EvaluationSettings(),
        "io_manager": handovers,
        "pipes": dg.PipesSubprocessClient(termination_timeout_seconds=STOP_SECONDS),
    },
    executor=in_process_by_default,
)
