"""Real runs on tiny archives: what is there is measured, what is not is told, what is broken stops nothing else."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import MagicMock

import dagster as dg
import pytest

from assets import checks
from assets.catalogue import CHECKS, INGESTION
from assets.downstream import COHORTS, READY, cohort_asset, cohort_state, downstream_asset
from assets.evaluated import CELLS, results_asset
from assets.settings import EvaluationSettings, options_of
from assets.simulated import SEED, chosen, simulated_archives
from assets.tables import tables_asset
from assets.workspace import Workspace
from cohorts.phantom.archive import RECORD
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.marker import is_marked
from cohorts.phantom.simulated import simulate_studies
from cohorts.readers.rsna_pneumonia import RsnaPneumonia
from cohorts.subsets import FRACTIONS
from evaluation.protocol import DOWNSTREAM
from evaluation.results.store import MEASURED, read_results
from evaluation.tasks.adapters import settings_of
from store import batches
from store.atomic import write_json
from tests.models.tiny import SIZE, TINY, tiny_method
from tracking.runs import TrainedRun, remember
from training.state.checkpoint import TRAINED, UNTRAINED, ModelCard, save_weights

METHOD = "convirt"
RUN = TrainedRun(METHOD, "f", "checkpoints/convirt/f", "run", "v", 0, "trained-digest", "untrained-digest")
STUDIES, HEIGHT = 24, 64
BRIEF = {"maximum_steps": 1, "epochs": 1, "batch_size": 8}
STAGES = [*INGESTION, *CHECKS]
SETTINGS = {"fractions": [1.0], "fine_tune": BRIEF, "detection": {**BRIEF, "width": 8}, "segmentation": BRIEF}


@pytest.fixture(scope="module")
def films():
    """Drawn once for every archive."""
    return simulate_studies(PhantomConfig(studies=STUDIES, seed=SEED, height=HEIGHT), STUDIES)


@pytest.fixture
def home(workspace, monkeypatch):
    """One with a network that was pretrained on the simulation, from films of `SIZE`."""
    for cohort in COHORTS:
        monkeypatch.delenv(f"RADALIGN_{cohort.upper()}_ROOT", raising=False)
    monkeypatch.setattr("tracking.tracker.attach", lambda home, run: MagicMock())
    batches.commit(workspace.folder("images"), batches.Plan((), {"size": SIZE}))
    output = workspace.home_path() / RUN.output
    output.mkdir(parents=True)
    ModelCard(METHOD, TINY[METHOD], [], SIZE).save(output)
    for weights in (TRAINED, UNTRAINED):
        save_weights(tiny_method(METHOD), output / weights)
    remember(workspace, RUN)
    return workspace


@pytest.fixture
def archive(home, films, monkeypatch, tmp_path):
    """Writes an archive outside the home, and says where it lies."""

    def write(cohort):
        root = tmp_path / "archives" / cohort
        layout_writer(cohort)(root, films)
        monkeypatch.setenv(f"RADALIGN_{cohort.upper()}_ROOT", str(root))
        return root

    return write


def run(workspace, assets, **settings):
    """A run of the assets with the settings, and what the tests make small."""
    resources = {"workspace": workspace, "evaluation": EvaluationSettings(**{**SETTINGS, **settings})}
    return dg.materialize(assets, resources=resources, raise_on_error=False)


def evaluate(workspace, *cohorts, **settings):
    """Its cohorts and what the network makes of them, the results and the tables."""
    measured = [
        asset for cohort in cohorts for asset in (cohort_asset(cohort, STAGES), downstream_asset(METHOD, cohort))
    ]
    result = run(workspace, [*measured, results_asset([METHOD], [], cohorts), tables_asset], **settings)
    assert result.success
    return result


def metadata(result, *key):
    (event,) = result.asset_materializations_for_node("__".join(key))
    return {name: value.value for name, value in event.metadata.items()}


def check(result, name, *key):
    (found,) = [
        found
        for found in result.get_asset_check_evaluations()
        if (found.check_name, found.asset_key) == (name, dg.AssetKey(key))
    ]
    return found


def rows(workspace, cohort):
    return read_results(workspace.home_path(), {"cohort": cohort, "source": MEASURED}).to_pylist()


def measured_cells(workspace, cohort):
    return {(row["method"], row["task"], row["setting"], row["draw"]) for row in rows(workspace, cohort)}


def cells(cohort):
    """All of its protocol, for the network and its untrained self."""
    return {
        (method, task, setting.name, setting.draw)
        for task, setting in settings_of(DOWNSTREAM[cohort], SETTINGS["fractions"], 1)
        for method in (METHOD, f"untrained:{METHOD}")
    }


def test_an_archive_that_was_given_is_read_and_measured_once(home, archive, monkeypatch):
    root = archive("rsna_pneumonia")
    first = evaluate(home, "rsna_pneumonia")
    assert check(first, READY, "cohort", "rsna_pneumonia").passed
    assert check(first, CELLS, "downstream", METHOD, "rsna_pneumonia").passed
    assert metadata(first, "cohort", "rsna_pneumonia")["root"] == str(root)
    assert metadata(first, "downstream", METHOD, "rsna_pneumonia")["found in results"] == 0
    assert measured_cells(home, "rsna_pneumonia") == cells("rsna_pneumonia")
    kept = rows(home, "rsna_pneumonia")
    assert all(row["simulated"] and not row["note"] and row["data_version"] for row in kept)

    monkeypatch.setattr("evaluation.predictions.Network._ask", lambda *asked: pytest.fail("a network was asked again"))
    monkeypatch.setattr(
        "evaluation.figures.catalogue.attached", lambda *asked: {}
    )  # attention is looked at for every picture
    told = metadata(evaluate(home, "rsna_pneumonia"), "downstream", METHOD, "rsna_pneumonia")
    assert (told["measured"], told["found in results"]) == (0, len(cells("rsna_pneumonia")))
    assert rows(home, "rsna_pneumonia") == kept


def test_a_cohort_without_an_archive_says_what_to_set_and_has_no_rows(home):
    result = evaluate(home, "edema_severity")
    told = metadata(result, "downstream", METHOD, "edema_severity")
    assert list(told) == ["note"]
    assert told["note"].startswith("edema_severity has no archive")
    assert "RADALIGN_EDEMA_SEVERITY_ROOT" in told["note"]
    assert check(result, READY, "cohort", "edema_severity").passed
    assert rows(home, "edema_severity") == []


def test_a_broken_archive_fails_alone(home, archive):
    archive("covid_rural")
    root = archive("rsna_pneumonia")
    (root / "stage_2_train_labels.csv").unlink()
    result = evaluate(home, "covid_rural", "rsna_pneumonia")
    ready = check(result, READY, "cohort", "rsna_pneumonia")
    assert not ready.passed
    assert ready.description.startswith(
        f"There is no stage_2_train_labels.csv in {root}: to use RADALIGN_RSNA_PNEUMONIA_ROOT, set it to the unpacked "
    )
    assert {row["note"] for row in rows(home, "rsna_pneumonia")} == {f"failed: {ready.description}"}
    assert measured_cells(home, "rsna_pneumonia") == cells("rsna_pneumonia")
    assert not check(result, CELLS, "downstream", METHOD, "rsna_pneumonia").passed
    assert check(result, CELLS, "downstream", METHOD, "covid_rural").passed
    assert any(row["value"] is not None for row in rows(home, "covid_rural"))
    assert {"results", "tables"} <= {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}


def test_every_run_is_measured_where_that_is_asked_for(home, archive):
    archive("covid_rural")
    other = replace(RUN, variant="ITA", seed=1, checkpoint_digest="other", untrained_digest="other untrained")
    remember(home, other)
    told = metadata(evaluate(home, "covid_rural"), "downstream", METHOD, "covid_rural")
    assert (told["measured"], told["found in results"]) == (len(cells("covid_rural")), 0)
    assert {(row["method"], row["seed"]) for row in rows(home, "covid_rural")} == {
        ("convirt:ITA", 1),
        ("untrained:convirt:ITA", 1),
    }
    told = metadata(evaluate(home, "covid_rural", every_run=True), "downstream", METHOD, "covid_rural")
    assert (told["measured"], told["found in results"]) == (len(cells("covid_rural")),) * 2
    assert {(row["method"], row["seed"]) for row in rows(home, "covid_rural")} > {("convirt", 0), ("convirt:ITA", 1)}


def brought_up_to_date(workspace, cohort, stages=STAGES, **settings):
    """What became of the cohort alone."""
    assert run(workspace, [cohort_asset(cohort, stages)], **settings).success
    return cohort_state(workspace, cohort)


def test_a_fault_of_ours_quotes_nothing(home, archive, monkeypatch):
    archive("rsna_pneumonia")
    monkeypatch.setattr(RsnaPneumonia, "scan", lambda self: {}["MRN 123"])
    state = brought_up_to_date(home, "rsna_pneumonia")
    assert state == {"status": "failed", "note": "KeyError in our code, at inventory; the log has the place."}


def test_a_check_that_stops_is_named(home, archive, monkeypatch):
    archive("rsna_pneumonia")
    query = checks._query
    monkeypatch.setattr(checks, "_query", lambda sql, *paths: (1,) if "distinct split" in sql else query(sql, *paths))
    assert brought_up_to_date(home, "rsna_pneumonia")["note"] == (
        "The check no_patient_in_two_splits of its studies failed; "
        "`RADALIGN_COHORT=rsna_pneumonia dagster job execute -j ingest` shows it."
    )


def test_a_family_of_splits_is_chosen_by_name(home, archive):
    archive("rsna_pneumonia")
    default = brought_up_to_date(home, "rsna_pneumonia")
    other = brought_up_to_date(home, "rsna_pneumonia", splits={"rsna_pneumonia": "60/20/20"})
    assert other["status"] == default["status"] == "ready"
    assert other["data_version"] != default["data_version"]
    assert batches.read_plan(home.downstream("rsna_pneumonia").folder("inventory")).settings["split"] == "60/20/20"
    unknown = brought_up_to_date(home, "rsna_pneumonia", splits={"rsna_pneumonia": "50/50"})
    assert unknown["note"] == "rsna_pneumonia has no split '50/50'; choose 70/15/15 or 60/20/20."


@pytest.mark.parametrize("settings", [{"cohorts": ["rsna"]}, {"splits": {"rsna": "70/15/15"}}])
def test_a_cohort_that_is_none_stops_the_run_with_one_sentence(home, settings):
    (setting,) = settings
    result = run(home, [simulated_archives, cohort_asset("rsna_pneumonia", STAGES)], **settings)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_key == "simulated_archives"
    assert event.step_failure_data.user_failure_data.description == (
        f"evaluation.{setting} names rsna, which is not one of {', '.join(DOWNSTREAM)}."
    )


def test_an_address_that_is_none_stops_the_run_with_one_sentence(home, archive, monkeypatch):
    archive("open_i")
    monkeypatch.setenv("RADALIGN_RSNA_PNEUMONIA_ROOT", "nowhere://bucket")
    result = run(Workspace(home=home.home, cohort="open_i"), [simulated_archives])
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert "nowhere://bucket" in event.step_failure_data.user_failure_data.description


def test_a_fraction_that_was_not_drawn_is_one_sentence():
    with pytest.raises(dg.Failure, match=r"evaluation.fractions names 0.05, which is not one of 0.01, 0.1, 1.0."):
        options_of(EvaluationSettings(fractions=[0.05, 1.0]))
    assert tuple(EvaluationSettings().fractions) == FRACTIONS


def test_a_cohort_that_was_not_chosen_is_not_read(home, archive):
    archive("rsna_pneumonia")
    note = "rsna_pneumonia is not among the cohorts to evaluate on."
    assert brought_up_to_date(home, "rsna_pneumonia", cohorts=["covidx"]) == {"status": "absent", "note": note}


def test_the_cohort_of_the_pretraining_is_measured_elsewhere(home, archive):
    archive("open_i")
    there = Workspace(home=home.home, cohort="open_i")
    assert "open_i" not in chosen(EvaluationSettings(), there)
    note = "Pretraining was on open_i: evaluated/<method>/... measures it."
    assert brought_up_to_date(there, "open_i") == {"status": "absent", "note": note}


def simulated(workspace, *cohorts, studies=3):
    result = run(workspace, [simulated_archives], cohorts=list(cohorts), simulated_studies=studies)
    assert result.success
    return metadata(result, "simulated_archives")["drawn"]


def test_only_missing_archives_are_drawn(home, archive):
    archive("rsna_pneumonia")
    somebodys = home.home_path() / "covidx" / "archive" / "notes.txt"
    somebodys.parent.mkdir(parents=True)
    somebodys.write_text("mine")
    drawn = home.home_path() / "covid_rural" / "archive"
    assert simulated(home, "rsna_pneumonia", "covidx", "covid_rural") == "covid_rural"
    assert is_marked(drawn)
    assert [path.name for path in somebodys.parent.iterdir()] == ["notes.txt"]
    assert not (home.home_path() / "rsna_pneumonia" / "archive").exists()
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*")}
    assert simulated(home, "rsna_pneumonia", "covidx", "covid_rural", studies=5) == "nothing"
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*")} == before


def test_zero_studies_draw_nothing(home):
    assert simulated(home, "covid_rural", studies=0) == "nothing"


@pytest.mark.parametrize("seed", [0, SEED])
def test_other_films_are_drawn_than_those_of_the_pretraining(home, monkeypatch, seed):
    drawn = []
    monkeypatch.setattr("cohorts.phantom.simulated.simulate_studies", lambda config, count: drawn.append(config.seed) or [])
    monkeypatch.setattr(
        "cohorts.phantom.layouts.layout_writer", lambda name: lambda root, studies: root.mkdir(parents=True)
    )
    write_json(home.root() / RECORD, {"seed": seed})
    simulated(home, "covid_rural")
    assert drawn != [seed]


def test_beside_real_films_nothing_is_simulated(home, archive):
    archive("open_i")
    assert simulated(home, "covid_rural") == "covid_rural"
    real = Workspace(home=home.home, cohort="open_i")
    assert simulated(real, "edema_severity") == "nothing"
    assert not (home.home_path() / "edema_severity").exists()
    assert brought_up_to_date(real, "covid_rural")["status"] == "absent"  # nor is what was simulated before read
