"""The loop learns, resumes bit for bit, and refuses what it can't do in one sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.saved import load_method
from tests.training.conftest import tiny_config
from training.config import TrainingConfig, TrainingError
from training.loop import Run, train
from training.parallel.group import Group
from training.state.checkpoint import complete_checkpoints
from training.state.origin import Origin


class KilledError(Exception):
    pass


def killed_after(step: int):
    def progress(done: int, total: int) -> None:
        if done == step:
            raise KilledError

    return progress


def weights(config: TrainingConfig) -> dict[str, torch.Tensor]:
    return load_file(Path(config.output) / "weights.safetensors")


@pytest.fixture(scope="module")
def whole(shards, tmp_path_factory) -> TrainingConfig:
    """A run that nobody disturbed."""
    config = tiny_config(shards, tmp_path_factory.mktemp("whole") / "run")
    train(config)
    return config


@pytest.mark.parametrize("step", [1, 4, 7, 11])
def test_a_killed_run_ends_in_the_same_weights(whole, config, step):
    with pytest.raises(KilledError):
        train(config, killed_after(step))
    result = train(config)
    assert result["resumed_from"] == step // 4 * 4
    expected, resumed = weights(whole), weights(config)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    metrics = [(Path(run.output) / "metrics.jsonl").read_text().splitlines() for run in (whole, config)]
    steps = [[json.loads(line)["step"] for line in lines] for lines in metrics]
    assert steps[0] == steps[1] == [2, 4, 6, 8, 10, 12]


def test_a_half_written_checkpoint_is_not_used(config):
    with pytest.raises(KilledError):
        train(config, killed_after(9))
    last = complete_checkpoints(Path(config.output))[-1]
    last.rename(last.with_name("step-00000099.partial"))
    assert Run(config, Origin.of(config), Group(torch.device("cpu")), None).step == 4
    (Path(config.output) / "weights.safetensors.7.partial").write_bytes(b"1")
    train(config)
    assert not list(Path(config.output).rglob("*.partial"))


def test_training_lowers_the_loss_and_changes_the_network(config):
    train(replace(config, max_steps=60, checkpoint_every=1000))
    lines = [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text().splitlines()]
    assert {"train/loss", "train/loss_existence", "train/loss_position", "learning_rate", "samples_per_second"} <= set(
        lines[0]["metrics"]
    )
    first, last = (line["metrics"]["train/loss"] for line in (lines[0], lines[-1]))
    assert last < 0.7 * first
    images = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    with torch.no_grad():
        trained, floor = (
            load_method(Path(config.output), kind).zero_shot(images, ["effusion"]) for kind in ("trained", "untrained")
        )
    assert not torch.equal(trained.scores, floor.scores)


def test_a_finished_run_is_returned_as_it_is(config):
    first = train(config)
    written = (Path(config.output) / "weights.safetensors").stat().st_mtime_ns
    assert train(config) == first
    assert (Path(config.output) / "weights.safetensors").stat().st_mtime_ns == written


@pytest.fixture(scope="module")
def three_steps(shards, tmp_path_factory) -> TrainingConfig:
    """A run that ended; single precision, because a processor without bf16 takes seconds for one product of it."""
    folder = tmp_path_factory.mktemp("three_steps") / "run"
    config = replace(tiny_config(shards, folder), max_steps=3, precision="fp32")
    train(config)
    return config


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", 1), ("learning_rate", 5e-3), ("weight_decay", 0.9), ("batch_size", 4), ("clip_norm", 1e-4),
     ("augmentation", {"crop_scale": 0.9}), ("warmup_epochs", 0.0), ("precision", "bf16"),
     ("decay", "all"), ("schedule", "staircase")],
)  # fmt: skip
def test_every_option_changes_the_weights(three_steps, tmp_path, option, value):
    other = replace(three_steps, output=str(tmp_path / "other"), **{option: value})
    train(other)
    expected, changed = weights(three_steps), weights(other)
    assert any(not torch.equal(expected[name], changed[name]) for name in expected)


@pytest.mark.parametrize("last", ["across", "drop", "keep"])
def test_the_end_of_an_epoch(config, last):
    config = replace(config, max_steps=0, epochs=2.0, last_batch=last, log_every=1, warmup_epochs=0.0)
    pairs = train(replace(config, output=f"{config.output}-size", max_steps=1))["pairs"]
    batch_size = next(size for size in range(5, pairs) if pairs % size > 1)
    whole = pairs // batch_size
    result = train(replace(config, batch_size=batch_size))
    assert result["steps"] == {"across": round(2 * pairs / batch_size), "drop": 2 * whole, "keep": 2 * whole + 2}[last]
    assert result["epochs"] == pytest.approx(2, abs=0.2)


def test_a_last_batch_that_cannot_be_trained_on_is_refused(config):
    config = replace(config, max_steps=0, epochs=1.0, last_batch="keep")
    pairs = train(replace(config, output=f"{config.output}-size", max_steps=1))["pairs"]
    alone = next(size for size in range(2, pairs) if pairs % size == 1)
    with pytest.raises(TrainingError, match="of 1 pairs, has nothing to be contrasted with"):
        train(replace(config, batch_size=alone))
    odd = next(size for size in range(6, pairs, 3) if pairs % size % 3 and pairs % size > 1)
    with pytest.raises(TrainingError, match="cannot be divided into 3 parts; set `last_batch` to drop or across"):
        train(replace(config, batch_size=odd, micro_batches=3, output=f"{config.output}-odd"))


def test_another_configuration_in_the_same_folder_is_refused(config):
    train(replace(config, max_steps=1))
    with pytest.raises(TrainingError, match="another option `seed`"):
        train(replace(config, max_steps=1, seed=5))


def test_other_data_than_asked_for_are_refused(config):
    with pytest.raises(TrainingError, match="data version"):
        train(replace(config, data_version="0" * 64))


def test_too_little_data_is_one_sentence(config):
    with pytest.raises(TrainingError, match="fewer than one batch of 4096"):
        train(replace(config, batch_size=4096))


def test_a_loss_that_is_not_a_number_stops_the_run(config):
    with pytest.raises(TrainingError, match=r"`existence` is (nan|inf)"):
        train(replace(config, learning_rate=1e30, max_steps=12))


@pytest.mark.parametrize(("window", "fit"), [(True, "crop"), (False, "resize")])
def test_images_are_fitted_as_in_training(config, window, fit):
    train(replace(config, max_steps=1, input_size=24, augmentation={"window": window}))
    assert load_method(Path(config.output)).fit == fit
    assert load_method(Path(config.output), "untrained").fit == fit
