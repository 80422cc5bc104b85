"""Saved networks: the files of a finished run that evaluation needs, and how a network is loaded from them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from models.errors import ModelError
from models.method import Method
from models.registry import build_method, method_module
from store.atomic import write_json

TRAINED, UNTRAINED = "weights.safetensors", "untrained.safetensors"
CARD = "model.json"


@dataclass(frozen=True)
class ModelCard:
    """What is needed to build a network again; kept beside its weights."""

    method: str
    method_config: dict[str, Any]
    knowledge: list[dict[str, str]]
    size: int  # side of the images that the network takes
    fit: str = "resize"  # how larger images come to that size: `crop` to the centre where training cut random windows
    shard_size: int = 0  # side of the images in the shards of the training; 0: not recorded, take `size`
    decoding: dict[str, Any] = field(
        default_factory=dict
    )  # how those were read: fields of imaging.decode.SquareOptions

    def save(self, folder: Path) -> None:
        """Write `model.json`."""
        write_json(folder / CARD, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """Read `model.json`; raises ModelError where there is none."""
        try:
            return cls(**json.loads((folder / CARD).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ModelError(f"{folder / CARD} does not exist; name the folder of a training run") from None

    def build(self) -> Method:
        """The network with fresh weights."""
        method = build_method(self.method, self.method_config, self.knowledge, self.size)
        method.fit = self.fit
        return method


def load_method(output: Path, weights: str = "trained") -> Method:
    """The network of a finished run in evaluation mode; needs no text encoder. Raises ModelError without weights.

    `weights`: `trained`, `untrained`, or a file of the run, such as `checkpoints/step-00000200/weights.safetensors`.
    """
    path = output / {"trained": TRAINED, "untrained": UNTRAINED}.get(weights, weights)
    if not path.exists():
        raise ModelError(f"{path} does not exist; train the run in {output} to its end first")
    card = ModelCard.load(output)
    state = load_file(path)
    method = method_module(card.method).build(card.method_config, card.knowledge, card.size, state)
    method.fit = card.fit
    method.load_state_dict(state)
    return method.eval()
