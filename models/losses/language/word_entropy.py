"""Cross-entropy of words, as sums and counts of each text, so that the mean is one over all words of the batch.

A mean of the means of texts would give the words of short texts more weight. Image captioning divides by the real words
of the batch (Xu et al., ICML 2015, in the code that is used most), masked-language modelling by its masked tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.losses.contrast.soft_cross_entropy import soft_cross_entropy
from models.losses.precision import at_least_float32


def mean_over_words(sums: Tensor, counts: Tensor) -> Tensor:
    """The scalar loss of the whole batch from `chosen_entropies` (texts,); 0 for a batch without targets."""
    return sums.sum() / counts.sum().clamp_min(1)


def chosen_entropies(logits: Tensor, targets: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of -log p(target) and number of targets of each text, (texts,) both, in float32 at least.

    `logits` (words, vocabulary) and `targets` (words,) are of the words where `chosen` (texts, length) is True, in that
    order: with large vocabularies those of padding would be expensive.
    """
    with torch.autocast(logits.device.type, enabled=False):
        entropies = F.cross_entropy(at_least_float32(logits), targets, reduction="none")
    placed = entropies.new_zeros(chosen.shape).masked_scatter(chosen, entropies)
    return placed.sum(1), chosen.sum(1).to(entropies.dtype)


def distilled_entropies(logits: Tensor, targets: Tensor, chosen: Tensor) -> Tensor:
    """(texts,) as the sums of `chosen_entropies`, where `targets` (words, vocabulary) are distributions."""
    with torch.autocast(logits.device.type, enabled=False):
        entropies = soft_cross_entropy(logits, targets)
    return entropies.new_zeros(chosen.shape).masked_scatter(chosen, entropies).sum(1)
