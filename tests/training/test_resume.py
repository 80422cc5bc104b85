"""A run that is killed again and again ends in the same bits as one that never was."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from tests.training.conftest import ENTITIES, POSITIONS, SIZE, TINY, shard_rows
from tests.training.test_loop import KilledError, killed_after
from training.config import TrainingConfig
from training.loop import train
from training.state.checkpoint import complete_checkpoints

STEPS, KILLS = 60, 10
SAYINGS = ("There is a left effusion", "The lungs are clear", "A nodule in the right lung", "No pneumothorax is seen")
DUAL = {"image_encoder": "vit/1x32p16", "image_weights": "", "text_encoder": "bert/1x32"}
AUGMENTED = {"crop_scale": 0.8, "rotation": 10.0, "brightness": 0.2, "contrast": 0.2}
RUNS = {  # schedules with a memory, accumulation, micro_batches, both kinds of optimizers, text and none
    "medklip": {
        "method_config": TINY, "schedule": "plateau", "plateau_patience": 1,
        "augmentation": {**AUGMENTED, "horizontal_flip": 0.5},
    },
    "mgca": {
        "method_config": {**DUAL, "image_stage": 0, "upsampled": 0, "prototypes": 8, "hidden": 16, "dim": 8},
        "micro_batches": 2, "clip_norm": 1.0, "precision": "fp32", "augmentation": AUGMENTED,
    },
    "convirt": {
        "method_config": {**DUAL, "image_stage": 0, "frozen_layers": 0, "dimension": 16},
        "optimizer": "sgd", "schedule": "constant", "accumulate": 2, "precision": "fp32", "early_stop": 50,
    },
    "moco": {  # a queue and a key network
        "method_config": {"image_encoder": "vit/1x32p16", "image_weights": "", "dimension": 16, "queue": 40},
        "optimizer": "sgd", "accumulate": 2, "precision": "fp32",
        "augmentation": {**AUGMENTED, "horizontal_flip": 0.5},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> Path:
    """Shards whose images have reports, a tenth of them to validate on."""
    folder = tmp_path_factory.mktemp("reports")
    rows = shard_rows(96)
    for index, row in enumerate(rows):
        said = [SAYINGS[index % 4], SAYINGS[index // 4 % 4]]
        row["sentences"] = [{"section": "findings", "text": text} for text in said]
        row["split"] = "validate" if index % 10 == 3 else row["split"]
    write_shard(pa.Table.from_pylist(rows, schema=shard_schema(SIZE)), folder / "a.parquet")
    write_manifest(folder, [folder / "a.parquet"], ENTITIES, POSITIONS, SIZE, "phantom")
    return folder


@pytest.mark.parametrize("method", RUNS)
def test_ten_kills_change_no_bit(config, reports, tmp_path, method):
    config = replace(config, method=method, shards=str(reports), max_steps=STEPS, checkpoint_every=7, **RUNS[method])
    whole = replace(config, output=str(tmp_path / "whole"))
    train(whole)
    chance = random.Random(method)
    for step in sorted(chance.sample(range(1, STEPS), KILLS)):
        with pytest.raises(KilledError):
            train(config, killed_after(step))
    result = train(config)
    assert 0 < result["resumed_from"] < STEPS
    assert difference(final(whole), final(config)) == []
    assert [line["step"] for line in lines(whole)] == [line["step"] for line in lines(config)]


def test_a_stopped_run_says_how_long_all_of_it_took(config):
    with pytest.raises(KilledError):
        train(config, killed_after(9))
    folder = complete_checkpoints(Path(config.output))[-1]
    before = torch.load(folder / "state.pt", weights_only=True)["loop"]["seconds"]
    assert train(config)["seconds"] > before > 0


def final(config: TrainingConfig) -> dict[str, torch.Tensor]:
    """Every tensor that a run ends with, its optimizer's and its best weights among them."""
    output = Path(config.output)
    tensors = {}
    for path in output.glob("*.safetensors"):
        tensors |= {f"{path.name} {name}": value for name, value in load_file(path).items()}
    state = torch.load(complete_checkpoints(output)[-1] / "state.pt", weights_only=True)
    for index, values in state["optimizer"]["state"].items():
        tensors |= {f"{index} {name}": value for name, value in values.items() if value is not None}
    tensors["validation"] = torch.tensor(state["loop"]["validation_losses"])
    return tensors


def difference(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> list[str]:
    assert expected.keys() == found.keys()
    return [name for name in expected if not torch.equal(expected[name], found[name])]


def lines(config: TrainingConfig) -> list[dict]:
    return [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text().splitlines()]
