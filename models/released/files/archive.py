"""Files of `torch.save` that name classes of other packages, such as hyper-parameters in a class of Lightning.

The tensors and plain values are read. Whatever class or function the file names is replaced by one that does nothing,
so that neither the package is needed nor anything of the file runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.encoders.torchscript import OPCODES, STORAGES, TENSORS, ArchiveReader, read_pickle

MORE_OPCODES = {"SHORT_BINSTRING", "BINSTRING", "LONG4", "MEMOIZE", "EMPTY_SET", "ADDITEMS", "SHORT_BINUNICODE"}


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


class _Reader(ArchiveReader):
    """Admits any class and function, as a stand-in."""

    opcodes = frozenset(OPCODES | MORE_OPCODES)

    def find_class(self, module: str, name: str) -> Any:
        """What torch's own tensors need; for anything else a stand-in."""
        if (module == "torch" and name in STORAGES) or (module, name) in TENSORS:
            return super().find_class(module, name)
        return StandIn


def read_archive(path: Path) -> Any:
    """The object in a zip archive of `torch.save`.

    Raises UnpicklingError where the archive is not as torch writes it; a damaged one may raise anything.
    """
    return read_pickle(path, _Reader)
