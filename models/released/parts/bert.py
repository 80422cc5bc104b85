"""BERT text towers in the names of transformers, built from the folder that a release names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.errors import ModelError
from models.method import Tokens
from models.released.parts.states import size
from models.text.tokenizer import WordPieceTokenizer

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
    words = "embeddings.word_embeddings.weight"
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.layer.")}
    sizes = {
        "vocab_size": size(state, words), "hidden_size": size(state, words, 1), "num_hidden_layers": len(layers),
        "max_position_embeddings": size(state, "embeddings.position_embeddings.weight"),
        "intermediate_size": size(state, "encoder.layer.0.intermediate.dense.weight"),
    }  # fmt: skip
    heads = fields.get("num_attention_heads", sizes["hidden_size"] // 64)
    if not isinstance(heads, int) or heads < 1 or sizes["hidden_size"] % heads:
        raise ModelError(
            f"the text tower's width {sizes['hidden_size']} cannot be shared among the {heads} heads that "
            f"{texts / CONFIG} states"
        )
    return {**fields, **sizes, "num_attention_heads": heads}


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


class BertPieces(WordPieceTokenizer):
    """BERT's own tokenizer on a folder's vocabulary, whatever program for its texts the folder names."""

    @staticmethod
    def load(folder: str) -> Any:
        """transformers' BertTokenizer."""
        from transformers import BertTokenizer

        return BertTokenizer.from_pretrained(folder)


class Prompts(BertPieces):
    """As BioViL reads prompts: without the punctuation that ends them."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, not padded."""
        return super().encode([text.rstrip("!?.") for text in texts])


@dataclass(frozen=True)
class Read:
    """What a BERT says of texts."""

    hidden: tuple[Tensor, ...]  # (texts, length, width): the embeddings, then every layer
    pooled: Tensor | None  # (texts, width), of towers with a pooler

    @property
    def last(self) -> Tensor:
        """(texts, length, width) of the last layer."""
        return self.hidden[-1]


class TextTower(nn.Module):
    """A BERT with the tokenizer of a folder, in evaluation of others' weights.

    ModelError where the tokenizer has more pieces than `fields` say that the weights have.
    """

    def __init__(self, fields: Mapping[str, Any], tokenizer: WordPieceTokenizer, pooler: bool = False) -> None:
        super().__init__()
        self.bert = bert(fields, pooler)
        self.width = int(fields["hidden_size"])
        self.tokenizer = tokenizer
        if tokenizer.vocabulary > fields["vocab_size"]:
            raise ModelError(
                f"the vocabulary of the text encoder's folder has {tokenizer.vocabulary} pieces, and the weights have "
                f"{fields['vocab_size']}: give the folder that goes with them"
            )
        if tokenizer.length > fields["max_position_embeddings"]:
            raise ModelError(
                f"texts have up to {tokenizer.length} tokens, and the text tower knows "
                f"{fields['max_position_embeddings']} positions"
            )

    def forward(self, tokens: Tokens) -> Read:
        """Hidden states of all layers."""
        output = self.bert(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True)
        return Read(output.hidden_states, output.pooler_output)
