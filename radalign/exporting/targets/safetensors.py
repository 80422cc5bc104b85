"""Radalign itself: weights, card and tokenizer in one folder that needs nothing else, for `radalign.load`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig

from models.encoders.local_files import named_encoders
from models.run_files import TRAINED
from models.saved import load_method
from models.text.tokenizer import WordPieceTokenizer
from radalign.exporting.subject import Subject, Written, expect_same
from radalign.exporting.texts import SAMPLES, find_bert, find_tokenizer, save_tokenizer
from radalign.exporting.towers import example
from store.seals import seal

TEXT = "text"  # folder of the text encoder
ENCODERS = ("text_encoder", "text_tokenizer", "texts")  # settings that name a text encoder
LOAD = """import radalign

model = radalign.load("FOLDER")
features = model.image_features("image.dcm")  # DICOM, JPG or PNG: prepared as in training"""


def refuse(subject: Subject) -> None:
    """Every network can be written."""


def write(subject: Subject, folder: Path) -> Written:
    """Card, weights and text encoder, opened again by `load_method`."""
    settings = keep_texts(subject.network, subject.card.method_config, folder)
    beside = {name: str(folder / TEXT) for name in settings if settings[name] == TEXT and name in ENCODERS}
    replace(subject.card, method_config=settings, encoders=named_encoders(beside)).save(folder)
    shutil.copyfile(subject.weights, folder / TRAINED)
    seal(folder / TRAINED)
    return Written(LOAD, "radalign", _check(subject, folder), tuple(_notes(subject.network, settings)))


def _notes(network: Any, settings: Mapping[str, Any]) -> Iterator[str]:
    if hasattr(network, "frozen_texts") and settings["text_encoder"] != TEXT:
        name = settings["text_encoder"]
        yield f"Findings that were none of the training's are read by the text encoder `{name}`, which is not in here."


def keep_texts(network: Any, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings without places of this machine: the text encoder is written beside the weights, and named `text`.

    Weights to start from are left out: those of the network stand for them.
    """
    encoders = named_encoders(settings)
    tokenizer = find_tokenizer(network)
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if name in ENCODERS and isinstance(tokenizer, WordPieceTokenizer):
            save_tokenizer(tokenizer, folder / TEXT)
            config = getattr(find_bert(network), "config", None) or BertConfig(vocab_size=tokenizer.vocabulary)
            config.save_pretrained(folder / TEXT)
            kept[name] = TEXT
        elif name in encoders:  # whose weights are read, as for MedKLIP's texts
            shutil.copytree(value, folder / TEXT)
            kept[name] = TEXT
        else:
            kept[name] = "" if is_place(value) else value
    return kept


def is_place(value: Any) -> bool:
    """Whether a setting names a file or a folder of this machine."""
    if not isinstance(value, str) or not value:
        return False
    try:
        return Path(value).is_absolute() or Path(value).exists()
    except OSError:  # a long text is no path
        return False


@torch.inference_mode()
def _check(subject: Subject, folder: Path) -> dict[str, float]:
    opened = replace(subject, network=load_method(folder))
    grey = example(subject.preparation)
    ours = subject.image_features(grey)
    differences = {"image features": expect_same(opened.image_features(grey), ours, "image features")}
    try:
        wanted = subject.network.embed_texts(SAMPLES)
    except NotImplementedError:
        return differences
    found = opened.network.embed_texts(SAMPLES)
    return differences | {"vectors of texts": expect_same(found, wanted, "vectors of texts")}
