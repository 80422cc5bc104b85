"""Networks at a size for tests, with random weights, in folders as `radalign.load` opens them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import BertConfig, BertModel

import radalign
from models.method import Method
from models.registry import build_method, settings_class
from models.released.opening import find_format
from models.run_files import TRAINED
from models.saved import ModelCard
from radalign.exporting.preparation import describe_preparation
from radalign.exporting.subject import Subject
from tests.models.tiny import KNOWLEDGE, SIZE, TINY

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@cache
def texts_folder() -> str:
    """The folder of a BERT of width 32 whose pieces are letters."""
    folder = tempfile.mkdtemp(prefix="texts-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *LETTERS,
        *(f"##{letter}" for letter in LETTERS),
        ".",
        ",",
        ";",
    ]
    (Path(folder) / "vocab.txt").write_text("\n".join(pieces))
    (Path(folder) / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    torch.manual_seed(0)
    BertModel(BertConfig(**BERT | {"vocab_size": len(pieces)}), add_pooling_layer=False).save_pretrained(folder)
    return folder


RESNET = {
    "blocks": [1, 1, 1, 1], "planes": [8, 8, 8, 16], "base_width": 64, "channels": 3, "groups": 1, "basic": False,
}  # fmt: skip
THREE_STAGES = RESNET | {"blocks": [1, 1, 1], "planes": [8, 8, 16]}
BERT = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 512,
}  # fmt: skip
SWIN = {
    "image_size": 224, "patch_size": 4, "num_channels": 3, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
    "window_size": 7, "mlp_ratio": 2.0,
}  # fmt: skip
TEXTS = {"bert": BERT, "texts": texts_folder()}
TEXT_SETTINGS = ("text_encoder", "text_tokenizer", "vocabulary")  # what methods call it
OWN = {"medklip": {"text_pooling": "cls"}}  # what goes with it
HEAD = {"backbone": RESNET, "head": [16, 8], "linear": False}
BIOVIL = {"backbone": RESNET, "patch_width": 64, "hidden": 16, "dim": 8, "text_hidden": 16, **TEXTS}
MGCA = {"hidden": 16, "dim": 8, "prototypes": 5, "temperature": 0.1, **TEXTS}
RELEASED: dict[str, dict[str, Any]] = {
    "benchx": HEAD,
    "biovil": BIOVIL,
    "biovil_t": BIOVIL | {"patch_width": 32, "width": 16, "channels": 64, "inner": 16, "blocks": 1},
    "chexzero": {
        "layers": 2, "width": 64, "patch": 32, "image_size": 224, "dim": 16, "text_layers": 2, "text_width": 32,
        "text_heads": 2, "context": 77, "vocabulary": 49408,
    },
    "convirt": {"backbone": RESNET, "longest": 512, "dim": 8, **TEXTS},
    "cxr_clip": {"image": {"kind": "resnet", "fields": RESNET}, "dim": 8, "length": 256, "pooling": "eos", **TEXTS},
    "gloria": {"backbone": RESNET, "width": 32, "prompts": {}, "layers": 2, **TEXTS},
    "kad": {
        "size": 224, "backbone": THREE_STAGES, "channels": 64, "width": 32, "hidden": 16, "layers": 1,
        "feed_forward": 16, **TEXTS,
    },
    "medclip": {"image": {"kind": "resnet", "fields": RESNET}, "dim": 8, **TEXTS},
    "medklip": {
        "backbone": THREE_STAGES, "entities": ["effusion", "nodule", "edema"], "width": 16, "text_width": 12,
        "layers": 1, "feed_forward": 16,
    },
    "mgca": {"backbone": RESNET, **MGCA},
    "moco": HEAD,
    "prior": {"backbone": RESNET | {"channels": 1}, "channels": 64, "positions": 50, "dim": 8, "sentences": 6, **TEXTS},
    "simclr": HEAD,
}  # fmt: skip
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {  # other kinds of the same formats
    "chexzero, released, ResNet": (
        "chexzero",
        {
            "blocks": [1, 1, 1, 1],
            "width": 8,
            "image_size": 64,
            "dim": 16,
            "text_layers": 1,
            "text_width": 32,
            "text_heads": 2,
            "context": 77,
            "vocabulary": 49408,
        },
    ),
    "cxr_clip, released, Swin": (
        "cxr_clip",
        {"image": {"kind": "swin", "fields": SWIN}, "dim": 8, "length": 256, "pooling": "eos", **TEXTS},
    ),
    "medclip, released, Swin": ("medclip", {"image": {"kind": "swin", "fields": SWIN}, "dim": 8, **TEXTS}),
    "mgca, released, ViT": (
        "mgca",
        {"vit": {"image_size": 224, "patch": 32, "width": 64, "depth": 2, "inner": 64}, **MGCA},
    ),
}


def own_texts(name: str) -> dict[str, Any]:
    """The small text encoder in the settings of a method, where it has one."""
    known = {field.name for field in fields(settings_class(name))}
    return {setting: texts_folder() for setting in TEXT_SETTINGS if setting in known} | OWN.get(name, {})


def trained_model(name: str, folder: Path, **options: object) -> radalign.Model:
    """A method's network in `folder`, of 32 x 32 pixels."""
    settings = {**TINY[name], **own_texts(name), **options}
    return _save(folder, build_seeded(lambda: build_method(name, settings, KNOWLEDGE, SIZE)), name, settings)


def released_model(name: str, folder: Path, settings: dict[str, Any] | None = None) -> radalign.Model:
    """A released format's network in `folder`."""
    settings = settings or RELEASED[name]
    return _save(folder, build_seeded(lambda: find_format(name).build(settings)), name, settings, name)


def subject_of(name: str, settings: dict[str, Any] | None = None, released: bool = False) -> Subject:
    """A network as a target gets it, without files."""
    settings = settings or (RELEASED[name] if released else {**TINY[name], **own_texts(name)})
    own = find_format(name).build if released else lambda given: build_method(name, given, KNOWLEDGE, SIZE)
    network = build_seeded(lambda: own(settings)).eval()
    kind = name if released else ""
    card = ModelCard(name, settings, KNOWLEDGE, network.size, released=kind)
    return Subject(network, card, describe_preparation(network, kind), Path())


def build_seeded(build: Callable[[], Method]) -> Method:
    """The same random weights every time, also in batch norm, whose statistics begin with 0 and 1."""
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.75, 1.25)
    for name, parameter in network.named_parameters():
        if name == "logit_scale":
            parameter.data.fill_(2.66)
    return network


def _save(folder: Path, network: Method, name: str, settings: dict[str, Any], released: str = "") -> radalign.Model:
    folder.mkdir(parents=True)
    ModelCard(name, settings, KNOWLEDGE, network.size, released=released).save(folder)
    state = {key: tensor.clone().contiguous() for key, tensor in network.state_dict().items()}
    save_file(state, folder / TRAINED)
    return radalign.load(folder, device="cpu")
