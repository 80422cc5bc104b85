from __future__ import annotations

import dagster as dg
import pytest

from assets.ingestion import ImagesConfig, InventoryConfig
from assets.reports import ReportsConfig
from assets.workspace import Workspace, registered_cohorts
from evaluation.protocol import DOWNSTREAM, OWN
from evaluation.tasks.adapters import OWN_TASKS as TASKS
from evaluation.tasks.adapters import TASKS as ALL_TASKS
from models.registry import method_names
from pipelines.definitions import defs
from pipelines.jobs import AT_ONCE

GROUPS = {"source", "ingestion", "report_parsing", "shards", "pretraining", "evaluation", "downstream"}
REPOSITORY = defs.get_repository_def()
GRAPH = REPOSITORY.asset_graph
ASSETS = sorted(GRAPH.get_all_asset_keys())


def test_every_method_brings_its_assets_and_jobs():
    for method in method_names():
        wanted = [["pretrained", method]]
        wanted += [["evaluated", method, task] for task in TASKS]
        assert {dg.AssetKey(key) for key in wanted} <= set(ASSETS)
        assert {f"pretrain_{method}", f"evaluate_{method}"} <= set(REPOSITORY.job_names)


@pytest.mark.parametrize("key", ASSETS, ids=str)
def test_every_asset_is_described_and_grouped(key):
    node = GRAPH.get(key)
    assert node.description
    assert node.group_name in GROUPS
    assert node.kinds


def test_the_main_job_runs_everything_from_the_archive_to_the_results():
    job = REPOSITORY.get_job("pretrain_medklip")
    selected = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert selected == {
        *("archive", "inventory", "images", "reports", "triplets", "knowledge", "studies", "rejects"),
        *("subsets", "shards", "pretrained/medklip", "results", "tables"),
        *(f"evaluated/medklip/{task}" for task in AT_ONCE),
    }
    checks = {key.name for key in job.asset_layer.asset_graph.asset_check_keys}
    assert {"nothing_lost", "no_patient_in_two_splits", "no_empty_text", "pixels_are_sane"} <= checks


def test_the_evaluation_reaches_every_downstream_cohort():
    selected = REPOSITORY.get_job("evaluate_mgca").asset_layer.executable_asset_keys
    for cohort in set(registered_cohorts()) - {"phantom"}:
        assert {dg.AssetKey(["cohort", cohort]), dg.AssetKey(["downstream", "mgca", cohort])} <= set(selected)


def test_what_is_asked_where_is_known_without_importing_it():
    assert set(TASKS) == set(OWN.tasks)
    assert set(DOWNSTREAM) == set(registered_cohorts()) - {"phantom"}
    assert {task for protocol in DOWNSTREAM.values() for task in protocol.tasks} <= set(ALL_TASKS)


def test_nothing_starts_by_itself():
    assert [schedule.default_status for schedule in REPOSITORY.schedule_defs] == [dg.DefaultScheduleStatus.STOPPED]
    assert {sensor.name for sensor in REPOSITORY.sensor_defs} == {"new_studies", "dead_runs"}
    assert {sensor.default_status for sensor in REPOSITORY.sensor_defs} == {dg.DefaultSensorStatus.STOPPED}


def test_a_cluster_can_limit_trainings():
    for method in method_names():
        assert GRAPH.get(dg.AssetKey(["pretrained", method])).pools == {"gpu"}


@pytest.mark.parametrize("execution", [{}, {"execution": {"config": {"multiprocess": {"max_concurrent": 2}}}}], ids=str)
def test_steps_stay_in_process_unless_the_run_config_says_otherwise(execution):
    job = REPOSITORY.get_job("pretrain_medklip")
    from dagster._core.system_config.objects import ResolvedRunConfig

    resolved = ResolvedRunConfig.build(job, execution)
    wanted = {"in_process"} if not execution else {"multiprocess"}
    assert set(resolved.execution.execution_engine_config) == wanted


@pytest.mark.parametrize("config", [InventoryConfig, ImagesConfig, ReportsConfig, Workspace])
def test_every_field_of_ours_is_documented(config):
    assert [name for name, field in config.model_fields.items() if not field.description] == []
