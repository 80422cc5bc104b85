"""Weights in a released file: found under its wrappers, and asked for by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from models.errors import ModelError
from models.released.files.containers import Content, tensors_of


def weights_of(content: Content, *wrappers: str) -> dict[str, Tensor]:
    """The tensors under the first of `wrappers` that the file has, or those that lie bare in it."""
    for name in wrappers:
        if isinstance(content.get(name), Mapping):
            return tensors_of(content[name])
    return {name: tensor for name, tensor in tensors_of(content).items() if name in content}


def under(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names start with `prefix`, by what follows it."""
    return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}


def size(found: Mapping[str, Tensor], name: str, axis: int = 0) -> int:
    """Length of an axis of the weight called `name`; ModelError where there is none, or it has no such axis."""
    if name not in found:
        raise ModelError(f"the file lacks the weight `{name}`")
    if axis >= found[name].ndim:
        raise ModelError(f"`{name}` has the shape {tuple(found[name].shape)}, and needs {axis + 1} axes or more")
    return int(found[name].shape[axis])


def count(found: Mapping[str, Tensor], prefix: str) -> int:
    """How many different numbers follow `prefix` in the names: layers of a transformer."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in found if name.startswith(prefix)})
