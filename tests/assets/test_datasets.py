"""The asset of a downstream dataset as real Dagster runs: its history, its checks, and that a failure stops nothing."""

from __future__ import annotations

import dagster as dg
import pytest

from assets.datasets import ARCHIVES, CHECKS, dataset_asset, simulated_archives
from assets.settings.evaluation import EvaluationSettings
from assets.workspace import WorkspaceResource
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.readers.rsna_pneumonia import RsnaPneumonia
from cohorts.registry import cohort_names
from ingestion import checks
from ingestion.pipeline import READY, dataset_state, update_dataset
from ingestion.simulation import SEED
from shards.reader import ShardReader
from store import batches

SIZE = 32


@pytest.fixture(scope="module")
def studies():
    """Simulated once for every archive."""
    return simulate_studies(PhantomConfig(studies=24, seed=SEED, height=64), 24)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A home whose pretraining had images of SIZE, and nothing from the environment."""
    for name in ("RADALIGN_HOME", "RADALIGN_COHORT", *(f"RADALIGN_{name.upper()}_ROOT" for name in cohort_names())):
        monkeypatch.delenv(name, raising=False)
    resource = WorkspaceResource(home=str(tmp_path / "home"))
    batches.commit(resource.plain().folder("images"), batches.Plan((), {"size": SIZE}))
    return resource


@pytest.fixture
def archive(studies, monkeypatch, tmp_path):
    """Writes an archive outside the home, and says where it lies."""

    def write(cohort):
        root = tmp_path / "archives" / cohort
        layout_writer(cohort)(root, studies)
        monkeypatch.setenv(f"RADALIGN_{cohort.upper()}_ROOT", str(root))
        return root

    return write


def run(workspace, *assets, **settings):
    resources = {"workspace": workspace, "evaluation": EvaluationSettings(**settings)}
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return dg.materialize(list(assets), resources=resources, run_config=config, raise_on_error=False)


def ingest(workspace, *cohorts, **settings):
    result = run(workspace, *(dataset_asset(cohort) for cohort in cohorts), **settings)
    assert result.success
    return result


def metadata(result, cohort):
    events = {event.asset_key.path[-1]: event for event in result.get_asset_materialization_events()}
    return {name: value.value for name, value in events[cohort].materialization.metadata.items()}


def verdicts(result, cohort):
    return {
        found.check_name: found
        for found in result.get_asset_check_evaluations()
        if found.asset_key == dg.AssetKey(["dataset", cohort])
    }


def test_the_asset_does_what_the_plain_ingestion_does(workspace, archive, tmp_path):
    root = archive("open_i")
    result = ingest(workspace, "open_i")
    assert {name: found.passed for name, found in verdicts(result, "open_i").items()} == dict.fromkeys(CHECKS, True)
    state = dataset_state(workspace.plain(), "open_i")
    assert (state["status"], state["root"]) == (READY, str(root))
    shown = metadata(result, "open_i")
    assert shown["data_version"] == state["data_version"]
    assert (shown["images: computed"], shown["images: reused"]) == (1, 0)
    other = WorkspaceResource(home=str(tmp_path / "other")).plain()
    batches.commit(other.folder("images"), batches.Plan((), {"size": SIZE}))
    assert update_dataset(other, "open_i", progress=False) == state
    again = metadata(ingest(workspace, "open_i"), "open_i")
    assert (again["images: computed"], again["shards: computed"], again["shards: reused"]) == (0, 0, 1)


def test_batches_of_a_dataset_are_steps_of_their_own(workspace, archive):
    archive("mura")
    result = ingest(workspace, "mura")
    steps = {event.step_key for event in result.all_events if event.is_step_success}
    assert "dataset__mura.dataset_batch[b00000]" in steps
    assert len(ShardReader(workspace.plain().downstream("mura").folder("shards")).read()) > 0


def test_a_broken_archive_fails_alone(workspace, archive):
    archive("covid_rural")
    root = archive("rsna_pneumonia")
    (root / "stage_2_train_labels.csv").unlink()
    result = ingest(workspace, "covid_rural", "rsna_pneumonia")
    found = verdicts(result, "rsna_pneumonia")
    assert not found[READY].passed
    assert found[READY].description.startswith(f"There is no stage_2_train_labels.csv in {root}: to use ")
    assert dataset_state(workspace.plain(), "rsna_pneumonia")["note"] == found[READY].description
    assert verdicts(result, "covid_rural")[READY].passed


def test_a_batch_that_fails_is_told(workspace, archive, monkeypatch):
    archive("mura")
    monkeypatch.setattr("imaging.pool.DecoderPool.decode", lambda *_: {}["MRN 123"])
    result = ingest(workspace, "mura")
    assert (
        verdicts(result, "mura")[READY].description == "KeyError in our code, at batch b00000; the log has the place."
    )
    assert not (workspace.plain().folder("..") / "mura" / "shards").exists()


def test_a_fault_of_ours_quotes_nothing(workspace, archive, monkeypatch):
    archive("rsna_pneumonia")
    monkeypatch.setattr(RsnaPneumonia, "scan", lambda self: {}["MRN 123"])
    ingest(workspace, "rsna_pneumonia")
    note = "KeyError in our code, at inventory; the log has the place."
    assert dataset_state(workspace.plain(), "rsna_pneumonia") == {"status": "failed", "note": note}


def test_a_check_that_stops_is_named(workspace, archive, monkeypatch):
    archive("rsna_pneumonia")
    query = checks._query
    monkeypatch.setattr(checks, "_query", lambda sql, *paths: (1,) if "distinct split" in sql else query(sql, *paths))
    result = ingest(workspace, "rsna_pneumonia")
    found = verdicts(result, "rsna_pneumonia")
    assert found[READY].description == (
        "The check no_patient_in_two_splits of its studies failed; "
        "`RADALIGN_COHORT=rsna_pneumonia dagster job execute -j ingest` shows it."
    )
    assert {name for name, check in found.items() if check.passed} == {"nothing_lost"}


def test_a_family_of_splits_is_chosen_by_name(workspace, archive):
    archive("rsna_pneumonia")
    ingest(workspace, "rsna_pneumonia", splits={"rsna_pneumonia": "60/20/20"})
    there = workspace.plain().downstream("rsna_pneumonia")
    assert batches.read_plan(there.folder("inventory")).settings["split"] == "60/20/20"


def test_a_dataset_without_an_archive_or_that_was_not_chosen_is_absent(workspace, archive):
    archive("rsna_pneumonia")
    result = ingest(workspace, "edema_severity", "rsna_pneumonia", cohorts=["edema_severity"])
    note = metadata(result, "edema_severity")["note"]
    assert note.startswith("edema_severity has no archive")
    assert "RADALIGN_EDEMA_SEVERITY_ROOT" in note
    assert verdicts(result, "edema_severity")[READY].passed
    note = "rsna_pneumonia is not among the cohorts to evaluate on."
    assert dataset_state(workspace.plain(), "rsna_pneumonia") == {"status": "absent", "note": note}


def test_the_cohort_of_the_pretraining_is_evaluated_elsewhere(workspace, archive):
    archive("open_i")
    there = WorkspaceResource(home=workspace.home, cohort="open_i")
    ingest(there, "open_i")
    note = "Pretraining was on open_i: evaluated/<method> evaluates it."
    assert dataset_state(there.plain(), "open_i") == {"status": "absent", "note": note}


@pytest.mark.parametrize("settings", [{"cohorts": ["rsna"]}, {"splits": {"rsna": "70/15/15"}}])
def test_a_name_that_is_no_dataset_stops_the_run_with_one_sentence(workspace, settings):
    (setting,) = settings
    result = run(workspace, simulated_archives, dataset_asset("rsna_pneumonia"), **settings)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_key == ARCHIVES
    description = event.step_failure_data.user_failure_data.description
    assert description.startswith(
        f"evaluation.{setting} names rsna (did you mean `rsna_pneumonia`?), which is not one of archive, "
    )


def test_an_address_that_is_none_stops_the_run_with_one_sentence(workspace, archive, monkeypatch):
    archive("open_i")
    monkeypatch.setenv("RADALIGN_RSNA_PNEUMONIA_ROOT", "nowhere://bucket")
    result = run(WorkspaceResource(home=workspace.home, cohort="open_i"), simulated_archives)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert "nowhere://bucket" in event.step_failure_data.user_failure_data.description


def test_simulated_archives_are_told(workspace):
    result = run(workspace, simulated_archives, cohorts=["covid_rural"], simulated_studies=3)
    home = str(workspace.plain().home_path())
    assert metadata(result, ARCHIVES) == {
        **{"computed": 1, "simulated": "covid_rural"},
        **{"cohort": "phantom", "preset": "demo", "home": home},
    }
