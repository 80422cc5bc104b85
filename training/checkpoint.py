"""Checkpoints: safetensors for weights, everything else loadable without executing code, each complete or absent."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from models.method import Method
from models.registry import build_method, method_module
from shards.atomic import replacing
from shards.manifest import file_digest
from training.config import TrainingConfig, TrainingError

TRAINED, UNTRAINED = "weights.safetensors", "untrained.safetensors"


@dataclass(frozen=True)
class ModelCard:
    """What is needed to build the network again; kept beside the weights."""

    method: str
    method_config: dict[str, Any]
    knowledge: list[dict[str, str]]
    size: int

    def save(self, folder: Path) -> None:
        """Write `model.json`."""
        write_text(folder / "model.json", json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """Read `model.json`."""
        return cls(**json.loads((folder / "model.json").read_text(encoding="utf-8")))

    def build(self) -> Method:
        """The network with fresh weights."""
        return build_method(self.method, self.method_config, self.knowledge, self.size)


def load_method(output: Path, weights: str = "trained") -> Method:
    """The network of a finished run in evaluation mode, `trained` or as it was `untrained`; needs no text encoder."""
    path = output / (TRAINED if weights == "trained" else UNTRAINED)
    if not path.exists():
        raise TrainingError(f"{path} does not exist; train the run in {output} to its end first")
    card = ModelCard.load(output)
    state = load_file(path)
    method = method_module(card.method).build(card.method_config, card.knowledge, card.size, state)
    method.load_state_dict(state)
    return method.eval()


def save_weights(method: Method, path: Path) -> str:
    """Write the weights atomically and return the digest of the file."""
    with replacing(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in method.state_dict().items()}, partial)
    return file_digest(path)


def save_checkpoint(output: Path, step: int, method: Method, optimizer: torch.optim.Optimizer) -> None:
    """Write the state after `step` steps as a new folder, then drop the older ones."""
    folder = output / "checkpoints" / f"step-{step:08d}"
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_weights(method, partial / TRAINED)
    torch.save({"step": step, "optimizer": optimizer.state_dict()}, partial / "state.pt")
    partial.rename(folder)
    for older in complete_checkpoints(output)[:-1]:
        shutil.rmtree(older)


def complete_checkpoints(output: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in (output / "checkpoints").glob("step-*") if not path.name.endswith(".partial"))


def resume(output: Path, method: Method, optimizer: torch.optim.Optimizer) -> int:
    """Load the last checkpoint, if there is one; returns the number of steps it had done."""
    found = complete_checkpoints(output)
    if not found:
        return 0
    method.load_state_dict(load_file(found[-1] / TRAINED))
    state = torch.load(found[-1] / "state.pt", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def check_same_run(output: Path, config: TrainingConfig) -> None:
    """A folder belongs to one configuration: another one is refused."""
    path = output / "config.json"
    if path.exists() and (previous := TrainingConfig.load(path)) != config:
        ours, theirs = asdict(config), asdict(previous)
        changed = sorted(name for name in ours if ours[name] != theirs[name])
        raise TrainingError(
            f"{output} belongs to a run with another `{changed[0]}` ({theirs[changed[0]]!r} there, "
            f"{ours[changed[0]]!r} now); choose another output folder or delete this one"
        )
    config.save(path)


def write_text(path: Path, text: str) -> None:
    """Write beside the name, then rename."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
