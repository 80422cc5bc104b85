"""The launchpad of `pretrained/<method>`, and how its child process ends."""

from __future__ import annotations

import logging
import threading

import dagster as dg
import pytest

from assets.pretrained import HIDDEN, VARIANT, one_at_a_time, pretraining_config, train
from assets.workspace import one_sentence
from models.registry import method_names
from training.config import TrainingConfig, preset
from training.errors import FAILURE


@pytest.mark.parametrize("method", method_names())
def test_the_launchpad_offers_exactly_what_training_and_method_take(method):
    settings = pretraining_config(method)().model_dump()
    assert settings.pop(VARIANT) == ""  # a name, which training has no use for
    demo = preset(method, "demo")
    request = TrainingConfig.from_dict({"method": method, **settings}, "launchpad")
    assert set(settings) == set(vars(demo)) - set(HIDDEN) | {"method_config"}
    for name in set(settings) - {"method_config"}:
        assert getattr(request, name) == getattr(demo, name), name
    assert request.method_config.items() >= demo.method_config.items()


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
        train(Context(), Pipes(tmp_path, ""), request)
    with pytest.raises(dg.Failure, match="the loss is nan") as caught:
        train(Context(), Pipes(tmp_path, "the loss is nan at step 3"), request)
    assert not caught.value.allow_retries


def test_an_impossible_setting_is_said_before_anything_starts(tmp_path):
    request = {"method": "medklip", "output": str(tmp_path), "batch_size": 0}
    with pytest.raises(dg.Failure, match="`batch_size` is 0") as caught, one_sentence():
        train(Context(), None, request)
    assert not caught.value.allow_retries


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
