"""Which run a request asks for, and which finished runs are known."""

from __future__ import annotations

import json
from dataclasses import asdict

import pyarrow as pa
import pytest

from ingestion.workspace import Workspace
from store import batches
from store.atomic import write_json
from store.batches import Plan
from store.seals import write_sealed_table
from tests.training.conftest import write_shards
from tracking.requests import expect_reports, training_request
from tracking.runs import TrainedRun, is_trained, known_runs, remember, runs_to_evaluate, trained_run
from training.config import TrainingConfig
from training.errors import TrainingError

SETTINGS = {
    name: value
    for name, value in asdict(TrainingConfig("medklip")).items()
    if name not in ("method", "shards", "knowledge", "output", "data_version")
}


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.delenv("RADALIGN_COHORT", raising=False)
    return Workspace(home=str(tmp_path / "home"))


@pytest.fixture
def filled(workspace) -> Workspace:
    write_shards(workspace.folder("shards"), 8)
    write_knowledge(workspace, "fluid")
    return workspace


def write_knowledge(workspace, description):
    knowledge = pa.table({"kind": ["entity"], "name": ["edema"], "description": [description]})
    write_sealed_table(knowledge, workspace.folder("knowledge") / "knowledge.parquet")


def folder(workspace, **changes) -> str:
    return training_request(workspace, "medklip", {**SETTINGS, **changes})["output"]


def test_equal_requests_share_a_folder_and_every_setting_counts(filled):
    assert folder(filled) == folder(filled)
    changed = {folder(filled, **{name: "changed"}) for name in SETTINGS}
    assert len(changed) == len(SETTINGS)
    assert folder(filled) not in changed


def test_other_data_or_knowledge_is_another_run(filled):
    before = folder(filled)
    write_shards(filled.folder("shards"), 9)
    more_data = folder(filled)
    write_knowledge(filled, "water")
    assert len({before, more_data, folder(filled)}) == 3


def test_the_request_is_what_training_takes(filled):
    request = training_request(filled, "medklip", SETTINGS)
    config = TrainingConfig.from_dict(request, "request")
    assert config.data_version == request["data_version"]


def test_images_without_reports_are_refused(workspace):
    batches.commit(workspace.folder("inventory"), Plan((), {"has_reports": False}))
    with pytest.raises(TrainingError, match="The cohort phantom has images without reports"):
        expect_reports(workspace)
    batches.commit(workspace.folder("inventory"), Plan((), {"has_reports": True}))
    expect_reports(workspace)


def test_an_untrained_method_says_which_job_to_run(workspace):
    assert not is_trained(workspace, "medklip")
    with pytest.raises(TrainingError, match="run `dagster job execute -j pretrain_medklip` first"):
        trained_run(workspace, "medklip")


def test_every_variant_and_seed_is_known_by_its_latest_run(workspace):
    assert known_runs(workspace, "mgca") == []
    runs = [
        TrainedRun("mgca", fingerprint, "o", "m", "v", seed, "c", "u", variant)
        for fingerprint, seed, variant in (("a", 0, ""), ("b", 1, ""), ("c", 0, "ITA"), ("d", 0, ""))
    ]
    for run in runs:
        remember(workspace, run)
    assert known_runs(workspace, "mgca") == [runs[3], runs[1], runs[2]]
    assert [run.name for run in known_runs(workspace, "mgca")] == ["mgca", "mgca", "mgca:ITA"]
    assert trained_run(workspace, "mgca") == runs[3]
    assert runs_to_evaluate(workspace, "mgca", every=False) == [runs[3]]
    assert runs_to_evaluate(workspace, "mgca", every=True) == [runs[3], runs[1], runs[2]]


def test_a_folder_tells_its_run(tmp_path):
    output = tmp_path / "checkpoints" / "mgca" / "abc"
    with pytest.raises(TrainingError, match=r"has no result\.json; train the run there"):
        TrainedRun.of_folder(output)
    write_json(output / "result.json", {"checkpoint_digest": "c", "untrained_digest": "u", "steps": 3})
    origin = {"settings": {"method": "mgca", "seed": 4}, "data_version": "v", "code_version": "x"}
    (output / "origin.json").write_text(json.dumps(origin))
    run = TrainedRun("mgca", "abc", "checkpoints/mgca/abc", "m", "v", 4, "c", "u", "ITA")
    assert TrainedRun.of_folder(output, tmp_path, "m", "ITA") == run
    elsewhere = TrainedRun.of_folder(output)
    assert (elsewhere.output, elsewhere.mlflow_run, elsewhere.variant) == (str(output), "", "")
