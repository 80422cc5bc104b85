"""The ingestion of a dataset without Dagster: what is there is used again, what is wrong is one sentence."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.archive import RECORD
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.marker import is_marked
from cohorts.phantom.simulated import simulate_studies
from cohorts.readers.rsna_pneumonia import RsnaPneumonia
from ingestion import checks, pipeline
from ingestion.inventory import InventorySettings
from ingestion.members import name_batch, read_members
from ingestion.pipeline import IngestionSettings, dataset_state, update, update_dataset
from ingestion.simulation import SEED, simulate_missing
from ingestion.stages.images import ImagesSettings
from ingestion.tables.subsets import SubsetsSettings
from ingestion.workspace import Workspace
from store import batches
from store.atomic import write_json
from store.seals import unlink, write_sealed_json

SIZE = 32


@pytest.fixture(scope="module")
def studies():
    """Simulated once for every archive."""
    return simulate_studies(PhantomConfig(studies=24, seed=SEED, height=64), 24)


@pytest.fixture
def home(workspace):
    """One whose pretraining had images of SIZE."""
    batches.commit(workspace.folder("images"), batches.Plan((), {"size": SIZE}))
    return workspace


@pytest.fixture
def archive(studies, monkeypatch, tmp_path):
    """Writes an archive outside the home, and says where it lies."""

    def write(cohort):
        root = tmp_path / "archives" / cohort
        layout_writer(cohort)(root, studies)
        monkeypatch.setenv(f"RADALIGN_{cohort.upper()}_ROOT", str(root))
        return root

    return write


def test_the_phantom_is_simulated_ingested_and_then_found(workspace):
    settings = IngestionSettings(
        archive=PhantomConfig(studies=12, height=64),
        inventory=InventorySettings(batch_size=5),
        images=ImagesSettings(size=SIZE),
    )
    lines = []
    state = update(workspace, settings, lines.append, progress=False)
    assert (state["status"], state["simulated"], state["root"]) == ("ready", True, str(workspace.root()))
    assert "3 of 3 batches to compute, the others are there" in lines
    lines.clear()
    assert update(workspace, settings, lines.append, progress=False) == state
    assert "0 of 3 batches to compute, the others are there" in lines
    kept = {"batch_size": 5, "split": "official", "views": ["frontal"]}
    assert pipeline.last_settings(workspace)["inventory"] == kept


def test_a_home_of_an_earlier_version_is_taken_over(workspace):
    settings = IngestionSettings(
        archive=PhantomConfig(studies=12, height=64),
        inventory=InventorySettings(batch_size=5),
        images=ImagesSettings(size=SIZE),
    )
    state = update(workspace, settings, progress=False)
    folders = [workspace.folder(name) for name in ("inventory", *(stage.name for stage in pipeline.STAGES))]
    members = to_former_members(folders[0])
    for folder in folders:
        to_former_plan(folder, members if folder is folders[0] else {})
    before = {path: path.read_bytes() for folder in folders for path in folder.glob("?" * 20 + ".parquet")}
    lines = []
    after = update(workspace, settings, lines.append, progress=False)
    assert "0 of 3 batches to compute, the others are there" in lines
    assert {**after, "version": ""} == {**state, "version": ""}
    assert {path: path.read_bytes() for path in before} == before
    assert not list(workspace.home_path().rglob("phantom/*/plan.json*"))
    assert to_former_members(folders[0]) == members


def to_former_members(folder):
    """The studies of each batch as plans of earlier versions had them; the table of them is removed."""
    found = {}
    for row in read_members(folder, 5, print).to_pylist():
        found.setdefault(name_batch(row["batch"]), []).append(row["study_id"])
    unlink(folder / "members.parquet")
    return {"members": found}


def to_former_plan(folder, settings):
    """Write the plan of a stage in the form of earlier versions, with further settings."""
    plan = batches.read_plan(folder)
    unlink(folder / batches.PLAN)
    stored = {"settings": plan.settings | settings, "batches": [asdict(batch) for batch in plan.batches]}
    write_sealed_json(folder / batches.FORMER_PLAN, stored)


def test_the_settings_of_every_table_are_kept(workspace):
    settings = IngestionSettings(
        archive=PhantomConfig(studies=12, height=64), images=ImagesSettings(size=SIZE), subsets=SubsetsSettings(seed=3)
    )
    update(workspace, settings, progress=False)
    kept = pipeline.last_settings(workspace)
    assert kept.keys() == pipeline.SETTINGS.keys()
    assert (kept["subsets"], kept["images"]["size"]) == ({"seed": 3}, SIZE)
    again = IngestionSettings(**{name: pipeline.SETTINGS[name](**values) for name, values in kept.items()})
    assert again == replace(settings, archive=PhantomConfig(), inventory=again.inventory)


def test_a_batch_alone_is_computed_again_where_it_is_gone(workspace):
    settings = IngestionSettings(
        archive=PhantomConfig(studies=12, height=64), inventory=InventorySettings(batch_size=5)
    )
    update(workspace, settings, progress=False)
    plan = batches.read_plan(workspace.folder("images"))
    batches.output_path(workspace.folder("images"), plan.batches[1].fingerprint).unlink()
    lines = []
    update(workspace, settings, lines.append, progress=False)
    assert "1 of 3 batches to compute, the others are there" in lines
    assert [line for line in lines if line.startswith(("images", "reports", "shards"))] == [
        "images b00001: 5 rows, 0 rejects"
    ]


def test_an_archive_that_was_given_is_brought_up_to_date(home, archive):
    root = archive("rsna_pneumonia")
    state = update_dataset(home, "rsna_pneumonia", progress=False)
    assert (state["status"], state["root"], state["simulated"]) == ("ready", str(root), True)
    assert dataset_state(home, "rsna_pneumonia") == state
    there = home.downstream("rsna_pneumonia")
    assert batches.read_plan(there.folder("shards")).settings["size"] == SIZE


def test_a_dataset_that_was_not_looked_for_says_so(home):
    assert dataset_state(home, "mura")["note"].startswith("mura was not looked for yet")


def test_a_dataset_without_an_archive_says_what_to_set(home):
    state = update_dataset(home, "edema_severity")
    assert state["status"] == "absent"
    assert state["note"].startswith("edema_severity has no archive. To use RADALIGN_EDEMA_SEVERITY_ROOT, ")


def test_a_broken_archive_is_one_sentence(home, archive):
    root = archive("rsna_pneumonia")
    (root / "stage_2_train_labels.csv").unlink()
    state = update_dataset(home, "rsna_pneumonia")
    assert state["status"] == "failed"
    assert state["note"].startswith(
        f"There is no stage_2_train_labels.csv in {root}: to use RADALIGN_RSNA_PNEUMONIA_ROOT, set it to the unpacked "
    )


def test_a_fault_of_ours_quotes_nothing(home, archive, monkeypatch):
    archive("rsna_pneumonia")
    monkeypatch.setattr(RsnaPneumonia, "scan", lambda self: {}["MRN 123"])
    state = update_dataset(home, "rsna_pneumonia")
    assert state == {"status": "failed", "note": "KeyError in our code, at its ingestion; the log has the place."}


def test_a_check_that_stops_is_named(home, archive, monkeypatch):
    archive("rsna_pneumonia")
    query = checks._query
    monkeypatch.setattr(checks, "_query", lambda sql, *paths: (1,) if "distinct split" in sql else query(sql, *paths))
    assert update_dataset(home, "rsna_pneumonia", progress=False)["note"] == (
        "The check no_patient_in_two_splits of its studies failed; "
        "`RADALIGN_COHORT=rsna_pneumonia dagster job execute -j ingest` shows it."
    )
    assert not (home.downstream("rsna_pneumonia").folder("shards") / "manifest.json").exists()


def test_a_family_of_splits_is_chosen_by_name(home, archive):
    archive("rsna_pneumonia")
    default = update_dataset(home, "rsna_pneumonia", progress=False)
    other = update_dataset(home, "rsna_pneumonia", "60/20/20", progress=False)
    assert other["status"] == default["status"] == "ready"
    assert other["data_version"] != default["data_version"]
    assert batches.read_plan(home.downstream("rsna_pneumonia").folder("inventory")).settings["split"] == "60/20/20"
    unknown = update_dataset(home, "rsna_pneumonia", "50/50", progress=False)
    assert unknown["note"] == "rsna_pneumonia has no split '50/50'; choose 70/15/15 or 60/20/20."


@pytest.mark.parametrize(("option", "given"), [("cohorts", (["rsna"], {})), ("splits", ([], {"rsna": "70/15/15"}))])
def test_a_name_that_is_no_dataset_is_refused(home, option, given):
    nearest = r"rsna \(did you mean `rsna_pneumonia`\?\)"
    with pytest.raises(CohortError, match=rf"evaluation.{option} names {nearest}, which is not one of .*mura"):
        pipeline.choose_datasets(home, *given)


def test_the_dataset_of_the_pretraining_is_not_downstream_of_itself(home):
    there = Workspace(home=home.home, cohort="open_i")
    assert "open_i" not in pipeline.choose_datasets(there, [], {})
    assert "open_i" in pipeline.choose_datasets(home, [], {})
    assert "phantom" not in pipeline.choose_datasets(there, [], {})


def test_only_missing_archives_are_simulated(home, archive):
    archive("rsna_pneumonia")
    somebodys = home.home_path() / "covidx" / "archive" / "notes.txt"
    somebodys.parent.mkdir(parents=True)
    somebodys.write_text("mine")
    simulated = home.home_path() / "covid_rural" / "archive"
    names = ["rsna_pneumonia", "covidx", "covid_rural"]
    lines = []
    assert simulate_missing(home, names, 3, lines.append) == ["covid_rural"]
    assert any(line.endswith("it stays as it is, and covidx is left out.") for line in lines)
    assert is_marked(simulated)
    assert [path.name for path in somebodys.parent.iterdir()] == ["notes.txt"]
    assert not (home.home_path() / "rsna_pneumonia" / "archive").exists()
    before = {path: path.stat().st_mtime_ns for path in simulated.rglob("*")}
    assert simulate_missing(home, names, 5, lines.append) == []
    assert {path: path.stat().st_mtime_ns for path in simulated.rglob("*")} == before


def test_zero_studies_simulate_nothing(home):
    assert simulate_missing(home, ["covid_rural"], 0, print) == []


@pytest.mark.parametrize("seed", [0, SEED])
def test_other_images_are_simulated_than_those_of_the_pretraining(home, monkeypatch, seed):
    seeds = []
    monkeypatch.setattr(
        "cohorts.phantom.simulated.simulate_studies", lambda config, count: seeds.append(config.seed) or []
    )
    monkeypatch.setattr(
        "cohorts.phantom.layouts.layout_writer", lambda name: lambda root, studies: root.mkdir(parents=True)
    )
    write_json(home.root() / RECORD, {"seed": seed})
    simulate_missing(home, ["covid_rural"], 3, print)
    assert seeds != [seed]
    assert len(seeds) == 1


def test_beside_real_images_nothing_is_simulated(home, archive):
    archive("open_i")
    assert simulate_missing(home, ["covid_rural"], 3, print) == ["covid_rural"]
    real = Workspace(home=home.home, cohort="open_i")
    assert simulate_missing(real, ["edema_severity"], 3, print) == []
    assert not (home.home_path() / "edema_severity").exists()
    assert update_dataset(real, "covid_rural")["status"] == "absent"  # nor is what was simulated before read
