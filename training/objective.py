"""From the pairs of a process to the loss terms of the whole batch, with micro-batches in less memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from models.distributed import gather
from models.errors import ModelError
from models.method import Batch, Method


class Objective(nn.Module):
    """The loss terms of a method, which see the pairs of all processes whatever the memory of one holds.

    With `micro_batches` above 1 the pairs pass the encoders part by part. Activations are not kept: the backward pass
    computes them again, part by part. The gradients are those of the whole batch (GradCache: Gao et al., 2021, arXiv
    2101.06983). The second pass repeats the dropout of the first and does not count into the running statistics of
    batch norm, which itself sees one part at a time.
    """

    def __init__(self, method: Method, micro_batches: int = 1, compiled: bool = False) -> None:
        super().__init__()
        self.method = method
        self.micro_batches = micro_batches
        self._encode = torch.compile(method.encode) if compiled else method.encode

    def forward(self, batch: Batch, seed: int | None = None) -> dict[str, Tensor]:
        """Scalar loss terms; `seed`, the same on all processes, decides the random numbers of `contrast`."""
        encoded = {name: gather(tensor) for name, tensor in self.encode(batch).items()}
        if seed is not None:
            torch.manual_seed(seed)
        return self.method.contrast(encoded)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """The method's encoding of every pair of this process."""
        if self.micro_batches == 1:
            return self._encode(batch)
        each = -(-len(batch) // self.micro_batches)
        parts = [self._recompute(batch.part(slice(start, start + each))) for start in range(0, len(batch), each)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _recompute(self, part: Batch) -> dict[str, Tensor]:
        encoded: dict[str, Tensor] = checkpoint(
            self._encode, part, use_reentrant=False, context_fn=self._recompute_contexts
        )
        return encoded

    def _recompute_contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), hold_statistics(self.method)


@contextmanager
def hold_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norm normalises by the batch, but does not count it into its running statistics.

    It goes through the same motions with a momentum of 0: a second pass has to save the same tensors as the first.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms if norm.num_batches_tracked is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        counted = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        for count, before in zip(counted, counts, strict=True):
            count.copy_(before)


def checkpoint_encoders(method: Method) -> None:
    """Have the encoders' blocks compute their activations again in the backward pass instead of keeping them."""
    modules: list[Any] = list(method.modules())
    timm_like = [module for module in modules if hasattr(module, "set_grad_checkpointing")]  # open_clip too
    transformers_like = [module for module in modules if hasattr(module, "activation_checkpointing_enable")]
    for module in timm_like:
        module.set_grad_checkpointing(True)
    for module in transformers_like:
        module.activation_checkpointing_enable({"use_reentrant": False})
    if not timm_like + transformers_like:
        raise ModelError(
            "no encoder of this method offers `gradient_checkpointing`; use `micro_batches` to save memory"
        )
