"""Text encoders: BERT through transformers, from the hub, from a folder, or from scratch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.losses.precision import at_least_float32
from models.method import Tokens
from models.text.folders import encoder_folder, quiet, reachable
from models.text.tokenizer import WordPieceTokenizer

MAXIMUM_TOKENS = 128  # MedKLIP, pre-training
CPU = torch.device("cpu")
HEAD_WIDTH = 64  # of every published BERT
SCRATCH = re.compile(r"bert/(\d+)x(\d+)")


@dataclass(frozen=True)
class TextFeatures:
    """What a BERT says of texts."""

    layers: tuple[Tensor, ...]  # (batch, length, dim) hidden states: the embeddings, then every layer
    attention: Tensor | None  # (batch, heads, length) from [CLS] in the last layer, where requested

    @property
    def tokens(self) -> Tensor:
        """(batch, length, dim) of the last layer."""
        return self.layers[-1]


class TextEncoder(nn.Module):
    """A BERT. `name` is a hub name, a folder, `all-MiniLM-L6-v2`, or `bert/2x128`: 2 layers of width 128 from scratch.

    `layers` keeps the first so many (0: all); `frozen_layers` freezes the embeddings and the first so many layers
    (0: nothing). With `weights=False` the architecture is built and left at random: a checkpoint's follow. Without
    `positions` every token stands at the first place and has no type, so that the order of words says nothing.
    """

    def __init__(
        self, name: str, weights: bool = True, layers: int = 0, frozen_layers: int = 0, positions: bool = True
    ) -> None:
        super().__init__()
        self.bert = _bert(name, weights, layers)
        self.positions = positions
        if not positions:
            types = self.bert.embeddings.token_type_embeddings.weight.requires_grad_(False)
            types.zero_()
        self.dim = int(self.bert.config.hidden_size)
        if frozen_layers:
            there = len(self.bert.encoder.layer)
            if weights and frozen_layers > there:  # a saved network has been trained so
                raise ModelError(
                    f"frozen_layers is {frozen_layers}, but text encoder `{name}` has {there} layers; set it to 0 for "
                    f"none, or at most to {there}"
                )
            for part in (self.bert.embeddings, *self.bert.encoder.layer[:frozen_layers]):
                part.requires_grad_(False)

    def forward(self, tokens: Tokens, attention: bool = False) -> TextFeatures:
        """Hidden states of all layers and, with `attention`, the last layer's attention from [CLS]."""
        places = None if self.positions else torch.zeros_like(tokens.ids)
        output = self.bert(
            input_ids=tokens.ids, attention_mask=tokens.mask.long(), position_ids=places, output_hidden_states=True
        )
        layers = output.hidden_states
        return TextFeatures(layers, self._attention(layers[-2].detach(), tokens.mask) if attention else None)

    def _attention(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The row of [CLS] in the last layer, beside the fused attention: (batch, heads, length), no gradient."""
        attend = self.bert.encoder.layer[-1].attention.self
        with torch.no_grad():
            heads = attend.num_attention_heads
            query = attend.query(hidden[:, :1]).unflatten(-1, (heads, -1)).transpose(1, 2)
            key = attend.key(hidden).unflatten(-1, (heads, -1)).transpose(1, 2)
            logits = at_least_float32(query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
            return logits.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)[:, :, 0]


def _bert(name: str, weights: bool, layers: int) -> Any:
    from transformers import AutoConfig, AutoModel

    folder = encoder_folder(name)
    with reachable("configuration", name):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.model_type != "bert":
        raise ModelError(f"text encoder `{name}` is a {config.model_type}; choose a BERT")
    scratch = SCRATCH.fullmatch(name)
    if name.startswith("bert/") and not scratch:
        raise ModelError(f"text encoder `{name}` is not understood: from scratch is `bert/2x128`, layers by width")
    if scratch:
        config.num_hidden_layers, config.hidden_size = (int(number) for number in scratch.groups())
        config.num_attention_heads = max(1, config.hidden_size // HEAD_WIDTH)
        config.intermediate_size = 4 * config.hidden_size
    if layers > config.num_hidden_layers:
        raise ModelError(f"text encoder `{name}` has {config.num_hidden_layers} layers, not {layers}")
    config.num_hidden_layers = layers or config.num_hidden_layers
    if scratch or not weights:
        return AutoModel.from_config(config, add_pooling_layer=False)
    with reachable("weights", name), quiet():
        model, report = AutoModel.from_pretrained(
            folder, config=config, add_pooling_layer=False, output_loading_info=True, trust_remote_code=False
        )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"text encoder `{name}` lacks {len(missing)} weights, the first is `{missing[0]}`")
    for weight, tensor in model.named_parameters():
        if not tensor.isfinite().all():
            raise ModelError(
                f"`{weight}` of text encoder `{name}` has numbers that are not finite; get its files again"
            )
    if WordPieceTokenizer(name, MAXIMUM_TOKENS).vocabulary > config.vocab_size:
        raise ModelError(
            f"the tokenizer of text encoder `{name}` has more pieces than its weights have; get its files again"
        )
    return model


@torch.inference_mode()
def embed_texts(
    name: str,
    texts: Sequence[str],
    pooling: str,
    maximum_tokens: int = MAXIMUM_TOKENS,
    device: torch.device = CPU,
) -> Tensor:
    """(texts, width) vectors of a frozen encoder, in fp32: `pooling` is `cls` (MedKLIP) or `mean` over the tokens."""
    tokens = WordPieceTokenizer(name, maximum_tokens)(texts).to(device)
    with torch.autocast(device.type, enabled=False):
        hidden = TextEncoder(name).eval().to(device)(tokens).tokens
    if pooling == "cls":
        return hidden[:, 0].clone()
    mask = tokens.mask[..., None]
    return (hidden * mask).sum(1) / mask.sum(1)
