from __future__ import annotations

import dagster as dg
import pytest

from assets.ingestion import ArchiveConfig, InventoryConfig, SubsetsConfig
from assets.reports import KnowledgeConfig
from assets.settings.launchpad import launchpad_config
from assets.workspace import WorkspaceResource
from cohorts.registry import cohort_names
from ingestion.pipeline import SETTINGS
from models.registry import method_names, only_imported
from pipelines import catalogue
from pipelines.definitions import defs
from pipelines.specs import complete

GROUPS = {"source", "ingestion", "report_parsing", "shards", "pretraining", "evaluation", "downstream"}
REPOSITORY = defs.get_repository_def()
GRAPH = REPOSITORY.asset_graph
ASSETS = sorted(GRAPH.get_all_asset_keys())
KINDS = ("pretrained", "evaluated", "downstream", "audited", "monitored")  # of assets of a method
OTHERS = 20  # assets at most beside five of each method and one of each dataset


def test_every_method_brings_five_assets_and_four_jobs():
    for method in method_names():
        wanted = {dg.AssetKey([kind, method]) for kind in KINDS}
        assert {key for key in ASSETS if method in key.path} == wanted
        assert {f"{kind}_{method}" for kind in ("pretrain", "evaluate", "audit", "monitor")} <= set(
            REPOSITORY.job_names
        )


def test_networks_that_can_only_be_imported_share_assets_and_have_a_job_each():
    assert {key for key in ASSETS if "imported" in key.path} == {
        dg.AssetKey(["imported"]),
        *(dg.AssetKey([kind, "imported"]) for kind in KINDS[1:]),
    }
    for name in only_imported():
        job = REPOSITORY.get_job(f"evaluate_{name}")
        assert job.tags["radalign/network"] == name
        assert dg.AssetKey(["downstream", "imported"]) in job.asset_layer.executable_asset_keys


def test_every_dataset_brings_one_asset_with_its_checks():
    for name in set(cohort_names()) - {"phantom"}:
        (key,) = (key for key in ASSETS if name in key.path[1:])  # `archive` alone is the one of the pretraining
        assert key == dg.AssetKey(["dataset", name])
        checks = {check.name for check in GRAPH.asset_check_keys if check.asset_key == key}
        assert checks == {
            *("ready", "nothing_lost", "no_patient_in_two_splits", "as_many_rows_as_studies", "no_empty_text"),
            *("pixels_are_sane", "reports_have_triplets"),
        }


def test_the_graph_stays_readable():
    assert len(ASSETS) <= OTHERS + 5 * len(method_names()) + len(cohort_names())


@pytest.mark.parametrize("key", ASSETS, ids=str)
def test_every_asset_is_described_and_grouped(key):
    node = GRAPH.get(key)
    assert node.description
    assert node.group_name in GROUPS
    assert node.kinds
    assert node.code_version
    assert node.owners
    of_home = key.path[0] in ("results", "tables", "simulated_archives", "dataset")
    assert (node.partitions_def is None) == of_home


def test_a_partition_is_a_dataset():
    keys = GRAPH.get(dg.AssetKey("shards")).partitions_def.get_partition_keys()
    assert sorted(keys) == sorted(cohort_names())


def test_the_code_version_of_an_asset_is_that_of_what_makes_it(monkeypatch):
    """A change of the network of one method concerns that method."""
    monkeypatch.setattr("store.code._version", lambda modules: ",".join(sorted(modules)))
    specs = [complete(spec) for asset in catalogue.ASSETS for spec in asset.specs]
    concerned = {spec.key.to_user_string() for spec in specs if "models.methods.convirt." in spec.code_version}
    assert concerned == {f"{kind}/convirt" for kind in KINDS}


def test_the_main_job_runs_everything_from_the_archive_to_the_results():
    job = REPOSITORY.get_job("pretrain_medklip")
    selected = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert selected == {
        *("archive", "inventory", "images", "reports", "triplets", "knowledge", "studies", "rejects"),
        *("subsets", "shards", "pretrained/medklip", "evaluated/medklip", "results", "tables"),
    }
    checks = {key.name for key in job.asset_layer.asset_graph.asset_check_keys}
    assert {"nothing_lost", "no_patient_in_two_splits", "no_empty_text", "pixels_are_sane"} <= checks


def test_the_evaluation_reaches_every_downstream_dataset():
    selected = set(REPOSITORY.get_job("evaluate_mgca").asset_layer.executable_asset_keys)
    assert {dg.AssetKey(["dataset", cohort]) for cohort in set(cohort_names()) - {"phantom"}} <= selected
    assert {dg.AssetKey(["evaluated", "mgca"]), dg.AssetKey(["downstream", "mgca"])} <= selected


def test_nothing_starts_by_itself():
    assert [schedule.default_status for schedule in REPOSITORY.schedule_defs] == [dg.DefaultScheduleStatus.STOPPED]
    assert {sensor.name for sensor in REPOSITORY.sensor_defs} == {"new_studies", "after_ingest", "dead_runs"}
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


@pytest.mark.parametrize(
    "config",
    [ArchiveConfig, InventoryConfig, SubsetsConfig, KnowledgeConfig, *map(launchpad_config, SETTINGS.values())],
    ids=lambda config: config.__name__,
)
def test_every_field_of_ours_is_documented(config):
    assert [name for name, field in config.model_fields.items() if not field.description] == []


def test_every_field_of_the_workspace_is_documented():
    assert all(field.description for field in WorkspaceResource.model_fields.values())
