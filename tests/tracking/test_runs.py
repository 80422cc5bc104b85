"""Which run a request asks for, and which finished runs are known."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa
import pytest

from ingestion.workspace import Workspace
from store import batches
from store.batches import Plan
from store.errors import DamageError
from store.seals import seal, seal_path, write_sealed_json, write_sealed_table
from tests.training.conftest import shard_rows, write_shards
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
    write_shards(workspace.folder("shards"), shard_rows(8))
    write_knowledge(workspace, "fluid")
    return workspace


def write_knowledge(workspace, description):
    knowledge = pa.table({"kind": ["entity"], "name": ["edema"], "description": [description]})
    write_sealed_table(knowledge, workspace.folder("knowledge") / "knowledge.parquet")


def folder(workspace, **changes) -> str:
    return training_request(workspace, "medklip", {**SETTINGS, **changes})["output"]


def test_equal_requests_share_a_folder_and_every_setting_counts(filled):
    assert folder(filled) == folder(filled)
    changed = {folder(filled, **{name: {"a": 1} if name == "method_config" else "changed"}) for name in SETTINGS}
    assert len(changed) == len(SETTINGS)
    assert folder(filled) not in changed


def test_other_data_or_knowledge_is_another_run(filled):
    before = folder(filled)
    write_shards(filled.folder("shards"), shard_rows(9))
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
    with pytest.raises(TrainingError, match=r"kad has no finished run on .*: run `radalign import FILE` first"):
        trained_run(workspace, "kad")
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
    origin = {"settings": {"method": "mgca", "seed": 4}, "data_version": "v", "code_version": "x"}
    write_sealed_json(output / "origin.json", origin)
    digests = {"checkpoint_digest": "c", "untrained_digest": "u", "origin_digest": seal(output / "origin.json")}
    write_sealed_json(output / "result.json", {**digests, "steps": 3})
    run = TrainedRun("mgca", "abc", "checkpoints/mgca/abc", "m", "v", 4, "c", "u", "ITA")
    assert TrainedRun.of_folder(output, tmp_path, "m", "ITA") == run
    elsewhere = TrainedRun.of_folder(output)
    assert (elsewhere.output, elsewhere.mlflow_run, elsewhere.variant) == (str(output), "", "")


def test_a_replaced_file_of_weights_or_of_an_encoder_is_another_run(filled, tmp_path):
    weights, encoder = tmp_path / "weights.pth", tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    weights.write_bytes(b"1")
    named = {"method_config": {"image_weights": str(weights), "text_encoder": str(encoder)}}
    found = [folder(filled, **named)]
    weights.write_bytes(b"2")
    found.append(folder(filled, **named))
    (encoder / "vocab.txt").write_text("lung")
    found.append(folder(filled, **named))
    assert len(set(found)) == 3
    (tmp_path / "weights.pth").write_bytes(b"1")
    (encoder / "vocab.txt").unlink()
    assert folder(filled, **named) == found[0]


def test_knowledge_that_was_changed_starts_no_other_run(filled):
    before = folder(filled)
    path = filled.folder("knowledge") / "knowledge.parquet"
    content = path.read_bytes()
    flip(path)
    with pytest.raises(DamageError, match=r"knowledge.parquet was changed after it was written .* ingest"):
        folder(filled)
    path.write_bytes(content)
    seal(path)
    assert folder(filled) == before


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": flip,
    "unsealed": lambda path: seal_path(path).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_pointer_is_named_and_takes_no_other_run_along(workspace, damage):
    runs = [TrainedRun("mgca", "abc", "o", "m", "v", seed, "c", "u", "") for seed in (0, 1)]
    for run in runs:
        remember(workspace, run)
    pointers = workspace.home_path() / "checkpoints" / "mgca"
    DAMAGE[damage](pointers / "runs" / "phantom" / "main-0.json")
    said = []
    assert known_runs(workspace, "mgca", said.append) == [runs[1]]
    assert "main-0.json" in said[0]
    assert "pretrain_mgca" in said[0]
    DAMAGE[damage](pointers / "phantom.json")
    with pytest.raises(DamageError, match=r"phantom\.json .*pretrain_mgca"):
        trained_run(workspace, "mgca")
    for run in runs:
        remember(workspace, run)  # as the training does that is given again
    assert known_runs(workspace, "mgca", said.append) == runs
    assert len(said) == 1


@pytest.mark.parametrize(("method", "cohort"), [("gloria", "phantom"), ("mgca", "open_i")])
def test_a_pointer_of_another_method_or_dataset_is_not_used(workspace, method, cohort):
    remember(workspace, TrainedRun("mgca", "abc", "o", "m", "v", 0, "c", "u", ""))
    remember(Workspace(home=workspace.home, cohort=cohort), TrainedRun(method, "d", "p", "m", "v", 0, "x", "y", ""))
    checkpoints = workspace.home_path() / "checkpoints"
    for ending in ("", ".sha256"):
        text = (checkpoints / method / f"{cohort}.json{ending}").read_text()
        (checkpoints / "mgca" / f"phantom.json{ending}").write_text(text.replace(f"{cohort}.json", "phantom.json"))
    with pytest.raises(DamageError, match="is that of another method or dataset"):
        trained_run(workspace, "mgca")


def test_the_result_of_another_run_is_not_that_of_a_folder(tmp_path):
    write_sealed_json(tmp_path / "origin.json", {"settings": {"method": "mgca", "seed": 4}, "data_version": "v"})
    write_sealed_json(tmp_path / "result.json", {"checkpoint_digest": "c", "origin_digest": "of another"})
    with pytest.raises(DamageError, match=r"result\.json and the origin\.json beside it are not of the same run"):
        TrainedRun.of_folder(tmp_path)
