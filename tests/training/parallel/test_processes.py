"""Two processes with half a batch each do what one does with the whole: losses, gradients and statistics, for every
method, with dropout and batch norm and without."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.saved import TRAINED, UNTRAINED
from store.code import ROOT
from tests.models.methods.images_only.moco_steps import shuffled_keys_by_the_paper, state_by_the_paper
from tests.models.tiny import TINY, tiny_method
from tests.models.tiny import TRAINED as METHODS
from tests.training.two_processes import (
    OPTIMIZERS,
    SHARDED,
    losses_and_gradients,
    micro_batches_of,
    trained_once,
    types_of,
)
from training.config import TrainingConfig
from training.errors import TrainingError
from training.loop import train
from training.objective import Objective
from training.parallel.processes import share
from training.parallel.sharding import shard_blocks
from training.state.checkpoint import STATE

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
TRAINED_APART = 1e-10  # in double precision: batch norm over few values enlarges what rounding leaves
# Learning rates, and how far weights may end apart: adamw takes steps where a gradient is zero but for rounding.
RATES = {"sgd": 0.1, "adamw": 1e-5}
APART = {"sgd": 1e-6, "adamw": 5e-6}
SMALL = 1e-3  # of the whole gradient: what is smaller is compared with this share of it
CASES = [pytest.param(name, dtype, id=f"{name}-{dtype}") for name in METHODS for dtype in types_of(name)]
STEPS = [(name, micro_batches) for name in METHODS for micro_batches in micro_batches_of(name)]
# Several tests compare with the same ones.
of_one_process, once_trained = cache(losses_and_gradients), cache(trained_once)


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
    for optimizer in OPTIMIZERS:
        config = replace(one_run, fsdp=True, output=str(folder / f"sharded-{optimizer}"), optimizer=optimizer)
        replace(config, clip_norm=1.0, learning_rate=RATES[optimizer]).save(folder / f"{optimizer}.json")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, "-m", "tests.training.two_processes", folder], cwd=ROOT, check=True)
    return folder


def difference(found: dict, expected: dict) -> float:
    """The largest relative difference of a loss term, of a parameter's gradient, or of a statistic of batch norm."""
    assert found.keys() == expected.keys()
    whole = torch.stack([value.norm() for key, value in expected.items() if key.startswith("gradient")]).norm()
    scale = {
        key: max(value.norm(), SMALL * whole) if "gradient" in key else value.norm() for key, value in expected.items()
    }
    return max(float((found[key] - expected[key]).norm() / scale[key]) for key in expected)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_two_processes_are_one(results, name, dtype):
    expected = of_one_process(name, dtype)
    for process in (0, 1):
        assert difference(torch.load(results / f"{name} {dtype} {process}"), expected) < TOLERANCE[dtype]


def test_a_gather_without_gradient_would_be_noticed(results):
    expected, found = of_one_process("convirt", torch.float64), torch.load(results / "without gradient 0")
    torch.testing.assert_close(found["loss contrast"], expected["loss contrast"], rtol=1e-12, atol=0)
    assert difference(found, expected) > 0.4


@pytest.mark.parametrize(("name", "micro_batches"), STEPS)
def test_two_processes_train_as_one(results, name, micro_batches):
    """With the dropout of one process, and batch norm over the rows that it sees at once."""
    expected = once_trained(name, micro_batches)
    for process in (0, 1):
        found = torch.load(results / f"{name} trained {micro_batches} {process}")
        assert difference(found, expected) < TRAINED_APART


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_blocks_that_are_computed_again_repeat_their_dropout(results, micro_batches):
    expected = without_buffers(once_trained("convirt", micro_batches))
    for process in (0, 1):
        found = torch.load(results / f"convirt checkpointed {micro_batches} {process}")
        assert difference(without_buffers(found), expected) < TRAINED_APART


def without_buffers(found: dict) -> dict:
    """A block that is computed again counts twice in its running statistics."""
    return {key: value for key, value in found.items() if not key.startswith("buffer")}


