"""The post-softmax attention of a vision transformer's layers, read beside its fused attention.

The network runs as it always does. Hooks keep the queries and keys it computes anyway (for `nn.MultiheadAttention`,
which hides them, they are computed once more), and softmax(q k^T / sqrt(d)) is computed from them, without gradients,
for whoever asks. Hooks that are there but switched off cost a comparison per layer. They stay attached because a
compiled network does not see hooks that come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import ModelError


@dataclass(frozen=True)
class LayerAttention:
    """What one layer's attention is made of, without gradients."""

    queries: Tensor  # (batch, heads, tokens, head_dim)
    keys: Tensor  # (batch, heads, tokens, head_dim)
    scale: float  # head_dim ** -0.5 as a rule

    @torch.no_grad()
    def weights(self, queries: slice = slice(None), padding: Tensor | None = None) -> Tensor:
        """(batch, heads, queries, tokens), float32 or float64; `padding` (batch, tokens) bool is True where masked."""
        scores = (self.queries[:, :, queries] * self.scale) @ self.keys.transpose(-2, -1)
        if padding is not None:
            scores = scores.masked_fill(padding[:, None, None], -torch.inf)
        return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


class AttentionRecorder:
    """Queries and keys of transformer blocks, kept while the recorder is entered.

    >>> recorder = AttentionRecorder(transformer_blocks(vit))
    >>> with recorder as layers:
    ...     vit(images)
    >>> layers[-1].weights()  # (batch, heads, tokens, tokens)
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        self._layers: list[LayerAttention] | None = None
        self._queries: Tensor | None = None
        self._handles = [handle for block in blocks for handle in self._attach(block)]

    def __enter__(self) -> list[LayerAttention]:
        self._layers = []
        return self._layers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._layers = self._queries = None

    def remove(self) -> None:
        """Take the hooks off again."""
        for handle in self._handles:
            handle.remove()

    def _attach(self, block: nn.Module) -> list[Any]:
        """Hooks on the attention of one block of timm, open_clip or `nn.TransformerEncoder`."""
        attention = getattr(block, "attn", None) or getattr(block, "self_attn", None)
        if isinstance(attention, nn.MultiheadAttention):
            return [attention.register_forward_pre_hook(self._project)]
        if attention is None or not {"q_norm", "k_norm", "scale"} <= set(dir(attention)):
            raise ModelError(
                f"the attention of `{type(block).__name__}` cannot be read: use a plain ViT of timm or CLIP"
            )
        # timm passes queries and keys through these two layers, identities in most networks.
        keep_queries = attention.q_norm.register_forward_hook(self._keep_queries)
        scale = float(attention.scale)
        return [keep_queries, attention.k_norm.register_forward_hook(partial(self._keep_keys, scale))]

    def _keep_queries(self, module: nn.Module, inputs: tuple[Tensor, ...], queries: Tensor) -> None:
        if self._layers is not None:
            self._queries = queries.detach()

    def _keep_keys(self, scale: float, module: nn.Module, inputs: tuple[Tensor, ...], keys: Tensor) -> None:
        if self._layers is not None and self._queries is not None:
            self._layers.append(LayerAttention(self._queries, keys.detach(), scale))

    def _project(self, attention: nn.MultiheadAttention, inputs: tuple[Tensor, ...]) -> None:
        if self._layers is not None:
            with torch.no_grad():
                self._layers.append(_queries_and_keys(attention, inputs[0]))


def _queries_and_keys(attention: nn.MultiheadAttention, tokens: Tensor) -> LayerAttention:
    """Queries and keys of `tokens` (batch, tokens, width), the values left out."""
    width, heads = attention.embed_dim, attention.num_heads
    bias = attention.in_proj_bias[: 2 * width] if attention.in_proj_bias is not None else None
    projected = F.linear(tokens, attention.in_proj_weight[: 2 * width], bias)
    queries, keys = projected.unflatten(-1, (2, heads, width // heads)).permute(2, 0, 3, 1, 4)
    return LayerAttention(queries, keys, (width // heads) ** -0.5)


@torch.no_grad()
def attention_of(block: Any, hidden: Tensor) -> LayerAttention:
    """What the attention of a block, of timm or CLIP, is made of where `hidden` (batch, tokens, width) enters it."""
    if isinstance(block.attn, nn.MultiheadAttention):
        return _queries_and_keys(block.attn, block.ln_1(hidden))
    attention = block.attn
    projected = attention.qkv(block.norm1(hidden)).unflatten(-1, (3, attention.num_heads, -1))
    queries, keys, _ = projected.permute(2, 0, 3, 1, 4).unbind(0)
    return LayerAttention(attention.q_norm(queries), attention.k_norm(keys), float(attention.scale))


def transformer_blocks(vit: nn.Module) -> Sequence[nn.Module]:
    """The blocks of a ViT of timm (`blocks`) or of CLIP (`transformer.resblocks`), first layer first."""
    blocks = getattr(vit, "blocks", None)
    if blocks is None:
        blocks = getattr(getattr(vit, "transformer", None), "resblocks", None)
    if blocks is None:
        raise ModelError(f"`{type(vit).__name__}` has no transformer blocks: choose a ViT as image encoder")
    return list(blocks)


def attention_maps(vit: nn.Module, images: Tensor, layers: slice = slice(None)) -> Tensor:
    """Attention (layers, batch, heads, tokens, tokens) of the chosen layers of a ViT on `images`."""
    recorder = AttentionRecorder(transformer_blocks(vit)[layers])
    try:
        with recorder as recorded, torch.no_grad():
            vit(images)
            return torch.stack([layer.weights() for layer in recorded])
    finally:
        recorder.remove()
