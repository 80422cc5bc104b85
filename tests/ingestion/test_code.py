"""What makes the batches of a stage stale: its own code, and nothing of the other stages."""

from __future__ import annotations

import pytest

from cohorts.registry import cohort_names
from ingestion import pipeline
from ingestion.workspace import Workspace
from store.code import ROOT, imported_files

# What a stage is divided into, beside the file of its name.
PARTS = {"images": ("doubts",), "triplets": ("unparsed",), "report_labels": ("unparsed",)}
STAGES = (pipeline.IMAGES, pipeline.REPORTS, pipeline.TRIPLETS, pipeline.REPORT_LABELS, pipeline.SHARDS)
EXTEND_MIMIC = ("phantom", "edema_severity", "ms_cxr")  # whose readers are that of MIMIC-CXR, and more


def files_of(stage, cohort="phantom"):
    return {path.relative_to(ROOT).as_posix() for path in imported_files(stage.code(Workspace(cohort=cohort)))}


def rooms_of(stage):
    return {path.split("/")[0] for path in files_of(stage)}


def test_decoding_knows_nothing_of_reports_and_of_readers():
    assert rooms_of(pipeline.IMAGES) == {"cohorts", "imaging", "ingestion", "store"}
    assert not any(path.startswith("cohorts/readers") for path in files_of(pipeline.IMAGES))
    assert "imaging/worker.py" in files_of(pipeline.IMAGES)  # it runs in a process of its own


def test_parsing_knows_nothing_of_images():
    for stage in (pipeline.REPORTS, pipeline.TRIPLETS, pipeline.REPORT_LABELS):
        assert not rooms_of(stage) & {"shards", "models", "training", "evaluation"}
        of_images = {path for path in files_of(stage) if path.startswith("imaging/") and "__init__" not in path}
        assert of_images <= {"imaging/dicom/views.py"}  # the words for views, which a reader knows
    assert "report_parsing/data/chexpert.csv" in files_of(pipeline.REPORT_LABELS)


@pytest.mark.parametrize("cohort", cohort_names())
def test_the_reader_of_the_dataset_counts_for_its_reports(cohort):
    readers = {path for path in files_of(pipeline.REPORTS, cohort) if path.startswith("cohorts/readers/")}
    assert f"cohorts/readers/{cohort}.py" in readers
    others = {"cohorts/readers/mimic_cxr.py"} if cohort in EXTEND_MIMIC else set()
    assert readers == {"cohorts/readers/__init__.py", f"cohorts/readers/{cohort}.py", *others}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_knows_no_other_and_not_how_it_is_run(stage):
    own = {f"ingestion/stages/{name}.py" for name in (stage.name, *PARTS.get(stage.name, ()))}
    files = {path for path in files_of(stage) if path.startswith("ingestion/")}
    assert files == {"ingestion/__init__.py", "ingestion/stages/__init__.py", *own}
