"""What ends a run before its time says so in one sentence, and leaves what is needed to go on."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shards.reader import ShardReader
from tests.models.tiny import TINY, settings_for
from training import guards
from training.config import TrainingError
from training.guards import StoppedError, StopRequest, expect_finite, memory_guard
from training.loop import train
from training.objective import Objective
from training.state.checkpoint import complete_checkpoints


def test_a_loss_that_is_no_number_keeps_the_ids_of_its_batch(config, shards, monkeypatch):
    honest = Objective.forward

    def spoilt(self, batch, seed=None):
        terms = honest(self, batch, seed)
        spoilt.calls += 1
        return {**terms, "position": terms["position"] * math.nan} if spoilt.calls == 6 else terms

    spoilt.calls = 0
    monkeypatch.setattr(Objective, "forward", spoilt)
    with pytest.raises(TrainingError, match=r"loss term `position` is nan at step 6.*bad_batch.json") as caught:
        train(config)
    kept = json.loads((Path(config.output) / "bad_batch.json").read_text())
    assert kept["step"] == 6
    known = set(ShardReader(shards).read("train").image_ids)
    assert len(kept["image_ids"]) == config.batch_size
    assert set(kept["image_ids"]) <= known
    assert not [name for name in kept["image_ids"] if name in str(caught.value)]
    assert [path.name for path in complete_checkpoints(Path(config.output))] == ["step-00000004"]


@pytest.mark.parametrize(("terms", "norm"), [({"a": math.inf}, 1.0), ({"a": 1.0}, math.nan), ({"a": 1.0}, math.inf)])
def test_infinite_terms_and_gradients_stop_the_run(tmp_path, terms, norm):
    with pytest.raises(TrainingError, match=r"is (inf|nan) at step 3"):
        expect_finite(tmp_path, 3, terms, norm, lambda: ["i1"])
    assert (tmp_path / "bad_batch.json").exists()


def test_finite_numbers_pass(tmp_path):
    expect_finite(tmp_path, 3, {"a": 1.0, "b": -2.0}, 0.0, lambda: pytest.fail("nobody asked"))
    assert not list(tmp_path.iterdir())


def allocate() -> None:
    torch.empty(10**15)


def cuda_error() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def memory_error() -> None:
    raise MemoryError


@pytest.mark.parametrize("fail", [allocate, cuda_error, memory_error])
@pytest.mark.parametrize(
    ("batch_size", "micro_batches", "advice"),
    [
        (8, 1, "set `batch_size` to 4, or `micro_batches` to 2, which"),
        (12, 4, "set `batch_size` to 6, or `micro_batches` to 12, which"),
        (8, 8, "set `batch_size` to 4$"),
        (1, 1, "lower `input_size`"),
    ],
)
def test_too_little_memory_names_the_batch_to_try(config, fail, batch_size, micro_batches, advice):
    with (
        pytest.raises(TrainingError, match=advice),
        memory_guard(replace(config, batch_size=batch_size, micro_batches=micro_batches)),
    ):
        fail()


def test_other_errors_are_not_taken_for_memory(config):
    with pytest.raises(RuntimeError, match="shapes"), memory_guard(config):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_wish_to_stop_ends_with_a_checkpoint_of_the_step(config, number):
    stop = StopRequest()

    def ask(done: int, _: int) -> None:
        if done == 6:
            os.kill(os.getpid(), number)

    with pytest.raises(StoppedError) as caught, stop.listening():
        train(config, ask, stop)
    assert caught.value.status == 128 + number
    assert complete_checkpoints(Path(config.output))[-1].name == "step-00000007"
    assert train(config)["resumed_from"] == 7


def test_sigusr1_writes_a_checkpoint_and_the_run_goes_on(config):
    stop = StopRequest()

    def ask(done: int, _: int) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGUSR1)

    with stop.listening():
        result = train(replace(config, checkpoint_every=100), ask, stop)
    assert result["steps"] == config.max_steps
    assert [path.name for path in complete_checkpoints(Path(config.output))] == ["step-00000006", "step-00000012"]


def test_an_echo_of_the_wish_is_the_same_wish_and_a_later_one_ends_at_once(monkeypatch):
    stop, now = StopRequest(), [100.0]
    monkeypatch.setattr(guards, "monotonic", lambda: now[0])
    raised = []
    monkeypatch.setattr(guards.signal, "raise_signal", raised.append)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # passed on by a launcher
        assert stop.agree(torch.device("cpu")).stop == signal.SIGINT
        assert not raised
        now[0] += 10
        os.kill(os.getpid(), signal.SIGINT)
        assert raised == [signal.SIGINT]


def test_one_pair_for_a_batch_norm_is_a_sentence(config):
    one = replace(config, method="lovt", method_config=settings_for("lovt", "findings"), max_steps=1)
    one = replace(one, batch_size=2, micro_batches=2)
    with pytest.raises(TrainingError, match="was given one pair, and needs several: raise `batch_size`"):
        train(one)


def test_a_batch_of_one_teaches_a_contrast_nothing(config):
    """The loss would be 0 at every step, without a word."""
    one = replace(config, method="convirt", method_config=settings_for("convirt", "findings"), batch_size=1)
    with pytest.raises(TrainingError, match="convirt contrasts the pairs of a batch with each other"):
        train(one)


@pytest.mark.parametrize("method", ["moco", "simclr"])
def test_two_views_that_are_the_same_teach_nothing(config, method):
    same = replace(config, method=method, method_config=TINY[method], augmentation={"blur": 2.0, "blur_probability": 0})
    with pytest.raises(TrainingError, match=f"{method} compares two views of an image, but `augmentation` changes"):
        train(same)
