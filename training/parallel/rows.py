"""The rows of a batch that are this process's, and random numbers that a row gets however the batch is divided.

The parts of a batch that pass the encoders one after the other are each divided over the processes. So every part has
the rows that it has in one process, whose batch norm and random numbers are those of a part.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.distributed import gather, rank, world_size


def own_rows(count: int, parts: int = 1) -> np.ndarray:
    """Which of a batch of `count` are this process's; the last one again where the parts cannot be divided evenly."""
    each = -(-count // (parts * world_size()))
    rows = np.arange(parts * world_size() * each).reshape(parts, world_size(), each)[:, rank()]
    return np.minimum(rows.ravel(), count - 1)


def whole_batch(tensor: Tensor, count: int, parts: int = 1) -> Tensor:
    """The rows that `own_rows` gave to the processes, put together: (count, ...) in the order of the batch."""
    if world_size() == 1:
        return tensor
    joined = gather(tensor).unflatten(0, (world_size(), parts, -1)).transpose(0, 1).flatten(0, 2)
    return joined[:count]


def row_noise(count: int, parts: int = 1) -> AbstractContextManager[Any]:
    """In the block the rows of this process, `own_rows(count, parts)`, get the random numbers of one process.

    To be entered by all processes with the same state of the generator. It sees the CPU's random numbers alone: kernels
    of GPUs draw within.
    """
    return nullcontext() if world_size() == 1 else RowNoise(count, torch.from_numpy(own_rows(count, parts)))


class RowNoise(TorchDispatchMode):
    """Draws for all `count` rows, and gives this process those of `own` (rows,).

    A tensor is of rows if its first axis is as long as `own`, or a multiple of it, such as rows times heads. Others are
    drawn as they are, and so is what follows from other tensors, such as `torch.multinomial`.
    """

    def __init__(self, count: int, own: Tensor) -> None:
        super().__init__()
        self.count, self.own = count, own

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in function.tags or any(torch.is_tensor(value) for value in args[1:]):
            return function(*args, **kwargs)
        schema = function._schema
        names = [argument.name for argument in schema.arguments]
        sized, like = "size" in names, schema.is_mutable or schema.name.endswith("_like")
        place = names.index("size") if sized else 0
        if not (sized or like) or not self._is_of_rows(args[place] if sized else args[place].shape):
            return function(*args, **kwargs)
        whole = self._shape(args[place]) if sized else self._enlarge(args[place])
        drawn = self._take(function(*args[:place], whole, *args[place + 1 :], **kwargs))
        return args[0].copy_(drawn) if schema.is_mutable else drawn

    def _is_of_rows(self, shape: Any) -> bool:
        return len(shape) > 0 and shape[0] > 0 and shape[0] % len(self.own) == 0

    def _shape(self, shape: Any) -> list[int]:
        """`shape` with all rows."""
        return [shape[0] // len(self.own) * self.count, *shape[1:]]

    def _enlarge(self, tensor: Tensor) -> Tensor:
        """An empty tensor with all rows, in memory as `tensor` is: numbers are drawn in that order.

        One row alone does not tell the order of axes that were exchanged.
        """
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        return torch.empty_permuted(self._shape(tensor.shape), order, dtype=tensor.dtype, device=tensor.device)

    def _take(self, drawn: Tensor) -> Tensor:
        return drawn.unflatten(0, (self.count, -1))[self.own].flatten(0, 1)
