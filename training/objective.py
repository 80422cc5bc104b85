"""From the pairs of a process to the loss terms of the whole batch, with micro-batches in less memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from models.distributed import world_size
from models.errors import ModelError
from models.method import Batch, Method
from training.parallel.rows import row_noise, whole_batch


class Objective(nn.Module):
    """The loss terms of a method, which see the pairs of all processes whatever the memory of one holds.

    Batches come as `own_rows` divides them.

    With `micro_batches` above 1 the pairs pass the encoders part by part. Activations are not kept: the backward pass
    computes them again, part by part. The gradients are those of the whole batch (GradCache: Gao et al., 2021, arXiv
    2101.06983). The second pass repeats the dropout of the first and does not count into the running statistics of
    batch norm, which itself sees one part at a time.
    """

    def __init__(self, method: Method, micro_batches: int = 1, compiled: bool = False) -> None:
        super().__init__()
        self.method = method
        self.micro_batches = micro_batches
        self.compiled = compiled
        self._encode = torch.compile(method.encode) if compiled else method.encode
        self._drawing = False

    def forward(self, batch: Batch, seed: int | None = None, pairs: int = 0) -> dict[str, Tensor]:
        """Scalar loss terms; `seed`, the same on all processes, decides the random numbers of `contrast`.

        `pairs` are those of the whole batch, where it cannot be divided evenly.
        """
        pairs, parts = pairs or len(batch) * world_size(), self.parts
        encoded = {name: whole_batch(tensor, pairs, parts) for name, tensor in self.encode(batch).items()}
        if seed is not None:
            torch.manual_seed(seed)
        return self.method.contrast(encoded)

    @property
    def parts(self) -> int:
        """Parts of a batch that are each divided over the processes: of no influence outside training."""
        return self.micro_batches if self.training else 1

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """The method's encoding of every pair of this process."""
        if self.micro_batches == 1:
            return self._encode_part(batch)
        each = -(-len(batch) // self.micro_batches)
        parts = [self._recompute(batch.part(slice(start, start + each))) for start in range(0, len(batch), each)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _recompute(self, part: Batch) -> dict[str, Tensor]:
        encoded: dict[str, Tensor] = checkpoint(
            self._encode_part, part, use_reentrant=False, context_fn=self._recompute_contexts
        )
        return encoded

    def _encode_part(self, part: Batch) -> dict[str, Tensor]:
        with self.draw_rows(len(part)):
            return self._encode(part)

    def draws_rows(self, device: torch.device) -> bool:
        """Whether encoders draw the random numbers of a row, or those of a process: kernels that are compiled, or run
        on a GPU, draw their own."""
        return device.type == "cpu" and not self.compiled

    @contextmanager
    def draw_rows(self, pairs: int) -> Iterator[None]:
        """In the block, encoders that see `pairs` pairs of this process at once give a row the dropout of one process.

        To be entered again where blocks of encoders are computed again.
        """
        if self._drawing or not self.training or not self.draws_rows(next(self.parameters()).device):
            yield
            return
        self._drawing = True
        try:
            with row_noise(pairs * world_size()):
                yield
        finally:
            self._drawing = False

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
