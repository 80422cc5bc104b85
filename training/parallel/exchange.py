"""What the first process has read or another one has kept, brought to those that cannot read it.

Hosts need no common folder: a checkpoint is read once, by the process that writes the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_map

from models.distributed import agree, rank, world_size
from store.atomic import PARTIAL, replacing
from training.parallel.group import Group

CHUNK = 64 << 20  # bytes of a file that are in memory at once


@dataclass(frozen=True)
class _Slot:
    """Stands for a tensor in what is sent first."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def from_first(value: Any, device: torch.device) -> Any:
    """The first process's `value`, nested dicts and lists with tensors of the CPU, on every process of a run."""
    if world_size() == 1:
        return value
    tensors: list[Tensor] = []

    def take(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return part
        tensors.append(part)
        return _Slot(tuple(part.shape), part.dtype)

    def put(part: Any) -> Any:
        if not isinstance(part, _Slot):
            return part
        tensor = next(own).to(device) if rank() == 0 else torch.empty(part.shape, dtype=part.dtype, device=device)
        dist.broadcast(tensor, 0)
        return tensor.cpu()

    outline = agree(tree_map(take, value) if rank() == 0 else None)
    own = iter(tensors)
    return tree_map(put, outline)


def bring_newest(parent: Path, newest: str, group: Group) -> None:
    """Copy the newest of the folders in `parent` to the first process, where only another host has it.

    `newest` is the name of this process's newest folder, or "". Names rise with age. Afterwards the first process has
    the newest of all, unless the sender's files cannot be read.
    """
    names = group.collect(newest)
    if max(names) <= names[0]:
        return
    owner, name = names.index(max(names)), max(names)
    paths = sorted((parent / name).iterdir()) if rank() == owner else []
    files = _from(owner, [(path.name, path.stat().st_size) for path in paths])
    partial = parent / (name + PARTIAL)
    for file, size in files:
        _copy(owner, parent / name / file, partial / file, size, group.device)
    if rank() == 0 and not (parent / name).exists():  # a shared disk may have shown it late
        partial.rename(parent / name)


def _copy(owner: int, source: Path, target: Path, size: int, device: torch.device) -> None:
    if rank() == 0:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial, partial.open("wb") as written:
            for part in _chunks(owner, source, size, device):
                written.write(part.numpy().tobytes())
    else:
        for _ in _chunks(owner, source, size, device):
            pass


def _chunks(owner: int, source: Path, size: int, device: torch.device) -> Iterator[Tensor]:
    """The bytes of the owner's file on every process, part by part."""
    read = source.open("rb") if rank() == owner else None
    try:
        for start in range(0, size, CHUNK):
            length = min(CHUNK, size - start)
            part = torch.empty(length, dtype=torch.uint8)
            if read is not None:
                part = torch.frombuffer(bytearray(read.read(length).ljust(length, b"\0")), dtype=torch.uint8)
            part = part.to(device)
            dist.broadcast(part, owner)
            yield part.cpu()
    finally:
        if read is not None:
            read.close()


def _from(owner: int, value: Any) -> Any:
    values = [value]
    dist.broadcast_object_list(values, owner)
    return values[0]
