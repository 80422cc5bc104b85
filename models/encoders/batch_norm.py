"""Batch norm over the pairs of all processes, as one process with the whole batch computes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from models.distributed import gather, world_size


def share_batch_norm(network: nn.Module) -> None:
    """Have each batch norm of `network` take its statistics over all processes, in place; weights keep their names."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, SharedBatchNorm):
            kind: Any = type(module)
            module.__class__ = _shared(kind)  # as torch's own `fully_shard` does it


@cache
def _shared(kind: Any) -> Any:
    shared: Any = type(f"Shared{kind.__name__}", (SharedBatchNorm, kind), {})
    shared.forward = torch.compiler.disable(shared.forward)  # which speaks to the other processes
    return shared


class SharedBatchNorm(nn.Module):
    """What `share_batch_norm` puts before the class of a batch norm, whose forward stays: timm's do more there."""

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, ...), the batch being this process's pairs, to the same shape."""
        with _InItsPlace():
            normal: Tensor = super().forward(features)
        return normal


class _InItsPlace(TorchFunctionMode):
    """`shared_batch_norm` wherever a module calls `F.batch_norm`."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        chosen = shared_batch_norm if function is F.batch_norm else function
        return chosen(*args, **(kwargs or {}))


def shared_batch_norm(
    features: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """`F.batch_norm` of the rows of all processes, of which `features` (batch, channels, ...) are this process's."""
    if not training:
        return F.batch_norm(features, running_mean, running_var, weight, bias, False, momentum, eps)
    if features.is_cuda:  # torch has kernels for it there, and there alone
        group = dist.group.WORLD
        return SyncBatchNorm.apply(  # type: ignore[no-any-return]
            features, weight, bias, running_mean, running_var, eps, momentum, group, world_size()
        )
    return _Normalise.apply(  # type: ignore[no-any-return,no-untyped-call]
        features, weight, bias, running_mean, running_var, momentum, eps
    )


class _Normalise(torch.autograd.Function):
    """Forward: each process's mean and variance are gathered. Backward: its sums of the gradient are."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
        running_var: Tensor | None, momentum: float, eps: float,
    ) -> Tensor:  # fmt: skip
        count, mean, variance = _statistics(features)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * (count / (count - 1))).to(running_var.dtype), momentum)
        ctx.save_for_backward(features, weight, mean, variance)
        ctx.count, ctx.eps = count, eps
        return F.batch_norm(features, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, mean, variance = ctx.saved_tensors
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, features, weight, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        mean_of_weight, mean_of_bias = gather(torch.stack([of_weight, of_bias])[None].double()).sum(0) / ctx.count
        deviation = (variance.double() + ctx.eps).rsqrt()  # its inverse
        scale = deviation if weight is None else deviation * weight
        slope = -scale * deviation * mean_of_weight
        offset = -scale * mean_of_bias - slope * mean
        scale, slope, offset = (_per_channel(values.to(mean.dtype), features) for values in (scale, slope, offset))
        of_features = torch.addcmul(offset, features.to(mean.dtype), slope).addcmul_(gradient.to(mean.dtype), scale)
        affine = (None, None) if weight is None else (of_weight.to(weight.dtype), of_bias.to(weight.dtype))
        return of_features.to(features.dtype), *affine, None, None, None, None


def _statistics(features: Tensor) -> tuple[float, Tensor, Tensor]:
    """Values per channel, and their mean and variance, over all processes; at least in single precision.

    The variances of the processes are put together by their means, which keeps what sums of squares would cancel.
    """
    channels, dtype = features.shape[1], torch.promote_types(features.dtype, torch.float32)
    mean, variance = torch.batch_norm_update_stats(features.to(dtype), None, None, 0.0)
    count = mean.new_tensor([features.numel() // channels])
    gathered = gather(torch.cat([count, mean, variance])[None].double())
    counts, means, variances = gathered.split([1, channels, channels], dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean).square())).sum(0) / total
    return float(total), mean.to(dtype), variance.to(dtype)


def _per_channel(values: Tensor, features: Tensor) -> Tensor:
    """(channels,) to a shape that broadcasts over `features`."""
    return values.view(-1, *(1,) * (features.ndim - 2))
