"""Attention read beside the fused path: equal to timm's and torch's own, and absent when nobody asks."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from models.encoders.attention import AttentionRecorder, attention_maps, transformer_blocks
from models.encoders.clip import ClipImageEncoder


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def vit(**options) -> VisionTransformer:
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 0}
    return VisionTransformer(**sizes, **options).double().eval()


def own_attention(network: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """What timm itself computes when it is not allowed to fuse: the input of its attention dropout."""
    network, seen = copy.deepcopy(network), []
    for block in network.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, given, out: seen.append(out))
    network(images)
    return torch.stack(seen)


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"reg_tokens": 2}, {"qkv_bias": False}])
def test_equal_to_timms_own(options, images):
    network = vit(**options)
    maps = attention_maps(network, images)
    torch.testing.assert_close(maps, own_attention(network, images))
    torch.testing.assert_close(attention_maps(network, images, slice(1, 2)), maps[1:2])


def test_equal_to_torchs_own_in_clip(images):
    torch.manual_seed(0)
    tower = ClipImageEncoder(layers=3, width=24, heads=3, patch=4, size=16, embedding=8).double().eval()
    maps, seen = attention_maps(tower, images), []
    for block in tower.transformer.resblocks:
        block.attn.register_forward_pre_hook(lambda module, given: seen.append((module, given[0])))
    tower(images)
    for layer, (attention, tokens) in zip(maps, tuple(seen), strict=True):
        own = attention(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)[1]
        torch.testing.assert_close(layer, own)


def test_padding_gets_no_attention():
    layer = torch.nn.TransformerEncoderLayer(8, 2, batch_first=True, norm_first=True).eval()
    tokens, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False, False, False, True, True]])
    with AttentionRecorder([layer]) as recorded, torch.no_grad():
        layer(tokens, src_key_padding_mask=padding)
    weights = recorded[0].weights(padding=padding)
    normed = layer.norm1(tokens)
    own = layer.self_attn(normed, normed, normed, padding, need_weights=True, average_attn_weights=False)[1]
    torch.testing.assert_close(weights, own)
    assert (weights[1, :, :, 3:] == 0).all()


def test_nothing_is_kept_when_nobody_asks_and_the_path_stays_fused(images, monkeypatch):
    network = vit()
    recorder = AttentionRecorder(network.blocks)
    calls, fused, softmax = [], F.scaled_dot_product_attention, torch.Tensor.softmax
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **o: calls.append("fused") or fused(*a, **o))
    monkeypatch.setattr(torch.Tensor, "softmax", lambda *a, **o: calls.append("softmax") or softmax(*a, **o))
    plain = network(images)
    assert calls == ["fused"] * 3
    assert recorder._layers is None
    assert recorder._queries is None
    with recorder as recorded:
        torch.testing.assert_close(network(images), plain, rtol=0, atol=0)
    assert calls == ["fused"] * 6  # asked for, the network runs as before; weights are computed by whoever reads them
    assert recorded[0].weights(slice(0, 1)).shape == (2, 3, 1, 17)
    assert not recorded[0].weights().requires_grad


def test_recorders_survive_a_copy_and_a_compiler(images):
    network = torch.nn.Module()
    network.vit = vit()
    network.recorder = AttentionRecorder(network.vit.blocks)
    copied = copy.deepcopy(network)
    with copied.recorder as recorded:
        copied.vit(images)
        network.vit(images)
    assert len(recorded) == 3
    compiled = torch.compile(network.vit, backend="eager")
    compiled(images)
    with network.recorder as recorded:
        compiled(images)
    assert len(recorded) == 3


def test_hooks_come_off_again(images):
    network = vit()
    attention_maps(network, images)
    assert not any(block.attn.q_norm._forward_hooks for block in network.blocks)


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ValueError, match="choose a ViT"):
        transformer_blocks(timm.create_model("resnet18"))
    with pytest.raises(ValueError, match="cannot be read"):
        AttentionRecorder([torch.nn.Linear(2, 2)])
