"""ConVIRT as BenchX trained it (Zhou et al., NeurIPS 2024; github.com/yangzhou12/BenchX): its image tower.

The other checkpoints that BenchX loads are those of their authors, which have formats of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from models.released.files.containers import Content
from models.released.opening import Converted
from models.released.parts.pretext import HEAD, ReleasedTower, describe_tower
from models.released.parts.states import under, weights_of

SOURCE = "Zhou et al., BenchX, NeurIPS 2024; github.com/yangzhou12/BenchX"
LICENCE = "The code is MIT; of the weights it states nothing else."
WRAPPERS = ("state_dict", "model")  # in the order in which BenchX looks for them
BACKBONE, PROJECTION = "visual.model.", "vis_proj."
TEXTS = ("linguistic.", "lin_proj.", "loss_fn.")  # another tokenizer, the projection of texts, and what a loss keeps
CLASSIFIER = ("fc.", "head.")  # of ImageNet, which BenchX leaves out
NOTE = "Of this checkpoint the image tower and its projection are read; its text tower is not."


class ReleasedBenchx(ReleasedTower):
    """The residual network, and the projection of images. Films: the shorter side to 224, the middle cut out."""

    size = 224

    def embed_images(self, images: Tensor) -> Tensor:
        """(batch, dim) L2-normalised."""
        return F.normalize(self.project(self.image_features(images)), dim=-1)


def recognises(content: Content) -> bool:
    """Whether a residual network is called `visual.model`."""
    return f"{BACKBONE}conv1.weight" in weights_of(content, *WRAPPERS)


def convert(content: Content, texts: Path | None) -> Converted:
    """The file; it needs no `texts`."""
    found = weights_of(content, *WRAPPERS)
    tower = {name: tensor for name, tensor in under(found, BACKBONE).items() if not name.startswith(CLASSIFIER)}
    tower |= {f"{HEAD}{name}": tensor for name, tensor in under(found, PROJECTION).items()}
    settings, state = describe_tower(tower)
    known = (BACKBONE, PROJECTION, *TEXTS)
    state |= {name: tensor for name, tensor in found.items() if not name.startswith(known)}
    return Converted(settings, state, (NOTE,))


def build(settings: Mapping[str, Any]) -> ReleasedBenchx:
    """The network of a checkpoint's settings."""
    return ReleasedBenchx(settings)
