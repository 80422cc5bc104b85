"""The image tower of BenchX's ConVIRT; there is no fixture of it, so torchvision's network stands for theirs."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models import resnet18

from models.errors import ModelError
from models.released.opening import convert_file, open_file
from models.released.parts.films import IMAGENET_MEAN, IMAGENET_STD
from tests.models.released.fixtures import close


@pytest.fixture
def towers():
    """Their image tower and projection, as their loader and their pretraining name them."""
    torch.manual_seed(0)
    children = [(name, child) for name, child in resnet18().named_children() if name != "fc"]
    return nn.Sequential(OrderedDict(children)).eval(), nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 8))


def write(towers, path, **more):
    tower, projection = towers
    state = {f"visual.model.{name}": value for name, value in tower.state_dict().items()}
    state |= {f"vis_proj.{name}": value for name, value in projection.state_dict().items()}
    state |= {"linguistic.encoder.embeddings.word_embeddings.weight": torch.ones(5, 4), **more}
    torch.save({"model": state, "config": {"name": "ConVIRT"}}, path)


@torch.inference_mode()
def test_films_and_vectors_are_theirs(towers, tmp_path):
    write(towers, tmp_path / "ConVIRT.pth")
    network = open_file(tmp_path / "ConVIRT.pth")
    film = np.random.default_rng(0).integers(0, 255, (300, 260), dtype=np.uint8)
    prepare = transforms.Compose(
        [
            transforms.Resize(224),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    pixels = prepare(Image.fromarray(film).convert("RGB"))[None]
    close(network.films([film]), pixels.numpy())
    pooled = towers[0](pixels).flatten(1)
    close(network.features(pixels).mean((2, 3)), pooled.numpy())
    close(network.project(pooled), towers[1](pooled).numpy())
    assert network.embed_images(torch.zeros(1, 1, 64, 64)).norm() == pytest.approx(1, abs=1e-5)
    assert "text tower is not" in convert_file(tmp_path / "ConVIRT.pth")[1].notes[0]


def test_a_wrong_file_is_a_sentence(towers, tmp_path):
    write(towers, tmp_path / "a.pth", extra=torch.ones(1))
    with pytest.raises(ModelError, match="has 1 weights that the network does not, the first is `extra`"):
        open_file(tmp_path / "a.pth")
    write(towers, tmp_path / "b.pth", **{"visual.model.layer1.0.bn1.bias": torch.ones(3)})
    with pytest.raises(ModelError, match=r"`backbone.layer1.0.bn1.bias` has the shape \(3,\)"):
        open_file(tmp_path / "b.pth")
