"""All assets and checks, in the order in which data flows. A method in `models/methods/` brings its own along."""

from __future__ import annotations

from assets import (
    datasets,
    downstream,
    evaluated,
    ingestion,
    reports,
    tables,
)
from assets.audits import audited, leakage, monitored
from assets.networks import imported, pretrained
from ingestion.pipeline import downstream_names
from models.registry import method_names

METHODS = method_names()
EVALUATED = [*METHODS, imported.IMPORTED]  # the last: networks that cannot be trained
COHORTS = downstream_names()
WRITING = ("source", "ingestion", "report_parsing", "shards")  # groups whose steps write the tables of the dataset
CHECKS = [ingestion.studies_checks, ingestion.shards_checks]

ASSETS = [
    ingestion.archive,
    ingestion.inventory_asset,
    ingestion.images,
    reports.reports,
    reports.triplets,
    reports.report_labels,
    reports.knowledge,
    ingestion.usable,
    ingestion.subsets,
    ingestion.shards,
    reports.graphs,
    *(pretrained.pretrained_asset(method) for method in METHODS),
    imported.imported,
    *(evaluated.evaluated_asset(method) for method in EVALUATED),
    datasets.simulated_archives,
    leakage.leakage,
    *(datasets.dataset_asset(cohort) for cohort in COHORTS),
    *(downstream.downstream_asset(method, COHORTS) for method in EVALUATED),
    *(monitored.monitored_asset(method) for method in EVALUATED),
    tables.results_asset(EVALUATED),
    *(audited.audited_asset(method) for method in EVALUATED),
    tables.tables_asset,
]
