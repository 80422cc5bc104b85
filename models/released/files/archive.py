"""Files of `torch.save` that name classes of other packages, such as hyper-parameters in a class of Lightning.

The tensors and plain values are read. Whatever class or function the file names is replaced by one that does nothing,
so that neither the package is needed nor anything of the file runs.
"""

from __future__ import annotations

from collections import OrderedDict
from io import BytesIO
from math import prod
from pathlib import Path
from pickle import Unpickler, UnpicklingError
from pickletools import genops
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import Tensor

from models.encoders.torchscript import OPCODES, STORAGES

MORE_OPCODES = {"SHORT_BINSTRING", "BINSTRING", "LONG4", "MEMOIZE", "EMPTY_SET", "ADDITEMS", "SHORT_BINUNICODE"}
MOST_OPCODES = 5_000_000


class StandIn(dict[Any, Any]):
    """Stands for an object of any class, or for what any function returns: takes everything, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> StandIn:
        """Whatever the object is made from."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __setstate__(self, state: Any) -> None:
        """A state is dropped."""

    def append(self, item: Any) -> None:
        """An item is dropped."""

    def extend(self, items: Any) -> None:
        """Items are dropped."""

    add = append


def read_archive(path: Path) -> Any:
    """The object in a zip archive of `torch.save`.

    Raises UnpicklingError where the archive is not as torch writes it; a damaged one may raise anything.
    """
    with ZipFile(path) as archive:
        [root] = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
        return _Reader(archive, root, path.stat().st_size).load()


class _Reader(Unpickler):
    """Unpickles `data.pkl`."""

    def __init__(self, archive: ZipFile, root: str, limit: int) -> None:
        content = _stored(archive, f"{root}data.pkl")
        _check_opcodes(content)
        super().__init__(BytesIO(content))
        self._archive, self._root, self._left = archive, root, limit
        self._storages: dict[tuple[str, torch.dtype], Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What torch's own tensors need; for anything else a stand-in."""
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        return _KNOWN.get((module, name), StandIn)

    def persistent_load(self, pid: Any) -> Tensor:
        """(numbers,) of one storage."""
        kind, dtype, key, _, length = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise UnpicklingError("the archive refers to something that is no storage of numbers")
        if (key, dtype) not in self._storages:
            content = bytearray(_stored(self._archive, f"{self._root}data/{key}"))
            self._left -= len(content)
            if self._left < 0:
                raise UnpicklingError("the storages are larger than the file")
            self._storages[key, dtype] = (
                torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
        storage = self._storages[key, dtype]
        if len(storage) != length:
            raise UnpicklingError(f"storage {key} holds other numbers than the archive says")
        return storage


def _check_opcodes(content: bytes) -> None:
    for count, (opcode, argument, _) in enumerate(genops(content)):
        unknown = opcode.name not in OPCODES and opcode.name not in MORE_OPCODES
        if unknown or count > MOST_OPCODES or (opcode.name == "LONG_BINPUT" and (argument or 0) > len(content)):
            raise UnpicklingError(f"torch writes no {opcode.name} like this")


def _stored(archive: ZipFile, name: str) -> bytes:
    """A member as torch writes it: not compressed, hence no larger than the file."""
    if archive.getinfo(name).compress_type != ZIP_STORED:
        raise UnpicklingError(f"{name} is compressed")
    return archive.read(name)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    if not isinstance(storage, Tensor) or prod(size) > len(storage):
        raise UnpicklingError("a tensor is larger than its storage")
    return torch.as_strided(storage, size, stride, offset)


def _first(value: Any, *_: Any) -> Any:
    return value


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
}
