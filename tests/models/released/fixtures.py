"""Fixtures of released checkpoints: files, and recipes from which a file is made by the rule of their README.

`RADALIGN_RELEASED` names another folder of the same kinds.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

SHARED = Path(os.environ.get("RADALIGN_SHARED") or Path(__file__).resolve().parents[4] / "shared")
ROOT = Path(os.environ.get("RADALIGN_RELEASED") or SHARED / "released")


@dataclass(frozen=True)
class Fixture:
    """A released checkpoint and what the authors' code gives for it."""

    folder: Path

    @property
    def name(self) -> str:
        """Of its folder: medklip_tiny."""
        return self.folder.name

    def expected(self) -> dict[str, np.ndarray]:
        """Outputs of the authors' code by their names in the README."""
        with np.load(self.folder / "expected.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def films(self) -> list[np.ndarray]:
        """(rows, columns) uint8 of the films that were used."""
        with np.load(ROOT / "films.npz") as arrays:
            return [arrays[f"film_{number}"] for number in range(int(self.expected()["film_count"]))]

    def file(self, folder: Path) -> Path:
        """The checkpoint: the one there is, or one made in `folder` from the recipe."""
        recipe = self.folder / "recipe.json"
        if not recipe.exists():
            (found,) = (
                path for path in self.folder.iterdir() if path.suffix in (".pt", ".pth", ".ckpt", ".tar", ".bin")
            )
            return found
        content = json.loads(recipe.read_text())
        path = folder / content["file"]
        torch.save(self.content(), path)
        return path

    def groups(self) -> dict[str, dict[str, Tensor]]:
        """Tensors of the recipe, by group."""
        recipe = json.loads((self.folder / "recipe.json").read_text())
        stored = self.folder / "tensors.npz"
        arrays = dict(np.load(stored)) if stored.exists() else {}
        groups: dict[str, dict[str, Tensor]] = {}
        for group, tensors in recipe["tensors"].items():
            notes = recipe.get("notes", "")
            own = f"`{group}" in notes and group in ("bert", "text")
            prefix = f"{group}." if own or "has the group and a point before it" in notes else ""
            made: dict[str, Tensor] = {}
            for key, about in tensors.items():
                made[key] = _make(
                    prefix + key, about, recipe["seed"], made, arrays.get(f"{group}/{key}" if group else key)
                )
            groups[group] = made
        return groups

    def content(self) -> Any:
        """What the recipe's file holds."""
        groups = {name: tensors for name, tensors in self.groups().items() if name not in ("bert", "text")}
        if set(groups) <= {"", "image"}:
            return next(iter(groups.values()))
        return {**groups, "epoch": 1}


def find_fixtures(*starts: str) -> list[Fixture]:
    """Those whose names start so; none where the folder is absent.

    Recipes in true size beside a small file of the same method take minutes: they are left out, but for MedKLIP's,
    unless RADALIGN_RELEASED names the folder.
    """
    folders = [path.parent for path in sorted(ROOT.glob("*/expected.npz"))] if ROOT.is_dir() else []
    chosen = [folder for folder in folders if folder.name.startswith(starts)]
    if "RADALIGN_RELEASED" not in os.environ:
        chosen = [folder for folder in chosen if folder.name.startswith("medklip") or not _has_small_twin(folder)]
    return [Fixture(folder) for folder in chosen]


def _has_small_twin(folder: Path) -> bool:
    small = folder.with_name(f"{folder.name.rpartition('_')[0]}_tiny")
    return small != folder and small.is_dir()


def some_file(*starts: str) -> Fixture:
    """The first fixture of those that is a small file; the test is skipped where there is none."""
    found = [fixture for fixture in find_fixtures(*starts) if not (fixture.folder / "recipe.json").exists()]
    if not found:
        pytest.skip("no small file of a released checkpoint: set RADALIGN_RELEASED to the folder of the fixtures")
    return found[0]


def _make(key: str, about: dict[str, Any], seed: int, made: dict[str, Tensor], stored: Any) -> Tensor:
    """A tensor by the rule of the README."""
    shape, kind = tuple(about["shape"]), getattr(torch, about["dtype"])
    if "same_as" in about:
        return made[about["same_as"]]
    value = about.get("value")
    if value == "module":
        return torch.from_numpy(np.array(stored)).to(kind)
    if value == "arange":
        return torch.arange(shape[-1]).view(shape).to(kind)
    if value is not None:
        return torch.full(shape, value, dtype=kind)
    random = np.random.RandomState(zlib.crc32(key.encode()) ^ seed)
    return torch.from_numpy(np.asarray(_numbers(key.rpartition(".")[2], shape, random), dtype=np.float32)).to(kind)


def _numbers(last: str, shape: tuple[int, ...], random: np.random.RandomState) -> Any:
    if last == "running_var":
        return 0.75 + 0.5 * random.random_sample(shape)
    if last == "running_mean":
        return 0.1 * random.standard_normal(shape)
    if not shape:
        return math.log(1 / 0.07)
    if len(shape) == 1:
        return (1.0 if last == "weight" else 0.0) + 0.1 * random.standard_normal(shape)
    if shape[0] == 1:
        return 0.5 * random.standard_normal(shape)
    return random.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))


def close(found: Tensor | np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    """Assert that numbers agree to `tolerance`, relative to the largest of those wanted."""
    given = found.detach().cpu().numpy() if isinstance(found, Tensor) else found
    assert given.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max()))
    assert (np.isnan(given) == np.isnan(wanted)).all()
    difference = float(np.nanmax(np.abs(given - wanted)))
    assert difference <= tolerance * scale, f"{difference} of {scale}"
