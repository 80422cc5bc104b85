"""Everything that can be known before the first step, in the order in which it costs time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any

import dagster as dg
from pydantic import ValidationError

from assets.audits.audited import AuditConfig
from assets.audits.monitored import MonitoringConfig
from assets.evaluated import TASKS_TAG
from assets.ingestion import ArchiveConfig, InventoryConfig, SubsetsConfig
from assets.networks.launchers.launch import expect_launcher
from assets.networks.launchers.settings import OneHost
from assets.networks.pretrained import pretraining_config
from assets.reports import KnowledgeConfig
from assets.settings.evaluation import FRACTIONS_TAG, EvaluationSettings, chosen_evaluation
from assets.settings.launchpad import given_values, preset_config
from assets.settings.presets import chosen_training, image_presets
from assets.workspace import WorkspaceResource
from cohorts.registry import has_reports, reader_module
from cohorts.views import KINDS
from evaluation.tasks.registry import check_options, task_names
from ingestion.pipeline import choose_datasets, downstream_names
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace
from models.registry import method_names
from pipelines.identity import workspace_of
from pipelines.preflight.machine import describe_mismatch, expect_machine
from pipelines.preflight.mistakes import explain_value
from pipelines.preflight.network import earlier_trainings, expect_network, expect_paths, is_tried
from pipelines.preflight.roots import expect_root, misspelt_variables
from pipelines.preflight.space import expect_room_for_run
from pipelines.specs import COHORTS
from shards.mixing import expect_weights
from store.errors import SettingError, did_you_mean
from store.home import expect_writable
from store.presets import DEMO, PAPER, has_preset, is_named
from store.remote import mirror
from store.remote.mirror import name_of
from tracking.places.postgres import HISTORY_VARIABLE
from tracking.runs import IMPORTED, NETWORK_TAG, networks_of, trained_run
from tracking.store import expect_store
from training.config import TrainingConfig
from training.errors import TrainingError

PRETRAINED, EVALUATED, DOWNSTREAM, DATASET = "pretrained__", "evaluated__", "downstream__", "dataset__"
AUDITED, MONITORED = "audited__", "monitored__"
CONFIGS: dict[str, type[dg.Config]] = {
    "archive": ArchiveConfig,
    "inventory": InventoryConfig,
    "subsets": SubsetsConfig,
    "knowledge": KnowledgeConfig,
    "images": preset_config(ImagesSettings, image_presets()),
    **{f"{PRETRAINED}{method}": pretraining_config(method) for method in method_names()},
    **{f"{AUDITED}{method}": AuditConfig for method in (*method_names(), IMPORTED)},
    **{f"{MONITORED}{method}": MonitoringConfig for method in (*method_names(), IMPORTED)},
}
Warn = Callable[[str], object]


def check_run(nodes: Collection[str], run_config: Mapping[str, Any], tags: Mapping[str, str], warn: Warn) -> None:
    """Raise a `UserError` for the first mistake in a run of the assets and graphs called `nodes`.

    `run_config` has been checked against Dagster's schema. `warn` gets what may be a mistake. A run that was checked in
    this process is not checked again.
    """
    for sentence in (*misspelt_variables(), *own_records(run_config)):
        warn(sentence)
    asked = {name: tags[name] for name in (TASKS_TAG, FRACTIONS_TAG, NETWORK_TAG) if name in tags}
    text = json.dumps([sorted(nodes), run_config, asked, _environment()], sort_keys=True, default=str)
    preset, found = _check_once(text)
    for sentence in (*missing_presets(preset, nodes), *found):
        warn(sentence)


def own_records(run_config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence where the home is shared by machines, and the history of runs is not."""
    home = workspace_of(_with_environment(run_config)).home_path()
    if name_of(home) != str(home) and not os.environ.get(HISTORY_VARIABLE):
        yield f"The history of runs stays on this machine, in {home}: PostgreSQL shares it (docs/guides/cluster.md)."


def missing_presets(preset: str, nodes: Collection[str]) -> Iterator[str]:
    """A sentence for each training of which the preset has no file, so that its recipe stands alone."""
    for method in method_names():
        if preset != PAPER and f"{PRETRAINED}{method}" in nodes and not has_preset(preset, method):
            yield f"The preset {preset} has no file for {method} (configs/{preset}/{method}.yaml): its recipe counts."


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("RADALIGN_", "HF_"))}


