"""How well every word of a text is found in an image (Huang et al., GLoRIA, ICCV 2021: the local contrastive loss).

A word attends to the regions of an image; the cosine of the word with what it has seen, over all words of the text, is
the similarity of the text and the image. All images are compared with all texts at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from models.errors import ModelError
from models.losses.precision import at_least_float32

EPSILON = 1e-8  # below which a product of two lengths counts as none
MOST_WEIGHTS = 2**26  # attention weights held at once: 256 MB of float32 for each tensor of that shape


@dataclass(frozen=True)
class WordRegionSimilarity:
    """Z(image, text), the logarithm of the sum over the words w of exp(cos(c_w, w) / `word_temperature`).

    c_w is the mean of the regions r weighted by the attention of w, the softmax over the regions of
    (r . w) / `attention_temperature`. Temperatures divide; the authors' code multiplies by their inverses.
    """

    attention_temperature: float = 1 / 4  # tau_1
    word_temperature: float = 1 / 5  # tau_2
    attention: str = "regions"  # words_regions: the code's, a softmax over the words before that over the regions
    aggregation: str = "sum"  # of the words: sum, mean (of the exponentials), or max, the code's when it classifies

    def __post_init__(self) -> None:
        if self.attention not in ("regions", "words_regions"):
            raise ModelError(f"attention of words is `regions` or `words_regions`, not `{self.attention}`")
        if self.aggregation not in ("sum", "mean", "max"):
            raise ModelError(f"aggregation of words is `sum`, `mean` or `max`, not `{self.aggregation}`")
        if min(self.attention_temperature, self.word_temperature) <= 0:
            raise ModelError("temperatures of words and regions divide and have to be above 0")

    def __call__(self, regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Z of every image with every text, (images, texts); 0 for a text without words.

        `regions` (images, regions, dim), `words` (texts, words, dim), `mask` (texts, words), True for a word. Texts are
        taken in chunks when the attention of all would exceed `MOST_WEIGHTS`; with gradients, a chunk's attention is
        then computed again in the backward pass instead of being kept.
        """
        with torch.autocast(regions.device.type, enabled=False):
            regions, words = at_least_float32(regions), at_least_float32(words)
            products = regions @ regions.transpose(1, 2)
            at_once = max(1, MOST_WEIGHTS // max(1, regions[..., 0].numel() * words.shape[1]))
            chunks = list(zip(words.split(at_once), mask.split(at_once), strict=True))
            if len(chunks) == 1:
                return self._compare(regions, products, *chunks[0])
            parts = [checkpoint(self._compare, regions, products, *chunk, use_reentrant=False) for chunk in chunks]
            return torch.cat(parts, dim=1)

    def attend(self, regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Attention (images, texts, words, regions) of every word of every text, summing to 1 over the regions.

        Shapes as above. What it says of words outside the mask has no meaning.
        """
        with torch.autocast(regions.device.type, enabled=False):
            return self._weights(_products(at_least_float32(regions), at_least_float32(words)), mask)

    def _weights(self, products: Tensor, mask: Tensor) -> Tensor:
        """Attention from the inner products (images, texts, words, regions) of words and regions."""
        if self.attention == "words_regions":
            products = _softmax(_without_padding(products, mask[..., None]), 2)
        return _softmax(products / self.attention_temperature, -1)

    def _compare(self, regions: Tensor, region_products: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Z from the inner products alone: c . w and |c|^2 are sums over them, so that no c is ever formed."""
        products = _products(regions, words)
        weights = self._weights(products, mask)
        matched = (weights * products).sum(-1)
        squared = (torch.einsum("itws,isr->itwr", weights, region_products) * weights).sum(-1)
        lengths = squared.clamp_min(EPSILON**2).sqrt() * words.norm(dim=-1)
        return self._aggregate(matched / lengths.clamp_min(EPSILON) / self.word_temperature, mask)

    def _aggregate(self, scores: Tensor, mask: Tensor) -> Tensor:
        """(images, texts, words) -> (images, texts), over the words of the mask."""
        scores = _without_padding(scores, mask)
        together = scores.amax(-1) if self.aggregation == "max" else scores.logsumexp(-1)
        counts = mask.sum(-1)
        if self.aggregation == "mean":
            together = together - counts.clamp_min(1).to(scores).log()
        return torch.where(counts > 0, together, 0)


def _products(regions: Tensor, words: Tensor) -> Tensor:
    """Inner products (images, texts, words, regions)."""
    return torch.einsum("isd,twd->itws", regions, words)


def _softmax(scores: Tensor, dim: int) -> Tensor:
    """Softmax whose smallest values are far below the rounding of the largest, but not denormal.

    Inner products are not normalised, so that attention is often sharp; products of denormal numbers are slow on a CPU,
    and made this loss twelve times as slow.
    """
    below = scores - scores.detach().amax(dim, keepdim=True)
    return below.clamp_min(2 * math.log(torch.finfo(scores.dtype).eps)).softmax(dim)


def _without_padding(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores that count for nothing where there is no word; finite, so that a text without words is no NaN."""
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
