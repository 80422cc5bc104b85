"""Saved networks: the files of a finished run that evaluation needs, and how a network is loaded from them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from models.encoders.local_files import named_encoders
from models.encoders.weight_files import numbers_like
from models.errors import ModelError
from models.method import Method
from models.registry import build_method, method_module
from models.released.opening import find_format
from models.run_files import CARD, TRAINED, UNTRAINED, expect_recorded
from store.errors import UserError
from store.remote import mirror
from store.seals import write_sealed_json

LARGEST = 4096  # side of an image, pixels
FITS = ("resize", "crop")


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
    # cohort -> data version, rows and rows left out, of all cohorts that it was trained on: shards.pool.origins_of
    trained_on: dict[str, dict[str, Any]] = field(default_factory=dict)
    released: str = ""  # the format of `models.released` that it was imported from, whose settings are `method_config`

    @property
    def squash(self) -> bool:
        """Whether its images are stretched to their square; else their proportions stay, and black is added."""
        return bool(self.decoding.get("squash"))

    def save(self, folder: Path) -> None:
        """Write `model.json`, and seal it."""
        write_sealed_json(folder / CARD, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """Read `model.json`; ModelError where there is none or it is no card, DamageError where it was changed."""
        path = folder / CARD
        if not path.is_file():
            raise ModelError(f"{path} does not exist; name the folder of a training run")
        text = expect_recorded(path).read_text(encoding="utf-8", errors="replace")
        try:
            card = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise _no_card(path) from error
        if not card._is_sound():
            raise _no_card(path)
        return card._in_folder(folder)

    def _in_folder(self, folder: Path) -> ModelCard:
        """The same with the encoders that lie in `folder`, which the file names relative to it."""
        own = {
            name: str(folder / str(self.method_config[name]))
            for name in self.encoders.keys() & self.method_config.keys()
            if (folder / str(self.method_config[name])).is_dir()
        }
        return replace(self, method_config=self.method_config | own)

    def own_encoders(self, folder: Path) -> list[Path]:
        """The folders of encoders that lie in `folder`, that of the run."""
        named = {Path(self.method_config[name]) for name in self.encoders}
        return sorted(path for path in named if path.parent == folder)

    def _is_sound(self) -> bool:
        """Whether the values are such as trainings write. What the method says of its own settings comes later."""
        settings = self.method_config, self.decoding, self.encoders, self.trained_on
        texts = self.method, self.fit, self.released, *self.encoders
        sides = self.size, self.shard_size or self.size
        return (
            all(isinstance(value, dict) for value in settings)
            and all(isinstance(value, str) for value in texts)
            and all(type(side) is int and 0 < side <= LARGEST for side in sides)
            and isinstance(self.knowledge, list)
            and all(isinstance(entry, dict) for entry in self.knowledge)
            and all(isinstance(value, bool) for value in self.decoding.values())
            and all(isinstance(value, dict) for value in self.trained_on.values())
            and self.fit in FITS
        )

    def build(self) -> Method:
        """The network with fresh weights."""
        if self.released:
            released = find_format(self.released).build(self.method_config)
            released.registered = self.released
            return released
        method = build_method(self.method, self.method_config, self.knowledge, self.size)
        method.fit = self.fit
        return method


def load_method(output: Path, weights: str = "trained") -> Method:
    """The network of a finished run in evaluation mode; needs no text encoder.

    `weights`: `trained`, `untrained`, or a file of the run, such as `checkpoints/step-00000200/weights.safetensors`.

    Raises:
        ModelError: there are no weights, or card and weights do not make a network.
        DamageError: weights or card are not what the run wrote.
    """
    path = output / {"trained": TRAINED, "untrained": UNTRAINED}.get(weights, weights)
    if not mirror.fetch(path):
        raise ModelError(f"{path} does not exist; train the run in {output} to its end first")
    card = ModelCard.load(output)
    _expect_encoders(card)
    expect_recorded(path)
    try:
        return _build(card, path).eval()
    except UserError:
        raise
    except Exception as error:  # of a file that no training wrote, whatever it leads the libraries to
        raise ModelError(
            f"{output / CARD} and {path.name} do not make a network ({_first_line(error)}): they are damaged, of "
            "different runs or of another version; take the whole folder of a run"
        ) from error


def _build(card: ModelCard, path: Path) -> Method:
    state = load_file(path)
    if card.released:
        method = card.build()
    else:
        method = method_module(card.method).build(card.method_config, card.knowledge, card.size, state)
        method.fit = card.fit
    own = method.state_dict()
    fitting = {
        name: numbers_like(own[name], tensor, name, path) if name in own else tensor for name, tensor in state.items()
    }
    method.load_state_dict(fitting)
    return method


def _no_card(path: Path) -> ModelError:
    return ModelError(f"{path} is not what a training writes; take the whole folder of a run")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _expect_encoders(card: ModelCard) -> None:
    """Raise ModelError where the folder of an encoder, whose tokenizer is read, is not what it was in training."""
    for name, digest in named_encoders(card.method_config).items():
        if digest != card.encoders.get(name, digest):
            folder = card.method_config[name]
            raise ModelError(
                f"the files in {folder}, which `{name}` names, are not those that the network was trained with; "
                "restore them from a copy, or train the network again"
            )
