from __future__ import annotations

import logging
import threading

import dagster as dg
import pyarrow as pa
import pytest

from assets import pretrained
from assets.method_config import VARIANT, pretraining_config
from assets.pretrained import one_at_a_time
from assets.workspace import Workspace
from store.atomic import write_table
from tests.assets.test_checks import write_shards
from tracking.runs import TrainedRun, known_runs, remember, runs_to_evaluate, trained_run, training_request
from training.errors import FAILURE


@pytest.fixture
def shards(workspace):
    write_shards(workspace, ["a", "b"])
    knowledge = pa.table({"kind": ["entity"], "name": ["edema"], "description": ["fluid"]})
    write_table(knowledge, workspace.folder("knowledge") / "knowledge.parquet")
    return workspace


def folder(workspace, **changes):
    settings = pretraining_config("medklip")().model_dump()
    return training_request(workspace, "medklip", {**settings, **changes})["output"]


def test_equal_requests_share_a_folder_and_every_setting_counts(shards):
    settings = pretraining_config("medklip")().model_dump()
    assert folder(shards) == folder(shards)
    changed = {folder(shards, **{name: "changed"}) for name in settings}
    assert len(changed) == len(settings)
    assert folder(shards) not in changed


def test_other_data_or_knowledge_is_another_run(shards):
    before = folder(shards)
    write_shards(shards, ["a", "b", "c"])
    more_data = folder(shards)
    knowledge = pa.table({"kind": ["entity"], "name": ["edema"], "description": ["water"]})
    write_table(knowledge, shards.folder("knowledge") / "knowledge.parquet")
    assert len({before, more_data, folder(shards)}) == 3


def test_the_request_is_what_training_takes(shards):
    from training.config import TrainingConfig

    settings = pretraining_config("medklip")().model_dump()
    assert settings.pop(VARIANT) == ""  # which is not training's
    request = training_request(shards, "medklip", settings)
    config = TrainingConfig.from_dict(request, "request")
    assert config.data_version == request["data_version"]


class Pipes:
    """A client whose child ends as told: with a sentence in the run's folder, or without a word."""

    def __init__(self, output, sentence):
        self.output, self.sentence = output, sentence

    def run(self, **_):
        if self.sentence:
            (self.output / FAILURE).write_text(self.sentence)
        raise RuntimeError("External execution process failed with code 1")


class Context:
    op_execution_context = None
    log = logging.getLogger(__name__)


def test_a_killed_child_is_tried_again_and_a_mistake_is_not(tmp_path):
    (tmp_path / FAILURE).write_text("of an earlier attempt")
    request = {"method": "medklip", "output": str(tmp_path)}
    with pytest.raises(dg.RetryRequested):
        pretrained._train(Context(), Pipes(tmp_path, ""), request)
    with pytest.raises(dg.Failure, match="the loss is nan") as caught:
        pretrained._train(Context(), Pipes(tmp_path, "the loss is nan at step 3"), request)
    assert not caught.value.allow_retries


def test_an_impossible_setting_is_said_before_anything_starts(tmp_path):
    request = {"method": "medklip", "output": str(tmp_path), "batch_size": 0}
    with pytest.raises(dg.Failure, match="`batch_size` is 0") as caught:
        pretrained._train(Context(), None, request)
    assert not caught.value.allow_retries


def test_an_untrained_method_says_which_job_to_run(workspace: Workspace):
    with pytest.raises(dg.Failure, match="pretrain_medklip"):
        trained_run(workspace, "medklip")


def test_every_variant_and_seed_is_known_by_its_latest_run(workspace: Workspace):
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


def test_a_second_training_waits_for_the_first(tmp_path):
    order, said = [], []
    entered = threading.Event()

    def second():
        with one_at_a_time(tmp_path / "lock", lambda text: (said.append(text), entered.set())):
            order.append("second")

    with one_at_a_time(tmp_path / "lock", said.append):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert entered.wait(10)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert "waiting" in said[0]
