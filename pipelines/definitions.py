"""Everything Dagster knows of Radalign. A method in `models/methods/` brings its assets and jobs along."""

from __future__ import annotations

import warnings

import dagster as dg

from assets import checks, evaluated, ingestion, pretrained, reports, sharding, source
from assets.workspace import Workspace
from models.registry import method_names
from pipelines.automation import new_studies, nightly
from pipelines.executors import in_process_by_default
from pipelines.jobs import jobs

warnings.filterwarnings("ignore", category=dg.BetaWarning)

defs = dg.Definitions(
    assets=[
        source.archive,
        ingestion.inventory_asset,
        ingestion.images,
        ingestion.usable,
        reports.reports,
        reports.triplets,
        reports.knowledge,
        sharding.shards,
        *(pretrained.pretrained_asset(method) for method in method_names()),
        *(evaluated.evaluated_asset(method, task) for method in method_names() for task in evaluated.TASKS),
        evaluated.results_asset,
    ],
    asset_checks=[checks.studies_checks, checks.shards_checks],
    jobs=jobs,
    schedules=[nightly],
    sensors=[new_studies],
    resources={"workspace": Workspace(), "pipes": dg.PipesSubprocessClient()},
    executor=in_process_by_default,
)
