"""Files of weights that a user names, read without running anything that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from zipfile import ZIP_STORED, ZipFile

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.encoders.torchscript import is_torchscript, read_torchscript
from models.errors import ModelError
from store.regular_files import open_regular

ZIP = b"PK\x03\x04"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a file of safetensors, of plain tensors (`torch.save`) or of TorchScript.

    Raises ModelError for any other file; one that asks for more than tensors is refused, since it could run code.
    Raises OSError where the file cannot be opened.
    """
    open_regular(path).close()  # what the system refuses is said as it is
    try:
        state = _read(path)
    except Exception as error:  # a damaged or hostile file ends the libraries in many ways
        raise _unreadable(path) from error
    if not isinstance(state, Mapping):
        raise _unreadable(path)
    return {name: tensor for name, tensor in state.items() if isinstance(name, str) and is_plain(tensor)}


def numbers_like(wanted: Tensor, tensor: Tensor, name: str, path: Path | str) -> Tensor:
    """`tensor`, called `name` in the file `path`, in the type of a weight `wanted` of a network.

    Raises ModelError where its numbers are of another kind, such as integers of a compressed network, or not finite.
    """
    if tensor.is_complex() or tensor.is_floating_point() != wanted.is_floating_point():
        raise ModelError(
            f"`{name}` in {path} is of type {tensor.dtype}, and the network's is {wanted.dtype}: take the weights "
            "before they were compressed or converted"
        )
    numbers = tensor.to(wanted.dtype)
    if numbers.is_floating_point() and not numbers.isfinite().all():
        raise ModelError(f"`{name}` in {path} has numbers that are not finite, so no network works with it")
    return numbers


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    expect_no_bomb(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def expect_no_bomb(path: Path) -> None:
    """UnpicklingError where a zip file would unpack to more than it is large; torch writes none and reads them all."""
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return
    with ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != ZIP_STORED for entry in entries):
        raise UnpicklingError("the file is compressed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise UnpicklingError("the entries are larger than the file")


def is_plain(value: object) -> bool:
    """Whether it is a tensor with numbers in it, each of them in the file."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_cpu or value.is_quantized:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _unreadable(path: Path) -> ModelError:
    return ModelError(
        f"`{path}` is neither safetensors nor a file of plain tensors nor TorchScript, or it is damaged: get it again, "
        "or save its tensors as safetensors"
    )
