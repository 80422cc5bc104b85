"""Released image towers give what their authors' code gives."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet18, resnet50, resnext50_32x4d

from models.errors import ModelError
from models.released.files.containers import read_content
from models.released.opening import open_file
from tests.models.released.fixtures import close, find_fixtures, some_file

FIXTURES = find_fixtures("moco", "simclr")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    path = request.param.file(tmp_path_factory.mktemp("released"))
    return request.param, path, open_file(path)


@torch.inference_mode()
def test_outputs_are_the_authors(opened):
    fixture, _, network = opened
    expected = fixture.expected()
    pixels = network.films(fixture.films())
    close(pixels[1:3, 0], expected["pixels"])
    close(pixels.mean((2, 3)), expected["pixels_channel_means"])
    features = network.features(pixels)
    close(features[:1], expected["map"])
    pooled = features.mean((2, 3))
    close(pooled, expected["pooled"])
    close(network.project(pooled), expected["projected"])
    close(network.project(pooled), expected["output"])
    square = torch.from_numpy(fixture.films()[0])[None, None]
    close(network.image_features(square), expected["pooled"][:1])
    assert network.image_maps(square)[-1].shape[2:] == (8, 8)  # of all 256 pixels, where the network sees 224


def test_a_wrong_file_is_a_sentence(opened, tmp_path):
    fixture, path, _ = opened
    prefix = "module.encoder_q." if fixture.name.startswith("moco") else "backbone."
    state = read_content(path)["state_dict"]
    changed = tmp_path / "changed.pth.tar"
    name = f"{prefix}layer2.0.bn1.weight"
    for change, message in (
        ({key: value for key, value in state.items() if key != name}, "lacks 1 weights"),
        ({**state, "extra": torch.ones(1)}, "has 1 weights that the network does not, the first is `extra`"),
        ({**state, name: torch.ones(5)}, r"has the shape \(5,\)"),
    ):
        torch.save({"epoch": 1, "state_dict": change}, changed)
        with pytest.raises(ModelError, match=message):
            open_file(changed)


def test_the_moving_average_of_moco_is_not_taken(tmp_path):
    fixture = some_file("moco_")
    state = read_content(fixture.file(tmp_path))["state_dict"]
    path = tmp_path / "changed.pth.tar"
    torch.save({"state_dict": {name: value for name, value in state.items() if "encoder_q" not in name}}, path)
    with pytest.raises(ModelError, match="no format knows"):
        open_file(path)


@torch.inference_mode()
@pytest.mark.parametrize("architecture", [resnet18, resnet50, resnext50_32x4d])
def test_every_residual_network_of_torchvision_is_built(architecture, tmp_path):
    torch.manual_seed(0)
    network = architecture(num_classes=16).eval()
    path = tmp_path / "checkpoint.pth.tar"
    state = {f"module.encoder_q.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": {**state, "module.queue": torch.zeros(16, 8)}}, path)
    released, pixels = open_file(path), torch.rand(1, 3, 64, 64)
    close(released.project(released.features(pixels).mean((2, 3))), network(pixels).numpy())
