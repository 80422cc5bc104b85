"""One patch per attention head: the one whose attention reaches the class token through the layers.

LRCLR's region selection, which follows TransFG (He et al., arXiv 2103.07976, part selection module): per head the plain
product of the attention matrices, the later times the earlier, without identity and without renormalisation; of its
class row the largest patch. LRCLR's equation 4 multiplies the matrices of all layers, TransFG all but the last: both
are there. Equation 3 of LRCLR prints a product with the values V, an error: the product of several
layers needs matrices of tokens by tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from models.encoders.attention import AttentionRecorder, LayerAttention, attention_of, transformer_blocks
from models.encoders.image import ImageFeatures
from models.errors import ModelError

CLASS_ROW, ALL_ROWS = slice(0, 1), slice(None)


@dataclass(frozen=True)
class Regions:
    """The patches that the heads of a vision transformer chose, and the tokens at them."""

    pooled: Tensor  # (batch, dim) class token
    tokens: Tensor  # (batch, 1 + heads, dim): the class token, then one patch token per head
    index: Tensor  # (batch, heads) int64: which patch, row by row; heads may agree
    grid: tuple[int, int]  # rows and columns of the patches
    score: Tensor  # (batch, heads): the product's entry of that patch, by which regions are ranked


@dataclass(frozen=True)
class SelectedRegions:
    """The selected regions, and the attention of prompts to them."""

    index: Tensor  # (batch, heads) int64: patches, row by row; heads may agree
    grid: tuple[int, int]  # rows and columns of patches
    attention: Tensor  # (batch, prompts, heads): of a prompt's end token to each region, at most 1 in sum
    score: Tensor  # (batch, heads): of each region in the product of the attention matrices

    def maps(self) -> Tensor:
        """(batch, prompts, rows, columns): the attention at its patches, 0 elsewhere."""
        batch, prompts, heads = self.attention.shape
        where = self.index[:, None].expand(batch, prompts, heads)
        maps = self.attention.new_zeros(batch, prompts, self.grid[0] * self.grid[1])
        return maps.scatter_add(2, where, self.attention).unflatten(2, self.grid)


@torch.no_grad()
def attention_product(matrices: Iterable[Tensor], rows: slice = CLASS_ROW) -> Tensor:
    """A_L ... A_2 A_1 of attention matrices (batch, heads, tokens, tokens): (batch, heads, rows, tokens).

    `matrices` begins with the LAST layer and may be a generator: one is needed at a time, and the class row alone
    costs a vector-matrix product per layer.
    """
    remaining = iter(matrices)
    product = next(remaining)[:, :, rows]
    with torch.autocast(product.device.type, enabled=False):
        # A vector-matrix kernel rounds equal columns apart; accumulated in float64 and rounded once, they stay equal.
        return reduce(lambda later, earlier: later @ earlier.double(), remaining, product.double()).to(product.dtype)


def strongest_patches(product: Tensor, prefix: int = 1) -> tuple[Tensor, Tensor]:
    """Value and patch index (batch, heads) of the largest entry in the class row; of equal ones the lowest index.

    `product` is (batch, heads, rows, tokens) with the class row first; `prefix` tokens stand before the patches.
    """
    value, index = product[:, :, 0, prefix:].max(-1)
    return value, index


def take_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (batch, heads) of `tokens` (batch, tokens, dim): (batch, heads, dim)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


class RegionSelection:
    """Runs a vision transformer and selects regions on the way. It holds hooks, no weights.

    With `rerun` the last block sees only [class token; selected patches], as in TransFG, and the class token of the
    network is what it makes of them; the transformer is then run through this object alone. Without, the network stays
    as it is, and the tokens are the selected ones of its last layer.
    """

    def __init__(self, vit: nn.Module, rerun: bool, every_layer: bool = False) -> None:
        *before, last = transformer_blocks(vit)
        if not before:
            raise ModelError("regions are selected by the layers before the last: choose a ViT of two layers or more")
        self.rerun, self.every_layer = rerun, every_layer
        self.heads = int(last.attn.num_heads)  # type: ignore[union-attr,arg-type]
        self.prefix = int(getattr(vit, "num_prefix_tokens", 1))
        self._recorder = AttentionRecorder(before)
        self._layers: list[LayerAttention] = []
        self._index: Tensor | None = None
        self._score: Tensor | None = None
        last.register_forward_pre_hook(self._before_last)

    def __call__(self, encode: Callable[[Tensor], ImageFeatures], images: Tensor) -> Regions:
        """Regions of `images`, which `encode` sends through the transformer."""
        self.forget()
        with self._recorder as self._layers:
            features = encode(images)
        self._layers = []
        assert self._index is not None
        assert self._score is not None
        local = features.local if self.rerun else take_tokens(features.local, self._index)
        tokens = torch.cat([features.pooled[:, None], local], 1)
        return Regions(features.pooled, tokens, self._index, features.grid, self._score)

    def forget(self) -> None:
        """Let all patches through the last block, until regions are selected again."""
        self._index = None

    def _before_last(self, block: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._layers:  # none when gradient checkpointing runs the block again: the selection stays
            last = [attention_of(block, inputs[0])] if self.every_layer else []
            product = attention_product(layer.weights() for layer in reversed([*self._layers, *last]))
            self._score, self._index = strongest_patches(product, self.prefix)
        if not self.rerun or self._index is None:
            return None
        hidden = inputs[0]
        selected = take_tokens(hidden, self._index + self.prefix)
        return (torch.cat([hidden[:, : self.prefix], selected], 1), *inputs[1:])
