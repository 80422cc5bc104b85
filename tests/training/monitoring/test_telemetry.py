"""Counting operations, measuring the peak and the clock: against known products, and without a trace in the run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from models.method import Batch, Method
from training.loop import train
from training.monitoring.metrics_log import MetricsLog, lines_until
from training.monitoring.telemetry import Hardware, Stopwatch, flops_per_pair, matrix_product_peak, measure

CPU = torch.device("cpu")


class OneProduct(Method):
    """A loss of one matrix product: 2 x 16 x 10 operations forward per pair, and as many for the weight's gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(16, 10, bias=False), nn.BatchNorm1d(10)

    def encode(self, batch):
        return {"x": self.norm(self.layer(batch.images.flatten(1))) + torch.rand(1)}

    def contrast(self, encoded):
        return {"loss": encoded["x"].square().sum()}


def test_operations_are_counted_without_a_trace():
    method, batch = OneProduct(), Batch(torch.rand(32, 1, 4, 4))
    before, rng = {k: v.clone() for k, v in method.state_dict().items()}, torch.get_rng_state()
    assert flops_per_pair(method, batch, CPU, torch.float32) == 2 * (2 * 16 * 10)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert method.layer.weight.grad is None
    assert torch.equal(torch.get_rng_state(), rng)


def test_utilisation_is_the_share_of_the_peak():
    assert Hardware(2e9, 1e12).utilisation(50) == pytest.approx(0.1)
    found = measure(OneProduct(), Batch(torch.rand(4, 1, 4, 4)), CPU, torch.float32)
    assert found.flops_per_pair == 640
    assert 1e8 < found.peak < 1e14


def test_the_peak_is_that_of_a_large_product():
    assert matrix_product_peak(CPU, torch.float32) > 1e8


def test_the_stopwatch_tells_waiting_and_leaves_out_what_is_apart():
    watch = Stopwatch()
    with watch.waiting():
        time.sleep(0.05)
    with watch.stopped():
        time.sleep(0.3)
    seconds, waited = watch.read()
    assert 0.05 <= waited <= seconds < 0.3
    assert watch.read()[1] == 0


def test_a_line_has_means_notes_and_the_values_of_the_moment(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", "", 2, lambda: {"temperature": 0.07})
    for step, loss in ((1, 1.0), (2, 3.0), (3, 5.0)):
        log.add(8, {"a": loss}, {"train/loss": loss})
        if step == 2:
            log.note({"validation/loss": 9.0})
        log.report(step, step / 10)
    log.report(3, 0.3, last=True)
    log.report(3, 0.3, last=True)  # there is nothing more to say
    first, second = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (first["step"], second["step"]) == (2, 3)
    assert first["metrics"]["train/loss"] == first["metrics"]["train/loss_a"] == 2.0
    assert first["metrics"]["validation/loss"] == 9.0
    assert first["metrics"]["temperature"] == 0.07
    assert "validation/loss" not in second["metrics"]


def some_lines(*steps):
    return "".join(json.dumps({"step": step, "epoch": 0.1, "metrics": {"a": 1.0}}) + "\n" for step in steps)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe{", b'{"step": 1', None])
def test_a_damaged_log_goes_on_from_the_checkpoint(tmp_path, damage, caplog):
    path, before = tmp_path / "metrics.jsonl", some_lines(1, 2)
    if damage is not None:
        path.write_bytes(damage)
    log = MetricsLog(path, before, 1)
    log.add(8, {}, {"a": 1.0})
    log.report(3, 0.3)
    assert path.read_text() == log.text
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert len(caplog.records) == (damage is not None)
    path.write_bytes(b"\x00")  # while it goes on
    log.close()
    assert path.read_text() == log.text


def test_lines_after_the_checkpoint_and_damaged_ones_are_dropped(tmp_path):
    path = tmp_path / "metrics.1.jsonl"
    assert lines_until(path, 9) == ""
    path.write_bytes(some_lines(1).encode() + b"\xff\n" + some_lines(2, 3).encode() + b'{"step"')
    assert lines_until(path, 2) == some_lines(1, 2)


def test_a_run_tells_what_it_costs(config):
    train(config)
    line = json.loads((Path(config.output) / "metrics.jsonl").read_text().splitlines()[-1])
    metrics = line["metrics"]
    assert {"train/loss", "train/loss_existence", "learning_rate", "gradient_norm", "samples_per_second"} <= set(
        metrics
    )
    assert 0 <= metrics["data_wait"] < 1
    assert 0 < metrics["utilisation"] < 2
    assert 0.05 < metrics["memory_gb"] < 64
