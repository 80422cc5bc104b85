"""WordPiece pieces summed into words (GLoRIA and MGCA): "cardio ##meg ##aly" becomes one vector.

Everything is batched; no string is looked at. What is a continuation is read from `Tokenizer.continues`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def word_index(ids: Tensor, continues: Tensor) -> Tensor:
    """Which word, counted from 0 at [CLS], each token belongs to.

    `ids` (batch, length) and `continues` (vocabulary,), True for a "##" piece. Returns (batch, length) int64. Special
    tokens are words of their own, [SEP] included.
    """
    starts = ~continues[ids]
    starts[:, :1] = True
    return starts.cumsum(1) - 1


def aggregate(features: Tensor, ids: Tensor, continues: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the vectors of each word's pieces; what is left of the length is filled with zeros.

    `features` (batch, length, dim), `ids` and `mask` (batch, length), mask True where there is a token, `continues`
    (vocabulary,). Returns the words (batch, length, dim), in order, [CLS] first and [SEP] last, and their mask
    (batch, length). Attention (batch, length) is summed in the same way as features of width one.
    """
    index = word_index(ids, continues)
    # A product and not scatter_add, whose order of summation changes from run to run on a GPU.
    with torch.autocast(features.device.type, enabled=False):
        belongs = index[:, None] == torch.arange(ids.shape[1], device=ids.device)[:, None]
        words = belongs.to(features.dtype) @ features.masked_fill(~mask[..., None], 0)
    return words, torch.zeros_like(mask).scatter(1, index, mask)


def aggregate_shifted(
    features: Tensor, attention: Tensor, ids: Tensor, continues: Tensor, mask: Tensor, maximum: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The words, their attention and their mask, as the authors of MGCA compute them; kept to reproduce their numbers.

    Their loop runs over the tokens from [CLS] on but over the `attention` (batch, length) from the token behind it on,
    so that a word gets the attention of pieces one further. The loop ends with the shorter of the two: of a report that
    fills the `maximum` length the last word and [SEP] are lost. Otherwise as `aggregate`; the words' attention is
    (batch, length).
    """
    words, present = aggregate(features, ids, continues, mask)
    behind = torch.nn.functional.pad(attention[:, 1:], (0, 1))
    weights, _ = aggregate(behind[..., None], ids, continues, mask)
    index = word_index(ids, continues)
    lost = (mask.sum(1, keepdim=True) == maximum) & (torch.arange(ids.shape[1], device=ids.device) >= index[:, -2:-1])
    return words.masked_fill(lost[..., None], 0), weights[..., 0].masked_fill(lost, 0), present & ~lost
