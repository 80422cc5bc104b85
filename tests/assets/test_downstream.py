"""Real runs on tiny archives: what is there is evaluated, what is not is told, what is broken stops nothing else."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import MagicMock

import dagster as dg
import pytest
import torch

from assets.downstream import downstream_asset
from assets.evaluated import CHECK, TASKS_TAG
from assets.settings.evaluation import EvaluationSettings
from assets.tables import results_asset, tables_asset
from assets.workspace import WorkspaceResource
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.registry import dataset
from evaluation.results.store import MEASURED, read_results
from evaluation.tasks.registry import repeated_settings, tasks_on
from ingestion.pipeline import dataset_state, update_dataset
from ingestion.simulation import SEED
from models.run_files import DIGESTS, RESULT, TRAINED, UNTRAINED
from models.saved import ModelCard
from pipelines.catalogue import COHORTS
from store import batches
from store.digests import file_digest
from store.seals import write_sealed_json
from tests.models.tiny import SIZE, TINY, tiny_method
from tracking.runs import TrainedRun, remember
from training.state.checkpoint import save_weights

METHOD = "convirt"
RUN = TrainedRun(METHOD, "f", "checkpoints/convirt/f", "run", "v", 0, "trained-digest", "untrained-digest")
STUDIES, HEIGHT = 24, 64
BRIEF = {"maximum_steps": 1, "epochs": 1, "batch_size": 8}
SETTINGS = {"fractions": [1.0], "fine_tune": BRIEF, "detection": {**BRIEF, "width": 8}, "segmentation": BRIEF}


@pytest.fixture(scope="module")
def studies():
    """Simulated once for every archive."""
    return simulate_studies(PhantomConfig(studies=STUDIES, seed=SEED, height=HEIGHT), STUDIES)


@pytest.fixture
def home(workspace, monkeypatch):
    """One with a network that was pretrained on the simulation, on images of `SIZE`."""
    for cohort in COHORTS:
        monkeypatch.delenv(f"RADALIGN_{cohort.upper()}_ROOT", raising=False)
    monkeypatch.setattr("tracking.tracker.attach", lambda *given: MagicMock())
    plain = workspace.plain()
    batches.commit(plain.folder("images"), batches.Plan((), {"size": SIZE}))
    remember(plain, write_run(plain, RUN))
    return workspace


def write_run(workspace, run):
    """The files of a finished run; returns the run with the digests of its weights."""
    output = workspace.home_path() / run.output
    output.mkdir(parents=True)
    ModelCard(METHOD, TINY[METHOD], [], SIZE).save(output)
    for moved, weights in enumerate((UNTRAINED, TRAINED)):
        method = tiny_method(METHOD)
        torch.nn.init.constant_(next(method.parameters()).data.view(-1)[:1], moved)  # a training moves weights
        save_weights(method, output / weights)
    digests = {name: file_digest(output / file) for name, file in DIGESTS.items() if (output / file).exists()}
    write_sealed_json(output / RESULT, digests)
    return replace(run, **{name: digests[name] for name in ("checkpoint_digest", "untrained_digest")})


@pytest.fixture
def archive(home, studies, monkeypatch, tmp_path):
    """Writes an archive outside the home, and says where it lies."""

    def write(cohort):
        root = tmp_path / "archives" / cohort
        layout_writer(cohort)(root, studies)
        monkeypatch.setenv(f"RADALIGN_{cohort.upper()}_ROOT", str(root))
        return root

    return write


def run(workspace, assets, tags=None, **settings):
    """A run of the assets with the settings, and what the tests make small."""
    resources = {"workspace": workspace, "evaluation": EvaluationSettings(**{**SETTINGS, **settings})}
    return dg.materialize(assets, resources=resources, raise_on_error=False, tags=tags)


def evaluate(workspace, *cohorts, **settings):
    """What the network makes of the cohorts, the results and the tables."""
    for cohort in cohorts:
        update_dataset(workspace.plain(), cohort, progress=False)
    assets = [downstream_asset(METHOD, cohorts), results_asset([METHOD]), tables_asset]
    result = run(workspace, assets, **settings)
    assert result.success
    return result


def metadata(result, *key):
    (event,) = result.asset_materializations_for_node("__".join(key))
    return {name: value.value for name, value in event.metadata.items()}


def verdict(result):
    (found,) = [found for found in result.get_asset_check_evaluations() if found.check_name == CHECK]
    return found


def rows(workspace, cohort):
    return read_results(workspace.plain().home_path(), {"cohort": cohort, "source": MEASURED}).to_pylist()


def computed_results(workspace, cohort):
    return {(row["method"], row["task"], row["setting"], row["repeat"]) for row in rows(workspace, cohort)}


def expected_results(cohort):
    """All tasks of the dataset, for the network and its untrained self."""
    return {
        (method, task, setting.name, setting.repeat)
        for task, setting in repeated_settings(tasks_on(dataset(cohort)), SETTINGS["fractions"], 1)
        for method in (METHOD, f"untrained:{METHOD}")
    }


def test_an_archive_that_was_given_is_evaluated_once(home, archive, monkeypatch):
    archive("rsna_pneumonia")
    first = evaluate(home, "rsna_pneumonia")
    assert verdict(first).passed
    shown = metadata(first, "downstream", METHOD)
    assert shown["found in results"] == 0
    assert "| detection |" in shown["rsna_pneumonia"]
    assert any(name.startswith("rsna_pneumonia segmentation dice") for name in shown)
    assert computed_results(home, "rsna_pneumonia") == expected_results("rsna_pneumonia")
    kept = rows(home, "rsna_pneumonia")
    assert all(row["simulated"] and not row["note"] and row["data_version"] for row in kept)

    monkeypatch.setattr("evaluation.predictions.Predictions._predict", lambda *given: pytest.fail("predicted again"))
    monkeypatch.setattr("evaluation.figures.catalogue.draw_figures", lambda *given: {})
    again = metadata(evaluate(home, "rsna_pneumonia"), "downstream", METHOD)
    assert (again["computed"], again["found in results"]) == (0, len(expected_results("rsna_pneumonia")))
    assert rows(home, "rsna_pneumonia") == kept


def test_a_cohort_without_an_archive_says_what_to_set_and_has_no_rows(home):
    result = evaluate(home, "edema_severity")
    note = metadata(result, "downstream", METHOD)["edema_severity"]
    assert note.startswith("edema_severity has no archive")
    assert "RADALIGN_EDEMA_SEVERITY_ROOT" in note
    assert verdict(result).passed
    assert rows(home, "edema_severity") == []


def test_a_broken_archive_fails_alone(home, archive):
    archive("covid_rural")
    root = archive("rsna_pneumonia")
    (root / "stage_2_train_labels.csv").unlink()
    result = evaluate(home, "rsna_pneumonia", "covid_rural")
    note = dataset_state(home.plain(), "rsna_pneumonia")["note"]
    assert note.startswith(f"There is no stage_2_train_labels.csv in {root}")
    assert {row["note"] for row in rows(home, "rsna_pneumonia")} == {f"failed: {note}"}
    assert computed_results(home, "rsna_pneumonia") == expected_results("rsna_pneumonia")
    found = verdict(result)
    assert (found.passed, found.metadata["failed"].value) == (False, len(expected_results("rsna_pneumonia")))
    assert any(row["value"] is not None for row in rows(home, "covid_rural"))
    assert {"results", "tables"} <= {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}


def test_a_fault_of_one_dataset_fails_its_results_and_no_others(home, archive, monkeypatch):
    archive("covid_rural")
    archive("edema_severity")

    def broken(self, settings, untrained=True):
        if self.name == "covid_rural":
            raise KeyError("MRN 123")
        yield from evaluate_settings(self, settings, untrained)

    from evaluation.evaluator import Evaluator

    evaluate_settings = Evaluator.evaluate_settings
    monkeypatch.setattr(Evaluator, "evaluate_settings", broken)
    result = evaluate(home, "covid_rural", "edema_severity")
    assert not verdict(result).passed
    assert {row["note"] for row in rows(home, "covid_rural")} == {
        "failed: KeyError in our code; the log of the run has the place."
    }
    assert all(row["value"] is not None or not row["note"] for row in rows(home, "edema_severity"))


def test_tasks_are_chosen_by_the_tag_of_the_run(home, archive):
    archive("covid_rural")
    update_dataset(home.plain(), "covid_rural", progress=False)
    tags = {TASKS_TAG: "zero_shot_grounding,linear_probe"}
    assert run(home, [downstream_asset(METHOD, ["covid_rural"])], tags).success
    assert {row["task"] for row in rows(home, "covid_rural")} == {"zero_shot_grounding"}


def test_every_run_is_evaluated_where_that_is_asked_for(home, archive):
    archive("covid_rural")
    other = replace(RUN, variant="ITA", seed=1, output="checkpoints/convirt/other")
    remember(home.plain(), write_run(home.plain(), other))
    told = metadata(evaluate(home, "covid_rural"), "downstream", METHOD)
    assert (told["computed"], told["found in results"]) == (len(expected_results("covid_rural")), 0)
    assert {(row["method"], row["seed"]) for row in rows(home, "covid_rural")} == {
        ("convirt:ITA", 1),
        ("untrained:convirt:ITA", 1),
    }
    told = metadata(evaluate(home, "covid_rural", every_run=True), "downstream", METHOD)
    assert (told["computed"], told["found in results"]) == (len(expected_results("covid_rural")),) * 2
    assert {(row["method"], row["seed"]) for row in rows(home, "covid_rural")} > {("convirt", 0), ("convirt:ITA", 1)}


def test_the_cohort_of_the_pretraining_is_evaluated_elsewhere(home, archive):
    archive("open_i")
    there = WorkspaceResource(home=home.home, cohort="open_i")
    remember(there.plain(), RUN)
    assert run(there, [downstream_asset(METHOD, ["open_i"])]).success
    assert rows(there, "open_i") == []
