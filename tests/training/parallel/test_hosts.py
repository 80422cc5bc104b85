"""Two hosts train as one, over gloo and with addresses of their own, and one goes on where the other has gone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cluster.hosts import UNAVAILABLE, available
from benchmarks.cluster.pretraining import difference, fleet, tiny_training
from training.loop import train


@pytest.mark.skipif(not available(), reason=UNAVAILABLE)
def test_a_run_whose_writing_host_dies_goes_on_on_the_other(tmp_path):
    """It resumes on one process instead of two, and ends in the weights of a run that one process made."""
    config = tiny_training(tmp_path, steps=100)
    with fleet(2, config, fewest=1) as running:
        head = running.hosts[0]
        running.start_all()
        running.await_step(12)
        assert (running.output / "metrics.1.jsonl").exists()  # two processes trained
        head.kill()
        del running.agents[head.name]
        running.finish()
    result = json.loads((running.output / "result.json").read_text())
    assert result["resumed_from"] >= 10
    assert result["processes"] == 1
    alone = replace(config, output=str(tmp_path / "alone"))
    train(alone)
    assert difference(Path(alone.output), running.output) < 1e-6
