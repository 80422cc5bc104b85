"""Contrast of images with the sentences of all reports, a report having several (Seibold et al., arXiv 2205.07139).

The authors' loss is not public beyond its idea, that local features of images meet sentences. What is here are choices:
an image is a softmax over all sentences whose own are all positives, a sentence a softmax over the images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.precision import at_least_float32


def sentence_contrast(
    logits: Tensor, present: Tensor, excluded: Tensor | None = None, each_positive: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean losses of image to sentences, over the images, and of sentence to images, over the sentences.

    `logits` (images, images * sentences) compare every image with the sentences of the first report, then with those of
    the second, and so on; `present` (images, sentences) is True for a sentence. Pairs in `excluded`, as `logits`, are
    neither positives nor negatives, unless they belong together. An image's loss is -log of the probability that its
    sentences have together or, with `each_positive`, the mean over them of -log of that of each.
    """
    logits, (images, sentences) = at_least_float32(logits), present.shape
    nothing = torch.finfo(logits.dtype).min
    there, of = present.flatten(), torch.arange(images * sentences, device=logits.device) // sentences
    own = (of == torch.arange(images, device=logits.device)[:, None]) & there
    candidates = own | (there if excluded is None else there & ~excluded)
    compared = logits.masked_fill(~candidates, nothing)
    to_sentences = compared.logsumexp(1) - _of_positives(logits, own, each_positive)
    positives = logits.gather(0, of[None])[0]
    to_images = compared.logsumexp(0) - positives
    return _mean(to_sentences, present.any(1)), _mean(to_images, there)


def repeated_elsewhere(ids: Tensor, present: Tensor) -> Tensor:
    """(reports, reports * sentences) bool: whether a report has a sentence too, of whichever report it is.

    `ids` (reports, sentences, length) are padded alike, and `present` is (reports, sentences).
    """
    numbers = ids.flatten(0, 1).unique(dim=0, return_inverse=True)[1]
    there = present.flatten()
    same = (numbers[:, None] == numbers) & there[:, None] & there
    return same.unflatten(0, present.shape).any(1)


def _of_positives(logits: Tensor, own: Tensor, each: bool) -> Tensor:
    """(images,) what is compared with the sum over all candidates."""
    if each:
        return torch.where(own, logits, 0).sum(1) / own.sum(1).clamp_min(1)
    return logits.masked_fill(~own, torch.finfo(logits.dtype).min).logsumexp(1)


def _mean(losses: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, losses, 0).sum() / counted.sum().clamp_min(1)
