"""Two processes with half a batch each do what one does with the whole: losses and gradients, for every method."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.registry import method_names
from tests.models.tiny import TINY
from tests.training.two_processes import TYPES, losses_and_gradients
from training.checkpoint import TRAINED, UNTRAINED
from training.config import TrainingConfig
from training.distributed import share
from training.errors import TrainingError
from training.loop import train
from training.objective import Objective

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
SMALL = 1e-3  # of the whole gradient: what is smaller is compared with this share of it


@pytest.fixture(scope="session")
def one_run(shards, tmp_path_factory) -> TrainingConfig:
    """A whole run of a method without dropout and batch norm."""
    return TrainingConfig(
        "chexzero", str(shards), str(shards / "knowledge.parquet"), str(tmp_path_factory.mktemp("alone")),
        method_config={**TINY["chexzero"], "sections": "findings"}, batch_size=8, accumulate=2, max_steps=3,
        optimizer="sgd", learning_rate=0.1, precision="fp32", checkpoint_every=2, threads=1,
    )  # fmt: skip


@pytest.fixture(scope="session")
def results(one_run, tmp_path_factory) -> Path:
    """What two processes have found: of every method, and a run in the folder `run`."""
    folder = tmp_path_factory.mktemp("processes")
    replace(one_run, output=str(folder / "run")).save(folder / "run.json")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, "-m", "tests.training.two_processes", folder], cwd=ROOT, check=True)
    return folder


def difference(found: dict, expected: dict) -> float:
    """The largest relative difference of a loss term or of a parameter's gradient."""
    assert found.keys() == expected.keys()
    whole = torch.stack([value.norm() for key, value in expected.items() if key.startswith("gradient")]).norm()
    scale = {
        key: max(value.norm(), SMALL * whole) if "gradient" in key else value.abs() for key, value in expected.items()
    }
    return max(float((found[key] - expected[key]).norm() / scale[key]) for key in expected)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", method_names())
def test_two_processes_are_one(results, name, dtype):
    expected = losses_and_gradients(name, dtype)
    for process in (0, 1):
        assert difference(torch.load(results / f"{name} {dtype} {process}"), expected) < TOLERANCE[dtype]


def test_a_gather_without_gradient_would_be_noticed(results):
    expected, found = losses_and_gradients("convirt", torch.float64), torch.load(results / "without gradient 0")
    torch.testing.assert_close(found["loss contrast"], expected["loss contrast"], rtol=1e-12, atol=0)
    assert difference(found, expected) > 0.4


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", method_names())
def test_chunks_give_the_gradients_of_the_whole_batch(name, dtype):
    expected, found = losses_and_gradients(name, dtype), losses_and_gradients(name, dtype, chunks=4)
    assert difference(found, expected) < TOLERANCE[dtype]


def test_a_batch_is_cut_evenly(monkeypatch):
    monkeypatch.setattr("training.distributed.world_size", lambda: 3)
    with pytest.raises(TrainingError, match="multiple of processes times chunks, 3 x 2"):
        share(Objective.__new__(Objective), TrainingConfig("toy", batch_size=8, chunks=2), torch.device("cpu"))


def test_a_run_on_two_processes_ends_in_the_weights_of_one(results, one_run):
    """Same pairs, same texts, same updates: loader, accumulation and checkpoints included."""
    assert train(one_run)["processes"] == 1
    assert json.loads((results / "run" / "result.json").read_text())["processes"] == 2
    alone = Path(one_run.output)
    start, expected, found = map(load_file, (alone / UNTRAINED, alone / TRAINED, results / "run" / TRAINED))
    assert not all(torch.equal(start[name], expected[name]) for name in expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)
