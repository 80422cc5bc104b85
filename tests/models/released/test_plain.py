"""An encoder of any library is a start for a method: its outputs stay what they were."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from models.encoders.image import ImageEncoder, load_weights
from models.errors import ModelError
from models.released.opening import convert_file
from models.released.parts.resnet import resnet
from tests.models.released.fixtures import close, find_fixtures

FIXTURES = find_fixtures("moco", "simclr", "gloria_tiny")

PIXELS = 64


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    return network.eval()


def stages(network, images):
    """(batch, channels, rows, columns) of torchvision's last stage."""
    return nn.Sequential(*list(network.children())[:-2])(images)


@torch.inference_mode()
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}, "epoch": 3},
        lambda state: {
            "state_dict": {
                **{f"module.encoder_q.{name}": value for name, value in state.items()},
                **{f"module.encoder_k.{name}": value + 1 for name, value in state.items()},
            }
        },
    ],
)
def test_wrappers_and_prefixes_are_passed(teacher, tmp_path, wrapped):
    torch.save(wrapped(teacher.state_dict()), tmp_path / "a.pth")
    encoder = ImageEncoder("resnet18", PIXELS, str(tmp_path / "a.pth")).eval()
    grey = torch.randn(2, 1, PIXELS, PIXELS)
    close(encoder(grey).pooled, stages(teacher, grey.expand(-1, 3, -1, -1)).mean((2, 3)).numpy())


@torch.inference_mode()
def test_children_with_numbers_are_named(teacher, tmp_path):
    children = nn.Sequential(*list(teacher.children())[:-1])
    state = {f"module.res_features.{name}": value for name, value in children.state_dict().items()}
    torch.save({"model": {**state, "module.res_l1.weight": torch.ones(2, 2)}}, tmp_path / "a.pth")
    network = timm.create_model("resnet18", num_classes=0).eval()
    load_weights(network, str(tmp_path / "a.pth"))
    images = torch.randn(2, 3, PIXELS, PIXELS)
    close(network.forward_features(images), stages(teacher, images).numpy())


@torch.inference_mode()
def test_a_residual_network_of_transformers_is_renamed(tmp_path):
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
    theirs = ResNetModel(config).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.bin")
    network = timm.create_model("resnet18", num_classes=0).eval()
    load_weights(network, str(tmp_path / "a.bin"))
    images = torch.randn(2, 3, PIXELS, PIXELS)
    close(network.forward_features(images), theirs(images).last_hidden_state.numpy())


@torch.inference_mode()
def test_a_transformer_of_transformers_is_renamed(tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=PIXELS,
        patch_size=16, layer_norm_eps=1e-6,
    )  # fmt: skip
    theirs = ViTModel(config, add_pooling_layer=False).eval()
    theirs.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    torch.save({f"vit.{name}": value for name, value in state.items()}, tmp_path / "a.bin")
    network = VisionTransformer(PIXELS, 16, num_classes=0, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2).eval()
    load_weights(network, str(tmp_path / "a.bin"))
    images = torch.randn(2, 3, PIXELS, PIXELS)
    close(network.forward_features(images), theirs(images).last_hidden_state.numpy())


@torch.inference_mode()
def test_the_image_tower_of_a_clip_is_renamed(tmp_path):
    torch.manual_seed(0)
    vision = open_clip.CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=16, image_size=PIXELS)
    text = open_clip.CLIPTextCfg(context_length=8, width=32, heads=1, layers=1)
    clip = open_clip.CLIP(64, vision, text, quick_gelu=True).eval()
    state = {f"module.{name}": value for name, value in clip.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    network = VisionTransformer(
        PIXELS, 16, num_classes=0, embed_dim=64, depth=2, num_heads=1, pre_norm=True, norm_layer=nn.LayerNorm,
        act_layer=open_clip.transformer.QuickGELU,
    ).eval()  # fmt: skip
    load_weights(network, str(tmp_path / "a.pt"))
    images = torch.randn(2, 3, PIXELS, PIXELS)
    close(network.forward_features(images)[:, 0] @ clip.visual.proj, clip.encode_image(images).numpy())


def test_several_encoders_and_none_are_a_sentence(teacher, tmp_path):
    path = tmp_path / "a.pth"
    state = teacher.state_dict()
    torch.save({f"{which}.{name}": value for which in ("model", "ema") for name, value in state.items()}, path)
    with pytest.raises(ModelError, match=r"holds 2 image encoders, such as `model.` and `ema.`"):
        ImageEncoder("resnet18", PIXELS, str(path))
    torch.save({"model": {name: value for name, value in state.items() if name != "layer2.0.conv1.weight"}}, path)
    with pytest.raises(ModelError, match=r"lacks 1 weights .* the first is `layer2.0.conv1.weight`"):
        ImageEncoder("resnet18", PIXELS, str(path))


@pytest.mark.parametrize("fixture", FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def test_the_tower_of_a_released_file_is_a_start(fixture, tmp_path):
    if fixture is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    path = fixture.file(tmp_path)
    texts = fixture.folder / "bert"
    _, converted = convert_file(path, texts=texts if texts.is_dir() else None)
    network = resnet(**converted.settings["backbone"])
    load_weights(network, str(path))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, converted.state[f"backbone.{name}"]), name
