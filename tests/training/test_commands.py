"""The real command: `torchrun -m training` with two processes does what `python -m training` does, step by step."""

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

from models.registry import method_names
from models.saved import TRAINED, UNTRAINED
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store.code import ROOT
from tests.models.tiny import TINY
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
# Relative differences in single precision: of the first step, of later ones, of what the weights did. MGCA's last batch
# norm divides vectors by how little they differ at first: it enlarges rounding, of double precision too, 10,000 times.
APART = {method: (1e-5, 1e-4, 1e-3) for method in method_names()} | {"mgca": (2e-3, 1e-1, 1e-2)}


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


@pytest.fixture
def settings(shards, reports, tmp_path) -> TrainingConfig:
    """Three steps, and a validation after the last."""
    return TrainingConfig(
        "convirt", str(reports), str(shards / "knowledge.parquet"), str(tmp_path / "one"), batch_size=8, max_steps=3,
        optimizer="sgd", learning_rate=1e-3, warmup_epochs=0.2, precision="fp32", augmentation=AUGMENTED,
        checkpoint_every=2, log_every=1, threads=1,
    )  # fmt: skip


def with_method(settings: TrainingConfig, method: str) -> TrainingConfig:
    """A tiny network with batch norm, and with dropout where the method has any."""
    sections = {} if method == "medklip" else {"sections": "findings"}
    network = {**TINY[method], **RANDOM.get(method, {}), **sections}
    return replace(settings, method=method, method_config=network, **OPTIONS[method])


def run(config: TrainingConfig, processes: int) -> Path:
    """Give the command; returns the folder of the run."""
    path = Path(f"{config.output}.json")
    config.save(path)
    if processes == 1:
        assert main([str(path)]) == 0  # what `python -m training` calls
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        done = subprocess.run([*torchrun, "-m", "training", path], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return Path(config.output)


def metrics(folder: Path) -> list[dict[str, float]]:
    """Losses and gradient norms of every step."""
    lines = [json.loads(line)["metrics"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if "loss" in name or name == "gradient_norm"} for line in lines]


def weights(path: Path) -> torch.Tensor:
    """All numbers with a fraction, in one row."""
    return torch.cat([tensor.double().flatten() for tensor in load_file(path).values() if tensor.is_floating_point()])


@pytest.mark.parametrize("method", method_names())
def test_two_processes_take_the_steps_of_one(method, settings, tmp_path):
    config = with_method(settings, method)
    one, two = run(config, 1), run(replace(config, output=str(tmp_path / "two")), 2)
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


def test_two_processes_resume_to_the_last_bit(settings, tmp_path):
    config = with_method(settings, "convirt")
    whole, name = run(config, 2), "step-00000002"
    shutil.copytree(whole / "checkpoints" / name, tmp_path / "again" / "checkpoints" / name)
    again = run(replace(config, output=str(tmp_path / "again")), 2)
    assert json.loads((again / "result.json").read_text())["resumed_from"] == 2
    assert (again / TRAINED).read_bytes() == (whole / TRAINED).read_bytes()