@cache
def _check_once(text: str) -> tuple[str, tuple[str, ...]]:
    """Check a run; returns its preset, and sentences on what may be a mistake: no GPU, views that nobody will see."""
    names, run_config, tags, _ = json.loads(text)
    nodes = set(names)
    config = _with_environment(run_config)
    workspace = _read(WorkspaceResource, _section(config, "resources", "workspace"), "resources.workspace").plain()
    mirror.refresh(workspace.home_path())
    settings = {name: _section(config, "ops", name) for name in sorted(nodes)}
    checked = {name: _read(CONFIGS[name], settings[name], f"ops.{name}") for name in nodes & CONFIGS.keys()}
    methods = [name.removeprefix(PRETRAINED) for name in sorted(nodes) if name.startswith(PRETRAINED)]
    preset = workspace.preset_name()
    trainings = {method: _training(method, checked[f"{PRETRAINED}{method}"], preset) for method in methods}

    expect_store(workspace.home_path())
    members = workspace.members()
    if workspace.is_pool and workspace.cohort_name() not in COHORTS.get_partition_keys():
        raise SettingError(
            f"Dagster does not know the pool {workspace.cohort_name()} yet: set RADALIGN_COHORT to it instead of the "
            "field `cohort`; once it is ingested in RADALIGN_HOME, and Dagster is started again, it is a partition."
        )
    for member in members:
        reader_module(member.cohort_name())
    if methods and not workspace.is_pool and not has_reports(workspace.cohort_name()):
        raise _without_reports(workspace)
    _check_evaluation(workspace, nodes, config, tags)
    for training in trainings.values():
        if training.weights:
            expect_weights(training.weights, [member.cohort_name() for member in members])
    for member in members:
        if "archive" in nodes and not member.simulated():
            expect_root(member)
            if methods and not member.open_cohort().has_reports:  # as a description says
                raise _without_reports(member)
    trains_here = any(isinstance(checked[f"{PRETRAINED}{method}"].launcher, OneHost) for method in methods)
    if trains_here:
        expect_machine(preset, is_named(workspace.preset) or any(settings[f"{PRETRAINED}{one}"] for one in methods))
    expect_writable(workspace.home_path())
    images = {**image_presets()[preset], **(given_values(checked["images"]) if "images" in checked else {})}
    size = ImagesSettings(**images).size
    studies = getattr(checked.get("archive"), "studies", 0) if workspace.simulated() else 0
    expect_room_for_run(workspace, studies, size, bool(methods))
    for method, training in trainings.items():
        launcher = checked[f"{PRETRAINED}{method}"].launcher
        expect_launcher(launcher, training, workspace.home_path())
        expect_paths(training)
        usual = _training(method, pretraining_config(method)(), DEMO)
        if not any(is_tried(training, before) for before in (usual, *earlier_trainings(workspace.home_path(), method))):
            expect_network(training, size, launcher.processes if isinstance(launcher, OneHost) else 0)
    views = checked["inventory"].views if "inventory" in checked else KINDS
    mismatch = describe_mismatch(preset) if trains_here else ""
    return preset, (*([f"{mismatch}."] if mismatch else ()), *unseen_views(trainings, views))


def unseen_views(trainings: Mapping[str, TrainingConfig], views: Collection[str]) -> Iterator[str]:
    """A sentence for each training that asks for more views than the inventory takes; TrainingError where it would have
    no image."""
    for method, training in trainings.items():
        if lacking := [kind for kind in training.view_kinds if kind not in views]:
            missing = f"{' and '.join(lacking)} images, which `inventory.views` leaves out"
            how = f"`--set 'inventory.views=[{','.join(KINDS)}]'` takes all that the archive has"
            if len(lacking) == len(training.view_kinds):
                raise TrainingError(f"{method} trains on {missing}: {how}.")
            yield f"{method} trains on {missing}, so on the others alone: {how}."


def _without_reports(workspace: Workspace) -> TrainingError:
    return TrainingError(
        f"The dataset {workspace.cohort_name()} has images without reports, from which there is nothing to pretrain: "
        "set RADALIGN_COHORT to one with reports, and use this one to evaluate."
    )


def _training(method: str, config: dg.Config, preset: str) -> TrainingConfig:
    """The settings of a training; TrainingError for those that cannot be."""
    return TrainingConfig(method, **chosen_training(method, config, preset))


def _check_evaluation(
    workspace: Workspace, nodes: Collection[str], config: Mapping[str, Any], tags: Mapping[str, str]
) -> None:
    """Amounts, settings and datasets of the evaluation, the tag of tasks, and the run that is evaluated."""
    methods = {
        name.partition("__")[2] for name in nodes if name.startswith((EVALUATED, DOWNSTREAM, AUDITED, MONITORED))
    }
    if not methods:
        return
    given = _read(EvaluationSettings, _section(config, "resources", "evaluation"), "resources.evaluation")
    evaluation = chosen_evaluation(given, workspace.preset_name(), tags)
    amount = evaluation.amount
    check_options(evaluation.options)
    tasks = [name.strip() for name in tags.get(TASKS_TAG, "").split(",") if name.strip()]
    for task in tasks:
        if task not in task_names():
            known = f"{did_you_mean(task, task_names())}, which is not one of {', '.join(task_names())}"
            raise SettingError(f"The tag {TASKS_TAG} names {task}{known}.")
    amount.repeated_settings(tasks or task_names())
    chosen = choose_datasets(workspace, amount.cohorts, amount.splits)
    for name in downstream_names():
        if name in chosen and f"{DATASET}{name}" in nodes and (there := workspace.downstream(name)) is not None:
            expect_root(there)
    for method in sorted(methods):
        if f"{PRETRAINED}{method}" not in nodes:
            for name in networks_of(method, workspace, tags):
                trained_run(workspace, name)


def _section(config: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """The fields that a run config gives for an op or a resource."""
    return dict(((config.get(kind) or {}).get(name) or {}).get("config") or {})


def _read(kind: type[Any], values: Mapping[str, Any], place: str) -> Any:
    try:
        return kind(**values)
    except ValidationError as error:
        raise SettingError(explain_value(error, place)) from None


def _with_environment(value: Any) -> Any:
    """A run config in which `{env: NAME}` is the value of the variable."""
    if isinstance(value, dict):
        if value.keys() == {"env"}:
            return os.environ.get(str(value["env"]), "")
        return {name: _with_environment(one) for name, one in value.items()}
    return [_with_environment(one) for one in value] if isinstance(value, list) else value
