"""Files of weights that a user names, read without running anything that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.encoders.torchscript import is_torchscript, read_torchscript
from models.errors import ModelError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a file of safetensors, of plain tensors (`torch.save`) or of TorchScript.

    Raises ModelError for any other file; one that asks for more than tensors is refused, since it could run code.
    Raises OSError where the file cannot be opened.
    """
    path.open("rb").close()  # what the system refuses is said as it is
    try:
        state = _read(path)
    except Exception as error:  # a damaged or hostile file ends the libraries in many ways
        raise _unreadable(path) from error
    if not isinstance(state, Mapping):
        raise _unreadable(path)
    return {name: tensor for name, tensor in state.items() if _is_plain(tensor)}


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_plain(value: object) -> bool:
    """Whether it is a tensor with numbers in it."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.is_cpu and not value.is_quantized


def _unreadable(path: Path) -> ModelError:
    return ModelError(
        f"`{path}` is neither safetensors nor a file of plain tensors nor TorchScript, or it is damaged: get it again, "
        "or save its tensors as safetensors"
    )
