"""LoVT's pooling of regions, and of sentences (Mueller et al., ECCV 2022, arXiv 2112.02889)."""

from __future__ import annotations

from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """The mean of the local vectors looks at them."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, places: Tensor, mask: Tensor, padded: bool = False) -> tuple[Tensor, Tensor]:
        """Vectors (batch, dim) and the attention (batch, places), mean over the heads.

        Of `places` (batch, places, dim) only those where `mask` (batch, places) is True are looked at. With `padded`
        the mean divides by the number of all, as in the authors' code.
        """
        mask = mask | ~mask.any(1, keepdim=True)  # it must leave something to look at
        counts = mask.shape[1] if padded else mask.sum(1)[:, None, None]
        query = (places * mask[..., None]).sum(1, keepdim=True) / counts
        pooled, weights = self.attention(query, places, places, key_padding_mask=~mask)
        return pooled[:, 0], weights[:, 0]
