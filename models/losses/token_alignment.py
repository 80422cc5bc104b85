"""MGCA's cross-attention-based token-wise alignment, within each pair of image and report.

Wang et al., NeurIPS 2022, arXiv 2210.06044, section 3.3, equations 4 and 5: a token should be more like what it attends
to in the other modality than like what the other tokens of its sample attend to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses.precision import at_least_float32

CLIPPED_BETWEEN = 0.1, 0.9  # quantiles; the authors' code clips attention there


def token_alignment(tokens: Tensor, attended: Tensor, weights: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Loss (batch,) of one side, equation 5 without its mean over the batch.

    `tokens` (batch, length, dim), L2-normalised; `attended` (batch, length, dim), what each attends to on the other
    side; `weights` (batch, length) of the tokens as queries, 0 at padding (see `attention_weights`); `mask` (batch,
    length), True for the tokens that take part as negatives. Similarities are divided by `temperature`. The
    cross-entropies of tokens against attended vectors and of attended vectors against tokens are averaged. A sample
    without a token contributes 0.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        logits = at_least_float32(tokens) @ at_least_float32(attended).transpose(1, 2) / temperature
    nothing = torch.finfo(logits.dtype).min  # and not -inf, which would give NaN where there is no token at all
    rows = logits.masked_fill(~mask[:, None], nothing).logsumexp(2)
    columns = logits.masked_fill(~mask[:, :, None], nothing).logsumexp(1)
    entropies = (rows + columns) / 2 - logits.diagonal(dim1=1, dim2=2)
    return (weights * torch.where(weights > 0, entropies, 0)).sum(1)


def attention_weights(attention: Tensor, mask: Tensor, clipped: bool = False) -> Tensor:
    """Weights (batch, length) of the tokens in their loss, from the encoder's own `attention` (batch, length) on them.

    Paper: the attention, over the number of tokens. Code (`clipped`): within each sample the attention is clipped to
    between its 10 % and 90 % quantile and divided by its sum; tokens without attention stay without weight.
    """
    attention = at_least_float32(attention) * mask
    if not clipped:
        return attention / mask.sum(1, keepdim=True).clamp_min(1)
    some = attention != 0
    lowest, highest = (masked_quantile(attention, some, part) for part in CLIPPED_BETWEEN)
    kept = torch.where(some, attention.clamp(lowest, highest), 0)
    return kept / kept.sum(1, keepdim=True).clamp_min(torch.finfo(kept.dtype).tiny)


def masked_quantile(values: Tensor, mask: Tensor, quantile: float) -> Tensor:
    """(batch, 1) quantile of the entries of each row of `values` (batch, length) where `mask` is True; 0 if nowhere.

    Between two entries it is interpolated linearly, as torch.quantile does; nothing leaves the device.
    """
    ordered = torch.where(mask, values, torch.inf).sort(1).values
    last = (mask.sum(1, keepdim=True) - 1).clamp_min(0)
    position = last.to(values.dtype) * quantile
    below, above = (ordered.gather(1, rank.long()) for rank in (position.floor(), position.ceil()))
    return torch.where(mask.any(1, keepdim=True), below.lerp(above, position.frac()), 0)
