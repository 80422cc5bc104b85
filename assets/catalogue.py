"""All assets and checks, in the order in which data flows. A method in `models/methods/` brings its own along."""

from __future__ import annotations

from assets import (
    checks,
    downstream,
    evaluated,
    graphs,
    ingestion,
    leakage,
    pretrained,
    reports,
    sharding,
    simulated,
    source,
    subsets,
    tables,
    triplets,
)
from evaluation.tasks import adapters as tasks
from models.registry import method_names

METHODS = method_names()
TASKS = tasks.OWN_TASKS
COHORTS = downstream.COHORTS
CHECKS = [checks.studies_checks, checks.shards_checks]

INGESTION = [  # from an archive to its shards
    source.archive,
    ingestion.inventory_asset,
    ingestion.images,
    reports.reports,
    triplets.triplets,
    triplets.report_labels,
    reports.knowledge,
    ingestion.usable,
    subsets.subsets,
    sharding.shards,
]
ASSETS = [
    *INGESTION,
    graphs.graphs,
    *(pretrained.pretrained_asset(method) for method in METHODS),
    *(evaluated.evaluated_asset(method, task) for method in METHODS for task in TASKS),
    simulated.simulated_archives,
    leakage.leakage,
    *(downstream.cohort_asset(cohort, [*INGESTION, *CHECKS]) for cohort in COHORTS),
    *(downstream.downstream_asset(method, cohort) for method in METHODS for cohort in COHORTS),
    evaluated.results_asset(METHODS, TASKS, COHORTS),
    tables.tables_asset,
]
