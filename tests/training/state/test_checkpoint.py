"""Checkpoints: whole or absent on a full disk, passed over when damaged, refused when something else made them."""

from __future__ import annotations

import errno
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from store.digests import file_digest
from store.seals import seal
from tests.training.test_loop import KilledError, killed_after
from training.config import TrainingError
from training.loop import train
from training.state import checkpoint, origin
from training.state.checkpoint import complete_checkpoints, save_checkpoint
from training.state.origin import Origin


@pytest.fixture
def killed(config) -> Path:
    """The folder of a run that was killed after the checkpoints of steps 4 and 8."""
    with pytest.raises(KilledError):
        train(config, killed_after(9))
    return Path(config.output)


def test_a_checkpoint_says_what_made_it(config, killed):
    card = json.loads((complete_checkpoints(killed)[-1] / "checkpoint.json").read_text())
    assert card["step"] == 8
    made_by = card["origin"]
    assert made_by["settings"]["method"] == "medklip"
    assert made_by["torch_version"] == torch.__version__
    assert len(made_by["data_version"]) == 64
    assert made_by["code_version"] == Origin.of(config).code_version


def test_where_a_run_lies_and_how_often_it_writes_is_no_other_run(config, killed):
    killed.rename(killed.with_name("moved"))
    moved = replace(config, output=str(killed.with_name("moved")), checkpoint_every=5, log_every=3, loader_threads=1)
    assert train(moved)["resumed_from"] == 8


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("code_version", "other", "another code version"),
        ("torch_version", "1.0", "another torch version"),
        ("data_version", "0" * 64, "another data version"),
        ("knowledge", "other", "another knowledge"),
        ("settings", {"seed": 5}, "another option `"),
    ],
)
def test_what_something_else_made_is_refused(config, killed, monkeypatch, name, value, said):
    (killed / "origin.json").unlink()  # the checkpoint by itself knows
    other = replace(Origin.of(config), **{name: value})
    monkeypatch.setattr(origin.Origin, "of", classmethod(lambda cls, config: other))
    with pytest.raises(TrainingError, match=said) as caught:
        train(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "damage"), [("weights.safetensors", "flip"), ("state.pt", "cut"), ("checkpoint.json", "gone")]
)
def test_a_damaged_checkpoint_is_passed_over_with_a_notice(config, killed, caplog, file, damage):
    spoil(complete_checkpoints(killed)[-1] / file, damage)
    assert train(config)["resumed_from"] == 4
    (notice,) = [record.getMessage() for record in caplog.records if record.name == "training.state.checkpoint"]
    assert "step-00000008 is damaged" in notice
    assert file in notice


@pytest.mark.parametrize(
    "card", ["", "[]", "[" * 100_000, {"digests": 3}, {"digests": {}}, {"digests": {"../x": ""}}, {"step": "x"}, {}]
)
def test_a_checkpoint_that_was_replaced_with_its_digests_is_passed_over(config, killed, caplog, card):
    folder = complete_checkpoints(killed)[-1]
    path, state = folder / "checkpoint.json", folder / "state.pt"
    if card == {}:
        torch.save([1, 2], state)
        card = {"digests": {name: file_digest(folder / name) for name in ("state.pt", "weights.safetensors")}}
    path.write_text(card if isinstance(card, str) else json.dumps({**json.loads(path.read_text()), **card}))
    seal(path)
    assert train(config)["resumed_from"] == 4
    assert "step-00000008 is damaged" in caplog.text


def test_with_no_whole_checkpoint_the_run_starts_anew_and_says_so(config, killed, caplog):
    for folder in complete_checkpoints(killed):
        spoil(folder / "state.pt", "cut")
    assert train(config)["resumed_from"] == 0
    assert [record.getMessage() for record in caplog.records if "is passed over" in record.getMessage()] == [
        f"{killed}/checkpoints/step-{step:08d} is damaged (state.pt is not what was written); it is passed over"
        for step in (8, 4)
    ]


def test_encoder_weights_that_were_replaced_make_another_run(config, tmp_path):
    weights = tmp_path / "encoder.safetensors"
    save_file(timm.create_model("resnet10t", in_chans=1, num_classes=0).state_dict(), weights)
    config = replace(config, max_steps=1, method_config={**config.method_config, "image_weights": str(weights)})
    train(config)
    save_file(timm.create_model("resnet10t", in_chans=1, num_classes=0).state_dict(), weights)
    with pytest.raises(TrainingError, match="belongs to a run with another content of what `image_weights` names"):
        train(config)


def spoil(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 255
        path.write_bytes(content)


@pytest.fixture
def tiny_disk(tmp_path) -> Path:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


class Network(torch.nn.Linear):
    """Stands in for a method: weights and an optimizer's state of a chosen size."""

    def optimizer(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(self.parameters())
        self.weight.grad = torch.ones_like(self.weight)
        optimizer.step()
        return optimizer


@pytest.mark.parametrize("number", [20_000, 100_000])  # too large are: its state, its weights
def test_a_full_disk_leaves_the_checkpoints_before(config, tiny_disk, number):
    made_by, small = Origin.of(config), Network(100, 100, bias=False)
    save_checkpoint(tiny_disk, made_by, 1, small, small.optimizer(), {})
    large = Network(number, 5, bias=False)
    before = complete_checkpoints(tiny_disk)
    with pytest.raises(TrainingError, match=r"cannot be written: No space left on device; .* make room") as caught:
        save_checkpoint(tiny_disk, made_by, 2, large, large.optimizer(), {})
    assert "step-00000002" in str(caught.value)
    assert complete_checkpoints(tiny_disk) == before
    assert not list(tiny_disk.rglob("*partial*"))
    save_checkpoint(tiny_disk, made_by, 3, small, small.optimizer(), {})  # there is room for what fits
    assert len(complete_checkpoints(tiny_disk)) == 2


def test_a_disk_that_fills_up_during_training_ends_the_run_with_a_sentence(config, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(done: int, _: int) -> None:
        if done == 6:
            monkeypatch.setattr(checkpoint.torch, "save", full)

    with pytest.raises(TrainingError, match="No space left on device"):
        train(config, fill)
    assert [path.name for path in complete_checkpoints(Path(config.output))] == ["step-00000004"]
    monkeypatch.undo()
    assert train(config)["resumed_from"] == 4
