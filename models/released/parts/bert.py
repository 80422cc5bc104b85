"""BERT text towers in the names of transformers, built from the folder that a release names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from models.errors import ModelError

CONFIG = "config.json"
FIELDS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act",
)  # fmt: skip
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # which older versions of transformers wrote


def expect_folder(texts: Path | None, which: str) -> Path:
    """The folder of a text encoder, whose vocabulary a checkpoint lacks; ModelError names `which` it has to be."""
    if texts is None or not (texts / CONFIG).is_file():
        given = "none was given" if texts is None else f"{texts} holds no {CONFIG}"
        raise ModelError(f"the folder of the text encoder ({which}) is needed for its vocabulary, and {given}")
    return texts


def describe_bert(state: Mapping[str, Tensor], texts: Path) -> dict[str, Any]:
    """What `bert` needs: the configuration in the folder, with the sizes that the weights have."""
    content = json.loads((texts / CONFIG).read_text(encoding="utf-8"))
    fields = {name: content[name] for name in FIELDS if name in content}
    try:
        words = state["embeddings.word_embeddings.weight"].shape
        positions = state["embeddings.position_embeddings.weight"].shape
        inner = state["encoder.layer.0.intermediate.dense.weight"].shape
    except KeyError as error:
        raise ModelError(f"the text tower lacks the weight {error}") from None
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.layer.")}
    sizes = {
        "vocab_size": int(words[0]), "hidden_size": int(words[1]), "max_position_embeddings": int(positions[0]),
        "intermediate_size": int(inner[0]), "num_hidden_layers": len(layers),
    }  # fmt: skip
    return {**fields, **sizes}


def bert(fields: Mapping[str, Any], pooler: bool = False) -> Any:
    """transformers' BertModel with random weights."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**fields), add_pooling_layer=pooler)


def without_buffers(state: Mapping[str, Tensor], pooler: bool = False) -> dict[str, Tensor]:
    """The weights of a tower without what is no weight, and without its pooler unless that is used."""
    return {
        name: tensor
        for name, tensor in state.items()
        if name not in BUFFERS and (pooler or not name.startswith("pooler."))
    }
