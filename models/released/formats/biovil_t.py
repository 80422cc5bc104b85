"""BioViL-T's released image file and the folder of its text encoder (Bannur et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from math import tau
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.released.files.containers import Content
from models.released.formats import biovil
from models.released.formats.biovil import ReleasedBiovil, is_temporal
from models.released.opening import Converted
from models.released.parts.states import count, size, under

SOURCE = (
    "Bannur et al., Learning to exploit temporal structure, CVPR 2023, arXiv 2301.04558; github.com/microsoft/hi-ml"
)
LICENCE = biovil.LICENCE
CROPPED = 448  # pixels: 14 x 14 patches
HEADS = 8  # of the pooler
EPSILON = 1e-6
PERIOD = 10_000  # of the slowest wave of the positions


class Block(nn.Module):
    """Attention and a feed-forward layer; places and films are told apart in queries, keys and values alike."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.attn = nn.ModuleDict({f"proj_{part}": nn.Linear(width, width, bias=False) for part in "qkv"})
        self.attn["proj"] = nn.Linear(width, width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(self, tokens: Tensor, origins: Tensor) -> Tensor:
        """(batch, tokens, width) after the block; `origins` (tokens, width) is added before attention."""
        given = self.norm1(tokens) + origins
        query, key, value = (
            self.attn[f"proj_{part}"](given).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in "qkv"
        )
        seen = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.attn["proj"](seen)
        changed: Tensor = tokens + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(tokens))))
        return changed


class Pooler(nn.Module):
    """What differs between a film and a previous one, for each patch of the former."""

    def __init__(self, width: int, inner: int, blocks: int, heads: int = HEADS) -> None:
        super().__init__()
        self.type_embed = nn.Parameter(torch.zeros(2, 1, width))
        self.blocks = nn.ModuleList(Block(width, inner, heads) for _ in range(blocks))
        self.norm_post = nn.LayerNorm(width, EPSILON)

    def forward(self, film: Tensor, previous: Tensor | None = None) -> Tensor:
        """(batch, width, rows, columns) of two of that shape, or of the film alone."""
        rows, columns = film.shape[2:]
        places = positions(rows, columns, film.shape[1]).to(film)
        films = [film] if previous is None else [film, previous]
        origins = torch.cat([places + kind for kind in self.type_embed[: len(films)]])
        tokens = torch.cat(films, dim=2).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, origins)
        found: Tensor = self.norm_post(tokens)[:, : rows * columns]
        return found.transpose(1, 2).unflatten(-1, (rows, columns))


class ReleasedBiovilT(ReleasedBiovil):
    """BioViL whose patches end in what differs from a previous film; without one, a learned vector stands for it."""

    cropped = CROPPED

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        width = settings["width"]
        self.backbone_to_vit = nn.Conv2d(settings["channels"], width, 1, bias=False)
        self.missing_previous_emb = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.vit_pooler = Pooler(width, settings["inner"], settings["blocks"])

    def patches(self, pixels: Tensor, previous: Tensor | None = None) -> Tensor:
        """(batch, width, rows, columns) of the network's input, compared with that of earlier films where given."""
        found = self.backbone_to_vit(super().patches(pixels))
        if previous is None:
            return torch.cat([found, self.missing_previous_emb.expand_as(found)], dim=1)
        return torch.cat([found, self.vit_pooler(found, self.backbone_to_vit(super().patches(previous)))], dim=1)


def positions(rows: int, columns: int, width: int) -> Tensor:
    """(rows * columns, width): sines and cosines of a patch's row, then of its column, one turn over the film."""
    half = width // 2
    waves = PERIOD ** (2 * (torch.arange(half) // 2) / half)

    def along(length: int) -> Tensor:
        angles = torch.arange(1.0, length + 1) / (length + 1e-6) * tau
        phases = angles[:, None] / waves
        return torch.stack([phases[:, 0::2].sin(), phases[:, 1::2].cos()], dim=2).flatten(1)

    down, across = along(rows)[:, None].expand(-1, columns, -1), along(columns)[None].expand(rows, -1, -1)
    return torch.cat([down, across], dim=2).flatten(0, 1)


def recognises(content: Content) -> bool:
    """Whether the names are of BioViL-T's image model."""
    return is_temporal(content)


def convert(content: Content, texts: Path | None) -> Converted:
    """The file, and the text encoder with its weights, which are a folder of their own, in `texts`."""
    converted = biovil.convert(content, texts)
    state = {name.removeprefix("encoder."): tensor for name, tensor in converted.state.items()}
    pooler = under(state, "vit_pooler.")
    sizes = {
        "width": size(state, "backbone_to_vit.weight"),
        "channels": size(state, "backbone_to_vit.weight", 1),
        "blocks": count(pooler, "blocks."),
        "inner": size(pooler, "blocks.0.mlp.fc1.weight"),
    }
    return Converted(converted.settings | sizes, state)


def build(settings: Mapping[str, Any]) -> ReleasedBiovilT:
    """The network of a checkpoint's settings."""
    return ReleasedBiovilT(settings)
