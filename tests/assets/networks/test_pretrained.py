"""The launchpad of `pretrained/<method>`, and how its child process ends."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace

import dagster as dg
import pytest

from assets.networks import pretrained
from assets.networks.launchers.settings import OneHost
from assets.networks.pretrained import HIDDEN, one_at_a_time, pretrained_asset, pretraining_config, train
from assets.settings.presets import LAUNCHER, VARIANT, chosen_training
from assets.workspace import one_sentence
from models.registry import method_names
from models.run_files import DIGESTS
from store.digests import file_digest
from store.seals import write_sealed_json
from tracking.runs import is_trained, remember, trained_run
from training.config import TrainingConfig, preset
from training.errors import FAILURE


@pytest.mark.parametrize("method", method_names())
def test_the_launchpad_offers_exactly_what_training_and_method_take(method):
    config = pretraining_config(method)
    assert set(config.model_fields) == set(vars(preset(method, "demo"))) - set(HIDDEN) | {
        "method_config",
        VARIANT,
        LAUNCHER,
    }
    settings = chosen_training(method, config(), "demo")
    request, demo = TrainingConfig(method, **settings), preset(method, "demo")
    for name in set(settings) - {"method_config"}:
        assert getattr(request, name) == getattr(demo, name), name
    assert request.method_config.items() >= demo.method_config.items()


def test_the_launchpad_shows_the_value_of_each_preset():
    fields = pretraining_config("medklip").model_fields
    assert fields["batch_size"].description.endswith("Empty: 32.")
    assert fields["epochs"].description.endswith("Empty: demo 14, paper 60.0, small_gpu 20.0.")


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
        train(Context(), Pipes(tmp_path, ""), request, OneHost())
    with pytest.raises(dg.Failure, match="the loss is nan") as caught:
        train(Context(), Pipes(tmp_path, "the loss is nan at step 3"), request, OneHost())
    assert not caught.value.allow_retries


def test_an_impossible_setting_is_said_before_anything_starts(tmp_path):
    request = {"method": "medklip", "output": str(tmp_path), "batch_size": 0}
    with pytest.raises(dg.Failure, match="`batch_size` is 0") as caught, one_sentence():
        train(Context(), None, request, OneHost())
    assert not caught.value.allow_retries


@pytest.fixture
def finished_run(workspace, tmp_path, monkeypatch):
    """The folder of a finished run, which is what the asset is asked for."""
    output = workspace.plain().home_path() / "checkpoints" / "convirt" / "abc"
    write_sealed_json(output / "origin.json", {"settings": {"method": "convirt", "seed": 0}, "data_version": "v"})
    for name in ("weights.safetensors", "untrained.safetensors"):
        (output / name).write_bytes(name.encode())
    line = {"step": 1, "epoch": 0.5, "metrics": {"train/loss": 1.0}}
    (output / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    names = ("checkpoint_digest", "untrained_digest", "origin_digest", "metrics_digest")
    write_sealed_json(output / "result.json", {name: file_digest(output / DIGESTS[name]) for name in names})

    def request(_, method, settings):
        return {
            **settings,
            "method": method,
            "shards": "s",
            "knowledge": "",
            "output": str(output),
            "data_version": "v",
        }

    monkeypatch.setattr(pretrained, "pinned", lambda plain, *_: plain)
    monkeypatch.setattr(pretrained, "load_manifest", lambda folder: None)
    monkeypatch.setattr(
        pretrained, "origins_of", lambda manifest: {"phantom": {"data_version": "v", "rows": {}, "left_out": {}}}
    )
    monkeypatch.setattr(pretrained, "expect_reports", lambda plain: None)
    monkeypatch.setattr(pretrained, "training_request", request)
    monkeypatch.setattr(pretrained, "train", lambda *_: pytest.fail("it is finished"))
    return output


def materialize(workspace):
    resources = {"workspace": workspace, "pipes": dg.PipesSubprocessClient()}
    return dg.materialize([pretrained_asset("convirt")], resources=resources, raise_on_error=False)


def test_a_store_that_cannot_be_used_loses_no_finished_run(workspace, finished_run):
    home = workspace.plain().home_path()
    (home / "mlflow.db").mkdir()
    assert materialize(workspace).success
    run = trained_run(workspace.plain(), "convirt")
    assert (run.fingerprint, run.mlflow_run) == ("abc", "")
    remember(workspace.plain(), replace(run, mlflow_run="known"))
    assert materialize(workspace).success
    assert trained_run(workspace.plain(), "convirt").mlflow_run == "known"
    assert json.loads((finished_run / "config.json").read_text())["output"] == str(finished_run)


def test_altered_weights_end_the_step_with_one_sentence(workspace, finished_run):
    (finished_run / "weights.safetensors").write_bytes(b"others")
    (failure,) = [event for event in materialize(workspace).all_events if event.is_step_failure]
    said = failure.step_failure_data.user_failure_data.description
    assert said.startswith(f"{finished_run}/weights.safetensors differs from what the run recorded of it; restore it")
    assert "\n" not in said
    assert not is_trained(workspace.plain(), "convirt")


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
