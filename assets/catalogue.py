"""All assets and checks, in the order in which data flows. A method in `models/methods/` brings its own along."""

from __future__ import annotations

from assets import (
    checks,
    evaluated,
    graphs,
    ingestion,
    pretrained,
    reports,
    sharding,
    source,
    subsets,
    tables,
    tasks,
    triplets,
)
from models.registry import method_names

METHODS = method_names()
TASKS = tuple(tasks.TASKS)

ASSETS = [
    source.archive,
    ingestion.inventory_asset,
    ingestion.images,
    reports.reports,
    triplets.triplets,
    triplets.report_labels,
    graphs.graphs,
    reports.knowledge,
    ingestion.usable,
    subsets.subsets,
    sharding.shards,
    *(pretrained.pretrained_asset(method) for method in METHODS),
    *(evaluated.evaluated_asset(method, task) for method in METHODS for task in TASKS),
    evaluated.results_asset,
    tables.tables_asset,
]
CHECKS = [checks.studies_checks, checks.shards_checks]
