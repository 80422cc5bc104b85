"""LRCLR's cross-modality transformer: selected image tokens and the tokens of a text look at each other.

The paper gives its input (class token and selected patches, then the text, in one sequence) and its outputs (what the
two class tokens have become), and leaves depth, heads, width and embeddings open; the choices here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders.attention import AttentionRecorder
from models.errors import ModelError

EMBEDDINGS = ("none", "learned")
EMBEDDING_STD = 0.02  # of BERT's and ViT's embeddings at the start


@dataclass(frozen=True)
class TextSequence:
    """Texts as a text transformer left them."""

    tokens: Tensor  # (batch, length, dim)
    mask: Tensor  # (batch, length) bool: True for a token, False for padding

    def at(self, rows: Tensor) -> TextSequence:
        """The texts of `rows` (texts,) int64."""
        return TextSequence(self.tokens[rows], self.mask[rows])

    def padded(self, length: int) -> TextSequence:
        """The same with `length` positions, at least as many as the longest text has."""
        missing = length - self.mask.shape[1]
        return TextSequence(F.pad(self.tokens, (0, 0, 0, missing)), F.pad(self.mask, (0, missing)))


class CrossModality(nn.Module):
    """A pre-norm transformer over [image tokens; text tokens], both projected to one width.

    `types` (a vector per modality) and `positions` (one per place, counted in each modality by itself) are `none` or
    `learned`. By default only types are added: tokens bring their positions along from their own towers, and the
    selected patches have the order of the heads that chose them.
    """

    def __init__(
        self, image_dim: int, text_dim: int, regions: int, context: int, width: int = 512, layers: int = 2,
        heads: int = 8, types: str = "learned", positions: str = "none",
    ) -> None:  # fmt: skip
        super().__init__()
        for name, kind in (("types", types), ("positions", positions)):
            if kind not in EMBEDDINGS:
                raise ModelError(f"{name} of the cross-modality transformer are `none` or `learned`, not `{kind}`")
        if width % heads:
            raise ModelError(f"a cross-modality transformer of width {width} cannot be shared among {heads} heads")
        self.image_projection, self.text_projection = nn.Linear(image_dim, width), nn.Linear(text_dim, width)
        self.types = _embeddings(2, width, types)
        self.image_positions = _embeddings(1 + regions, width, positions)
        self.text_positions = _embeddings(context, width, positions)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        # Vectors begin with unit length, so that the local loss, which has no temperature, begins on cosines.
        nn.init.constant_(self.norm.weight, width**-0.5)
        self._recorder = AttentionRecorder([self.layers.layers[-1]])

    def forward(self, image: Tensor, text: TextSequence) -> tuple[Tensor, Tensor]:
        """v_l and t_l, (batch, width) each: the image's class token and the text's end token, side by side.

        `image` is (batch, 1 + regions, image_dim) with the class token first.
        """
        hidden = self.norm(self.layers(self._sequence(image, text), src_key_padding_mask=_padding(image, text)))
        end = image.shape[1] + text.mask.sum(1) - 1
        return hidden[:, 0], hidden[torch.arange(len(hidden), device=hidden.device), end]

    @torch.no_grad()
    def attention(self, image: Tensor, text: TextSequence) -> Tensor:
        """(batch, regions): how much the text's end token attends to each region, last layer, mean over the heads."""
        with self._recorder as recorded:
            self(image, text)
            weights = recorded[0].weights(padding=_padding(image, text)).mean(1)
        end = image.shape[1] + text.mask.sum(1) - 1
        return weights[torch.arange(len(weights), device=weights.device), end, 1 : image.shape[1]]

    def _sequence(self, image: Tensor, text: TextSequence) -> Tensor:
        seen, read = self.image_projection(image), self.text_projection(text.tokens)
        if self.types is not None:
            seen, read = seen + self.types[0], read + self.types[1]
        if self.image_positions is not None and self.text_positions is not None:
            seen, read = seen + self.image_positions, read + self.text_positions[: read.shape[1]]
        return torch.cat([seen, read], 1)


def _padding(image: Tensor, text: TextSequence) -> Tensor:
    """(batch, tokens) bool, True where nobody looks."""
    return torch.cat([text.mask.new_zeros(image.shape[:2]), ~text.mask], 1)


def _embeddings(count: int, width: int, kind: str) -> nn.Parameter | None:
    return nn.Parameter(torch.randn(count, width) * EMBEDDING_STD) if kind == "learned" else None
