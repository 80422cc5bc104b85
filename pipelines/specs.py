"""What Dagster is told of every asset besides how it is made: its partitions, its owner, and the version of its code.

A partition is the dataset of a pretraining. The history of one is not mixed with that of another.
"""

from __future__ import annotations

import dagster as dg

from cohorts.registry import cohort_names
from evaluation.tasks.registry import task_module, task_names
from ingestion import pipeline
from ingestion.pooling.names import is_pool, pools_in
from ingestion.stage import Stage
from ingestion.tables.exports import KNOWLEDGE_CODE
from ingestion.workspace import PHANTOM, Workspace
from models.registry import evaluated_modules, only_imported
from store.code import code_version
from store.home import default_home
from tracking.runs import IMPORTED
from training.state.code import training_code


def partition_names() -> list[str]:
    """All datasets, the pools of the home, and the pool that RADALIGN_COHORT names."""
    chosen = Workspace().cohort_name()
    pools = {*pools_in(default_home()), *([chosen] if is_pool(chosen) else [])}
    return [*cohort_names(), *sorted(pools)]


COHORTS = dg.StaticPartitionsDefinition(partition_names())
OF_ALL = ("results", "tables", "simulated_archives", "dataset")  # of the home: assets, or the first part of their keys
OWNERS = {
    "source": "team:data",
    "ingestion": "team:data",
    "report_parsing": "team:data",
    "shards": "team:data",
    "pretraining": "team:training",
    "evaluation": "team:evaluation",
    "downstream": "team:evaluation",
}
STAGES: tuple[Stage, ...] = (
    pipeline.IMAGES, pipeline.REPORTS, pipeline.TRIPLETS, pipeline.REPORT_LABELS, pipeline.SHARDS,
)  # fmt: skip
MODULES = {
    "archive": ("ingestion.simulation",),
    "inventory": ("ingestion.inventory",),
    "studies": ("ingestion.tables.subsets",),
    "rejects": ("ingestion.tables.subsets",),
    "subsets": ("ingestion.tables.subsets",),
    "knowledge": KNOWLEDGE_CODE,
    "graphs": ("ingestion.tables.exports",),
    "simulated_archives": ("ingestion.simulation",),
    "dataset": ("ingestion.pipeline",),
    "imported": ("tracking.imported",),
    "leakage": ("evaluation.leakage.datasets",),
    "results": ("evaluation.results.latest",),
    "tables": ("evaluation.tables.build",),
}


def complete(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The specification of an asset with all of it."""
    name = spec.key.path[0]
    return spec.replace_attributes(
        code_version=_code_of(*spec.key.path),
        owners=[OWNERS[spec.group_name or ""]],
        partitions_def=None if name in OF_ALL else COHORTS,
    )


def _code_of(name: str, method: str = "") -> str:
    """The code that makes an asset. That of the readers of datasets is not in it: an asset has one version for all."""
    if name == "pretrained":
        return training_code(method)
    if name in ("evaluated", "downstream"):
        return code_version("evaluation.evaluator", *map(task_module, task_names()), *_evaluated_modules(method))
    if name == "audited":
        return code_version("evaluation.audit.run", *_evaluated_modules(method))
    if name == "monitored":
        return code_version("evaluation.monitoring.watch", *_evaluated_modules(method))
    stage = next((one for one in STAGES if one.name == name), None)
    return stage.code_version(Workspace(cohort=PHANTOM)) if stage else code_version(*MODULES[name])


def _evaluated_modules(method: str) -> list[str]:
    """The modules of a method, or of all networks that can only be imported."""
    names = only_imported() if method == IMPORTED else [method]
    return [module for name in names for module in evaluated_modules(name)]