def test_batch_norm_of_each_process_would_be_noticed(results):
    assert difference(torch.load(results / "convirt apart 0"), once_trained("convirt", 1)) > 0.01


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_micro_batches_give_the_gradients_of_the_whole_batch(name, dtype):
    expected, found = of_one_process(name, dtype), losses_and_gradients(name, dtype, micro_batches=4)
    assert difference(found, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_mocos_queue_and_key_network_on_two_processes_are_those_of_the_paper(results, accumulate):
    """After twenty steps; weights and statistics too."""
    expected = state_by_the_paper(accumulate, micro_batches=1)
    for process in (0, 1):
        found = torch.load(results / f"moco steps {accumulate} {process}")
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_mocos_keys_are_encoded_in_another_order_where_batch_norm_is_of_each_process(results):
    found = torch.cat([torch.load(results / f"moco keys {process}") for process in (0, 1)])
    torch.testing.assert_close(found, shuffled_keys_by_the_paper(), rtol=1e-10, atol=1e-12)


def test_a_batch_is_cut_evenly(monkeypatch):
    monkeypatch.setattr("training.parallel.processes.world_size", lambda: 3)
    with pytest.raises(TrainingError, match="multiple of processes times micro_batches, 3 x 2"):
        share(Objective.__new__(Objective), TrainingConfig("toy", batch_size=8, micro_batches=2), torch.device("cpu"))


def test_a_run_on_two_processes_ends_in_the_weights_of_one(results, one_run):
    """Same pairs, same texts, same updates: loader, accumulation and checkpoints included."""
    assert train(one_run)["processes"] == 1
    assert json.loads((results / "run" / "result.json").read_text())["processes"] == 2
    alone = Path(one_run.output)
    start, expected, found = map(load_file, (alone / UNTRAINED, alone / TRAINED, results / "run" / TRAINED))
    assert not all(torch.equal(start[name], expected[name]) for name in expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(("name", "micro_batches"), SHARDED)
def test_sharded_encoders_have_the_gradients_of_whole_ones(results, name, micro_batches):
    """Which the first process puts together."""
    found = torch.load(results / f"{name} sharded {micro_batches} 0")
    expected = of_one_process(name, torch.float64)
    assert difference(found, expected) < TOLERANCE[torch.float64]
    assert any(part.numel() == 0 for part in torch.load(results / f"{name} sharded {micro_batches} 1").values())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_sharded_run_writes_the_files_of_one_process_and_resumes(results, optimizer, tmp_path):
    """On two processes to the last bit; on one as near as one process is to two."""
    config, two = TrainingConfig.load(results / f"{optimizer}.json"), results / f"sharded-{optimizer}"
    train(replace(config, output=str(tmp_path / "alone")))
    shutil.copytree(two / "checkpoints", tmp_path / "again" / "checkpoints", ignore=shutil.ignore_patterns("*3"))
    assert train(replace(config, output=str(tmp_path / "again")))["resumed_from"] == 2
    ours, alone = (torch.load(folder / "checkpoints" / "step-00000002" / STATE) for folder in (two, tmp_path / "alone"))
    assert_same(ours["optimizer"], alone["optimizer"], 1e-6)
    end, expected = load_file(two / TRAINED), load_file(tmp_path / "alone" / TRAINED)
    assert_same(end, expected, APART[optimizer])
    assert_same(load_file(tmp_path / "again" / TRAINED), expected, APART[optimizer])
    resumed = load_file(results / f"sharded-{optimizer}-again" / TRAINED)
    assert all(torch.equal(resumed[name], end[name]) for name in end)


def test_hosts_need_no_common_folder(results):
    """The checkpoint, which only the second host has, comes to the first one, and what is in it to both."""
    first, second = (results / f"sharded-{OPTIMIZERS[0]}-host-{process}" for process in (0, 1))
    assert json.loads((first / "result.json").read_text())["resumed_from"] == 2
    whole = load_file(results / f"sharded-{OPTIMIZERS[0]}" / TRAINED)
    resumed = load_file(first / TRAINED)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert not (second / TRAINED).exists()


def assert_same(found: object, expected: object, apart: float) -> None:
    """Tensors, and dicts and lists of them, from one process and from two."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=apart)


def test_networks_without_transformer_blocks_are_not_sharded():
    method = tiny_method("medklip")
    with pytest.raises(TrainingError, match="`fsdp` shards the blocks of transformers"):
        shard_blocks(method)
