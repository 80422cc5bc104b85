"""Released files of weights as nested dicts of tensors and plain values; nothing in them is executed.

A file is one of `torch.save` (a zip archive, or the older stream), safetensors, a TorchScript archive, or a zip file
that holds one of these, as MedCLIP's does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.encoders.torchscript import is_torchscript, read_torchscript
from models.encoders.weight_files import expect_no_bomb, is_plain
from models.errors import ModelError
from models.released.files.archive import StandIn, read_archive
from store.regular_files import open_regular

Content = dict[str, Any]  # names -> tensors, plain values, or dicts of them
INNER = ("pytorch_model.bin", "model.safetensors")  # in a zip file
MOST_PACKED = 4  # times its size that a packed member may have; weights hardly pack at all
PROGRAMS = "/code/"  # of TorchScript, which packs them well; they are not read
CHUNK = 2**20  # bytes read at once
POINTER = b"version https://git-lfs.github.com/"
PAGES = (b"<!doctype html", b"<html", b"<?xml")


def read_content(path: Path) -> Content:
    """All tensors and plain values of a released file.

    Raises:
        ModelError: there is no file, or it is none of weights, in one sentence.
    """
    try:
        with open_regular(path) as file:
            head = file.read(200)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    if not head:
        raise ModelError(f"{path} is empty; get the file again")
    if head.startswith(POINTER):
        raise ModelError(f"{path} is a pointer of git-lfs and not the file itself; get it with `git lfs pull`")
    if head.lstrip().lower().startswith(PAGES):
        raise ModelError(f"{path} is a web page and no file of weights; follow its link, and save what that gives")
    try:
        content = _read(path)
    except ModelError:
        raise
    except Exception as error:  # a damaged or hostile file ends the libraries in many ways
        raise _unreadable(path) from error
    if not isinstance(content, Mapping) or not (found := tensors_of(content)):
        raise ModelError(f"{path} holds no tensors; name a file of weights")
    if empty := [name for name, tensor in found.items() if not tensor.numel()]:
        raise ModelError(f"{path}: `{empty[0]}` has no numbers in it; get the file again")
    return dict(content)


def tensors_of(content: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a content by their names, those of inner dicts with dots between."""
    found: dict[str, Tensor] = {}
    todo: list[tuple[str, Mapping[Any, Any], int]] = [(prefix, content, 0)]
    while todo:
        start, holder, depth = todo.pop()
        for name, value in holder.items():
            if isinstance(name, str) and is_plain(value):
                found[start + name] = value
            elif isinstance(value, StandIn):  # holds plain values at most
                continue
            elif isinstance(name, str) and isinstance(value, Mapping) and depth < 4:
                todo.append((f"{start}{name}.", value, depth + 1))
    return found


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    _expect_whole(path)
    if is_torchscript(path):
        return read_torchscript(path)
    if inner := _inner_member(path):
        return _read_member(path, inner)
    expect_no_bomb(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        if not is_zipfile(path):
            raise
        return read_archive(path)


def _expect_whole(path: Path) -> None:
    """UnpicklingError where a member of a zip file is not what was packed; torch does not compare its checksums."""
    if is_zipfile(path):
        with ZipFile(path) as archive:
            skipped = PROGRAMS if is_torchscript(path) else None
            read = [member for member in archive.infolist() if not skipped or skipped not in member.filename]
            if any(member.file_size > MOST_PACKED * max(1, member.compress_size) for member in read):
                raise UnpicklingError("a member would unpack to much more than it is")
            for member in read:
                with archive.open(member) as content:
                    while content.read(CHUNK):  # to its end, where the checksum is compared
                        pass


def _inner_member(path: Path) -> str:
    """The member of a zip file that is a file of weights itself, or ""."""
    if not is_zipfile(path):
        return ""
    with ZipFile(path) as archive:
        return next((name for name in archive.namelist() if name.rsplit("/", 1)[-1] in INNER), "")


def _read_member(path: Path, name: str) -> object:
    with ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / name.rsplit("/", 1)[-1]
        with archive.open(name) as source, inner.open("wb") as target:
            shutil.copyfileobj(source, target)
        if _inner_member(inner):
            raise UnpicklingError(f"{name} is a zip file in a zip file")
        return _read(inner)


def _unreadable(path: Path) -> ModelError:
    return ModelError(f"{path} is damaged, or it is no file of weights: get it again")
