"""Saved networks: the files of a finished run that evaluation needs, and how a network is loaded from them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from models.encoders.local_files import named_encoders
from models.errors import ModelError
from models.method import Method
from models.registry import build_method, method_module
from models.released.opening import find_format
from models.run_files import CARD, TRAINED, UNTRAINED, expect_recorded
from store.seals import write_sealed_json


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
    encoders: dict[str, str] = field(default_factory=dict)  # digests of the local folders that settings name
    released: str = ""  # the format of `models.released` that it was imported from, whose settings are `method_config`

    def save(self, folder: Path) -> None:
        """Write `model.json`, and seal it."""
        write_sealed_json(folder / CARD, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """Read `model.json`; ModelError where there is none, DamageError where it is not what was written."""
        if not (folder / CARD).exists():
            raise ModelError(f"{folder / CARD} does not exist; name the folder of a training run")
        return cls(**json.loads(expect_recorded(folder / CARD).read_text(encoding="utf-8")))

    def build(self) -> Method:
        """The network with fresh weights."""
        if self.released:
            return find_format(self.released).build(self.method_config)
        method = build_method(self.method, self.method_config, self.knowledge, self.size)
        method.fit = self.fit
        return method


def load_method(output: Path, weights: str = "trained") -> Method:
    """The network of a finished run in evaluation mode; needs no text encoder.

    `weights`: `trained`, `untrained`, or a file of the run, such as `checkpoints/step-00000200/weights.safetensors`.

    Raises:
        ModelError: there are no weights.
        DamageError: weights or card are not what the run wrote.
    """
    path = output / {"trained": TRAINED, "untrained": UNTRAINED}.get(weights, weights)
    if not path.exists():
        raise ModelError(f"{path} does not exist; train the run in {output} to its end first")
    card = ModelCard.load(output)
    _expect_encoders(card)
    state = load_file(expect_recorded(path))
    if card.released:
        network = card.build()
        network.load_state_dict(state)
        return network.eval()
    method = method_module(card.method).build(card.method_config, card.knowledge, card.size, state)
    method.fit = card.fit
    method.load_state_dict(state)
    return method.eval()


def _expect_encoders(card: ModelCard) -> None:
    """Raise ModelError where the folder of an encoder, whose tokenizer is read, is not what it was in training."""
    for name, digest in named_encoders(card.method_config).items():
        if digest != card.encoders.get(name, digest):
            folder = card.method_config[name]
            raise ModelError(
                f"the files in {folder}, which `{name}` names, are not those that the network was trained with; "
                "restore them from a copy, or train the network again"
            )
