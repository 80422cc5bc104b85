"""Files of `torch.save` that name classes of other packages, such as hyper-parameters in a class of Lightning.

The tensors and plain values are read. Whatever class or function the file names is replaced by one that does nothing,
so that neither the package is needed nor anything of the file runs. Of omegaconf's settings, as GLoRIA's file has them,
the plain values are kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.encoders.torchscript import OPCODES, STORAGES, TENSORS, ArchiveReader, read_pickle

CONTENT, VALUE = "_content", "_val"  # in the state of a node of omegaconf: nodes by name, or a value
MORE_OPCODES = {"SHORT_BINSTRING", "BINSTRING", "LONG4", "MEMOIZE", "EMPTY_SET", "ADDITEMS", "SHORT_BINUNICODE"}


PLAIN = (str, int, float)


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
        """A state is dropped, but for the plain values of omegaconf's settings."""
        content = state.get(CONTENT) if isinstance(state, dict) else None
        if isinstance(content, dict):
            self.update((name, _plain(node)) for name, node in content.items() if isinstance(name, str))
        elif isinstance(state, dict) and isinstance(state.get(VALUE), PLAIN):
            self[VALUE] = state[VALUE]

    def append(self, item: Any) -> None:
        """An item is dropped."""

    def extend(self, items: Any) -> None:
        """Items are dropped."""

    add = append


def _plain(node: Any) -> Any:
    """The value of a node of omegaconf, or the node where it holds others."""
    if isinstance(node, StandIn):
        return node.get(VALUE, node)
    return node if isinstance(node, PLAIN) else None


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
