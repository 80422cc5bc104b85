"""Numbers of a dataset that has become another since, or that cannot be read, say so wherever they are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evaluation.metrics.values import ResultValue
from evaluation.results.latest import latest_results
from evaluation.results.side_by_side import compare_methods
from evaluation.results.store import ResultKey, as_text, write_results
from evaluation.tables.measured_rows import MeasuredRows, make_key
from ingestion.pipeline import describe_failed, write_state
from shards.manifest import Manifest
from shards.writer import write_manifest
from tests.evaluation.seer import RUN, SIZE, WORDS
from tracking.runs import remember

VALUES = [ResultValue("auroc", "macro", 0.9, 0.8, 0.95, 1), ResultValue("f1", "macro", 0.5, 0.4, 0.6, 1)]


@pytest.fixture
def measured(cohort):
    """Results on the present data."""
    remember(cohort, RUN)
    write(cohort, Manifest.load(cohort.folder("shards")).digest)
    return cohort


def write(workspace, data_version):
    key = ResultKey(RUN.method, RUN.checkpoint_digest, "", "phantom", data_version, RUN.seed)
    write_results(workspace.home_path(), "zero_shot_classification", key, VALUES)


def change_data(workspace):
    folder = workspace.folder("shards")
    write_manifest(folder, [folder / "a.parquet"], WORDS, ("other",), SIZE, "phantom")


def notes(workspace):
    return set(latest_results(workspace)["note"].to_pylist())


def test_numbers_on_the_present_data_have_no_note(measured):
    assert notes(measured) == {""}


def test_numbers_on_other_data_say_so(measured):
    change_data(measured)
    assert notes(measured) == {"outdated: measured on other data than the dataset has now; evaluate again."}
    assert latest_results(measured)["value"].to_pylist() == [0.9, 0.5]


def test_numbers_on_the_data_of_the_pretraining_are_current(measured):
    write(measured, RUN.data_version)
    change_data(measured)
    assert notes(measured) == {""}


def test_numbers_of_shards_that_are_gone_say_so(measured):
    (measured.folder("shards") / "a.parquet").unlink()
    (note,) = notes(measured)
    assert note.startswith("outdated: the dataset cannot be read now. The shard a.parquet")


def test_numbers_of_a_dataset_that_is_not_ready_are_shown_with_its_note(measured):
    write_state(measured, "phantom", describe_failed("The archive is gone."))
    (note,) = notes(measured)
    assert note == "outdated: the dataset cannot be read now. The archive is gone."
    text = as_text(latest_results(measured))
    assert "0.900 [0.800, 0.950], outdated" in text
    assert note in text
    assert "0.900, outdated" in compare_methods(latest_results(measured).to_pylist(), "pretrained on phantom")


def test_an_untrained_network_that_two_cohorts_share_stays_with_what_was_measured(workspace):
    """Two trainings of the same seed begin with the same network."""
    for cohort in ("phantom", "open_i"):
        remember(replace(workspace, cohort=cohort), replace(RUN, checkpoint_digest=cohort))
        for method, checkpoint in ((RUN.method, cohort), (f"untrained:{RUN.method}", RUN.untrained_digest)):
            key = ResultKey(method, checkpoint, "", cohort, "d", RUN.seed)
            write_results(workspace.home_path(), "zero_shot_classification", key, VALUES)
    for cohort in ("phantom", "open_i"):
        rows = latest_results(replace(workspace, cohort=cohort), every_cohort=True)
        assert rows.num_rows == 4
        assert set(rows["cohort"].to_pylist()) == {cohort}


def test_a_note_moves_no_number_to_another(measured):
    change_data(measured)
    rows = latest_results(measured).to_pylist()
    assert MeasuredRows(rows).find(make_key(rows[0])) == rows[:1]
