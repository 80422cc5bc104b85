"""Two processes of torchrun do what one does, step by step, and go on where they ended by the real command.

The runs share two processes, because starting them takes longer than the runs. Steps of every method are compared in
tests/training/parallel; here are those that read something else, or with another option.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from models.saved import TRAINED, UNTRAINED
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store.code import ROOT
from tests.models.tiny import READING, settings_for
from tests.training.conftest import ENTITIES, POSITIONS, SIZE, shard_rows
from tests.training.two_processes import RANDOM
from training.__main__ import main
from training.config import TrainingConfig

SAYINGS = ("There is a left effusion.", "The lungs are clear.", "A nodule in the right lung.", "No edema is seen.")
AUGMENTED = {"crop_scale": 0.8, "rotation": 10.0, "brightness": 0.2, "contrast": 0.2, "random_operations": 2}
OPTIONS = {  # each method with something more that could tell two processes from one
    "chexzero": {"accumulate": 2},
    "convirt": {"gradient_checkpointing": True},
    "gloria": {"micro_batches": 2},
    "lrclr": {"clip_norm": 1.0},
    "medklip": {"micro_batches": 2, "accumulate": 2},
    "mgca": {"schedule": "plateau"},
}
METHODS = sorted({*OPTIONS, *READING})
# Relative differences in single precision: of the first step, of later ones, of what the weights did. MGCA's last batch
# norm divides vectors by how little they differ at first: it enlarges rounding, of double precision too, 10,000 times.
# GLoRIA's gradients are large here (a norm of 243), so that rounding of the first step, which differs between
# processors, shows in the later ones.
APART = {method: (1e-5, 1e-4, 1e-3) for method in METHODS} | {
    "gloria": (1e-5, 5e-3, 5e-3),
    "mgca": (2e-3, 1e-1, 1e-2),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> Path:
    """Shards with reports. Three rows validate: an odd number, so that two processes cannot divide them evenly."""
    folder = tmp_path_factory.mktemp("reports")
    rows = shard_rows(24)
    for index, row in enumerate(rows):
        row["sentences"] = [{"section": "findings", "text": SAYINGS[(index + more) % 4]} for more in (0, 1)]
        row["split"] = "validate" if index % 8 == 3 else "train"
    write_shard(pa.Table.from_pylist(rows, schema=shard_schema(SIZE)), folder / "a.parquet")
    write_manifest(folder, [folder / "a.parquet"], ENTITIES, POSITIONS, SIZE, "phantom")
    return folder


@pytest.fixture(scope="module")
def settings(shards, reports, tmp_path_factory) -> TrainingConfig:
    """Three steps, and a validation after the last."""
    return TrainingConfig(
        "convirt", str(reports), str(shards / "knowledge.parquet"), str(tmp_path_factory.mktemp("runs")), batch_size=8,
        max_steps=3, optimizer="sgd", learning_rate=1e-3, warmup_epochs=0.2, precision="fp32", augmentation=AUGMENTED,
        checkpoint_every=2, log_every=1, threads=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_processes(settings) -> Path:
    """The folder of what two processes have trained: a run of every method."""
    folder = Path(settings.output) / "two"
    configs = [save(with_method(settings, method, folder / method)) for method in METHODS]
    torchrun("tests.training.many_runs", *configs)
    return folder


def with_method(settings: TrainingConfig, method: str, output: Path) -> TrainingConfig:
    """A tiny network with batch norm, and with dropout where the method has any."""
    network = {**settings_for(method, "findings"), **RANDOM.get(method, {})}
    return replace(settings, method=method, output=str(output), method_config=network, **OPTIONS.get(method, {}))


def save(config: TrainingConfig) -> Path:
    path = Path(f"{config.output}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    config.save(path)
    return path


def torchrun(module: str, *arguments: Path) -> None:
    """On two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", module]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def metrics(folder: Path) -> list[dict[str, float]]:
    """Losses and gradient norms of every step."""
    lines = [json.loads(line)["metrics"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if "loss" in name or name == "gradient_norm"} for line in lines]


def weights(path: Path) -> torch.Tensor:
    """All numbers with a fraction, in one row."""
    return torch.cat([tensor.double().flatten() for tensor in load_file(path).values() if tensor.is_floating_point()])


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_take_the_steps_of_one(method, settings, two_processes, tmp_path):
    config = with_method(settings, method, tmp_path / "one")
    assert main([str(save(config))]) == 0  # what `python -m training` calls
    one, two = Path(config.output), two_processes / method
    expected, found = metrics(one), metrics(two)
    assert len(found) == len(expected) == config.max_steps
    assert any("validation/loss" in line for line in expected)
    first, later, moved = APART[method]
    for step, (line, other) in enumerate(zip(expected, found, strict=True)):
        assert other == pytest.approx(line, rel=later if step else first)
    start, end = weights(one / UNTRAINED), weights(one / TRAINED)
    assert torch.equal(weights(two / UNTRAINED), start)
    assert (weights(two / TRAINED) - end).norm() < moved * (end - start).norm()
    assert (two / "origin.json").read_bytes() == (one / "origin.json").read_bytes()
    assert json.loads((two / "result.json").read_text())["processes"] == 2


def test_two_processes_resume_to_the_last_bit(settings, two_processes, tmp_path):
    whole, again, name = two_processes / "convirt", tmp_path / "again", "step-00000002"
    shutil.copytree(whole / "checkpoints" / name, again / "checkpoints" / name)
    torchrun("training", save(with_method(settings, "convirt", again)))
    assert json.loads((again / "result.json").read_text())["resumed_from"] == 2
    assert (again / TRAINED).read_bytes() == (whole / TRAINED).read_bytes()
