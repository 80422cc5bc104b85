"""The tensors of a TorchScript archive, such as OpenAI's CLIP, without running the programs in it.

The archive is a zip file: `code/` holds programs, `data.pkl` the module with its attributes as a pickle, `data/` the
numbers. `torch.jit.load` compiles the programs and runs those that restore attributes. Here the programs are not
opened, and the pickle may name nothing but tensors and plain values.
"""

from __future__ import annotations

from collections import OrderedDict
from io import BytesIO
from math import prod
from pathlib import Path
from pickle import Unpickler, UnpicklingError
from pickletools import genops
from typing import Any
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch
from torch import Tensor

# What torch writes. Others reserve memory before they read, or call things in other ways.
OPCODES = {
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM",
    "SETITEMS",
}  # fmt: skip
MOST_OPCODES = 5_000_000  # of one pickle
MOST_OBJECTS = 100_000  # modules and attributes of one archive
STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class _Module:
    """Stands for an object of any class of the archive; all that it can do is to hold the object's state."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of TorchScript, as torch itself tells it from other files of tensors."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """All tensors of the module by their dotted names: parameters, buffers and other attributes.

    Raises UnpicklingError where the archive asks for more than tensors and plain values; a damaged one may raise
    anything.
    """
    return _named_tensors(read_pickle(path, _ScriptReader))


class ArchiveReader(Unpickler):
    """Unpickles `data.pkl`; the only things of Python that it hands to the pickle are those of its `find_class`."""

    opcodes: frozenset[str] = frozenset(OPCODES)  # that the pickle may have

    def __init__(self, archive: ZipFile, root: str, limit: int) -> None:
        """`limit` is the number of bytes that all storages may have together."""
        content = _stored(archive, f"{root}data.pkl")
        _check_opcodes(content, self.opcodes)
        super().__init__(BytesIO(content))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}
        self._left = limit
        if f"{root}byteorder" in archive.namelist() and _stored(archive, f"{root}byteorder") != b"little":
            raise UnpicklingError("the numbers are not little-endian")

    def find_class(self, module: str, name: str) -> Any:
        """The type of numbers, or what builds a tensor; UnpicklingError for anything else."""
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) not in TENSORS:
            raise UnpicklingError(f"the archive asks for `{module}.{name}`")
        return TENSORS[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """(numbers,) of one storage."""
        kind, dtype, key, _, length = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise UnpicklingError("the archive refers to something that is no storage of numbers")
        if key not in self._storages:
            content = bytearray(_stored(self._archive, f"{self._root}data/{key}"))
            self._left -= len(content)
            if self._left < 0:
                raise UnpicklingError("the storages are larger than the file")
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        storage = self._storages[key]
        if storage.dtype != dtype or len(storage) != length:
            raise UnpicklingError(f"storage {key} holds other numbers than the archive says")
        return storage


class _ScriptReader(ArchiveReader):
    """Admits the modules of a program, as objects that hold a state, and the lists of TorchScript."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global that the pickle names."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        return _ADMITTED[module, name] if (module, name) in _ADMITTED else super().find_class(module, name)


def read_pickle(path: Path, reader: type[ArchiveReader]) -> Any:
    """The object in a zip archive of torch, with a reader that says what it may name.

    Raises UnpicklingError where the archive is not as torch writes it; a damaged one may raise anything.
    """
    with ZipFile(path) as archive:
        [root] = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
        return reader(archive, root, path.stat().st_size).load()


def _check_opcodes(content: bytes, known: frozenset[str]) -> None:
    for count, (opcode, argument, _) in enumerate(genops(content)):
        if count > MOST_OPCODES:
            raise UnpicklingError("the pickle is longer than any of torch")
        if opcode.name not in known or (opcode.name == "LONG_BINPUT" and (argument or 0) > len(content)):
            raise UnpicklingError(f"torch writes no {opcode.name} like this")


def _stored(archive: ZipFile, name: str) -> bytes:
    """A member as torch writes it: not compressed, hence no larger than the file."""
    if archive.getinfo(name).compress_type != ZIP_STORED:
        raise UnpicklingError(f"{name} is compressed")
    return archive.read(name)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if prod(size) > len(storage):
        raise UnpicklingError("a tensor is larger than its storage")
    return torch.as_strided(storage, size, stride, offset)


def _first(value: Any, *_: Any) -> Any:
    return value


TENSORS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
}
_ADMITTED: dict[tuple[str, str], Any] = {("torch", "device"): _first} | {
    ("torch.jit._pickle", name): _first
    for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")
}


def _named_tensors(module: Any) -> dict[str, Tensor]:
    """Tensors of a module and of those inside it, `inner.weight` for `weight` of `inner`."""
    found: dict[str, Tensor] = {}
    todo, seen = [("", module)], 0
    while todo:
        prefix, holder = todo.pop()
        for name, value in holder.state.items():
            seen += 1
            if seen > MOST_OBJECTS:
                raise UnpicklingError("the modules of the archive have no end")
            if isinstance(value, Tensor):
                found[prefix + name] = value
            elif isinstance(value, _Module):
                todo.append((f"{prefix}{name}.", value))
    return found
