"""MGCA's projection head (Wang et al., NeurIPS 2022), also LoVT's, and the batch norm in it, which knows padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.distributed import gather
from models.encoders.batch_norm import SharedBatchNorm


class ProjectionHead(nn.Module):
    """Linear, batch norm, ReLU, linear, applied to each token alike.

    Then a batch norm without scale and shift (MGCA), unless `normalised` is off (LoVT, arXiv 2112.02889).
    """

    def __init__(self, width: int, hidden: int, dim: int, normalised: bool = True) -> None:
        super().__init__()
        self.hidden, self.hidden_norm = nn.Linear(width, hidden), MaskedBatchNorm(hidden)
        self.output = nn.Linear(hidden, dim)
        self.output_norm = MaskedBatchNorm(dim, affine=False) if normalised else None

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """(..., width) -> (..., dim); where `mask` (...) is False, nothing enters the statistics."""
        hidden = self.hidden_norm(self.hidden(features), mask).relu()
        output: Tensor = self.output(hidden)
        return output if self.output_norm is None else self.output_norm(output, mask)


class MaskedBatchNorm(nn.Module):
    """Batch norm over whatever stands before the last axis, as far as a mask says that there is something.

    Reports are padded with zero vectors, which would otherwise enter mean and variance as if they were words. Nothing
    is packed, so that no count has to leave the device. Follows `share_batch_norm`.
    """

    def __init__(self, width: int, affine: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=affine)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """(..., width) -> (..., width); `mask` (...) bool."""
        rows = features.flatten(0, -2)
        if mask is None or not self.training:
            return self.norm(rows).view_as(features)
        with torch.autocast(features.device.type, enabled=False):
            rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
            return self._normalise(rows, mask.flatten()[:, None].to(rows.dtype)).view_as(features)

    def _normalise(self, rows: Tensor, real: Tensor) -> Tensor:
        """(rows, width), `real` (rows, 1) being 1 or 0."""
        count = self._sum(real).clamp_min(1)
        mean = self._sum(rows * real) / count
        variance = self._sum((rows - mean).square() * real) / count
        with torch.no_grad():
            self._remember(mean, variance * count / (count - 1).clamp_min(1))
        normal = (rows - mean) * (variance + self.norm.eps).rsqrt()
        return normal if self.norm.weight is None else normal * self.norm.weight + self.norm.bias

    def _sum(self, rows: Tensor) -> Tensor:
        """(width,) over the rows, and over those of all processes if batch norm is synchronised."""
        total = rows.sum(0)
        return gather(total[None]).sum(0) if isinstance(self.norm, SharedBatchNorm) else total

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        for memory, value in ((self.norm.running_mean, mean), (self.norm.running_var, variance)):
            assert memory is not None
            assert self.norm.momentum is not None
            memory.lerp_(value.to(memory.dtype), self.norm.momentum)
