"""Region selection: TransFG's rule written out, ties, both variants, and what training does to it."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from models.encoders.attention import attention_maps
from models.encoders.clip import ClipImageEncoder
from models.encoders.fusion.region_selection import ALL_ROWS, RegionSelection, attention_product, strongest_patches
from models.encoders.image import ImageEncoder


def matrices(layers: int, tokens: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(layers)
    return torch.randn(layers, 2, 3, tokens, tokens, generator=generator, dtype=dtype).softmax(-1)


def test_product_and_choice_written_out():
    attention = matrices(layers=4, tokens=6)
    value, index = strongest_patches(attention_product(reversed(attention)))
    for image in range(2):
        for head in range(3):
            row = [float(number) for number in attention[-1, image, head, 0]]  # class row of the last layer
            for layer in (2, 1, 0):
                step = attention[layer, image, head]
                row = [sum(row[i] * float(step[i, j]) for i in range(6)) for j in range(6)]
            best = max(range(1, 6), key=lambda j: row[j])
            assert int(index[image, head]) == best - 1
            assert float(value[image, head]) == pytest.approx(row[best], abs=1e-12)


def test_the_class_row_is_that_of_the_full_product():
    attention = matrices(layers=5, tokens=9)
    full = attention_product(reversed(attention), ALL_ROWS)
    assert full.shape == (2, 3, 9, 9)
    torch.testing.assert_close(attention_product(reversed(attention)), full[:, :, :1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [5, 17, 26, 50])
def test_ties_go_to_the_lowest_index(tokens, dtype):
    attention = matrices(7, tokens, dtype)
    attention[0, 0, :, :, [2, tokens - 1]] = 1.0  # two equal columns that win in every head
    attention[:, 1] = 1 / tokens
    index = strongest_patches(attention_product(reversed(attention)))[1]
    assert index[0].tolist() == [1, 1, 1]
    assert index[1].tolist() == [0, 0, 0]


def test_prefix_tokens_are_no_regions():
    product = torch.tensor([[[[0.1, 0.9, 0.8, 0.2, 0.3]]]])
    assert strongest_patches(product, prefix=3)[1].item() == 1


def towers() -> dict[str, tuple[torch.nn.Module, torch.nn.Module]]:
    """Encoders and the transformers in them."""
    torch.manual_seed(0)
    scratch = ImageEncoder("vit/3x128p4", size=16)
    clip = ClipImageEncoder(layers=3, width=24, heads=3, patch=4, size=16, embedding=8)
    registers = ImageEncoder("vit/3x128p4", size=16)
    registers.network = VisionTransformer(
        img_size=16, patch_size=4, in_chans=1, embed_dim=24, depth=3, num_heads=3, num_classes=0, reg_tokens=2
    )
    return {name: (tower.eval(), getattr(tower, "network", tower)) for name, tower in
            {"timm": scratch, "clip": clip, "registers": registers}.items()}  # fmt: skip


@pytest.mark.parametrize("name", ["timm", "clip", "registers"])
def test_both_variants(name):
    encoder, vit = towers()[name]
    images = torch.randn(2, 1, 16, 16)
    channels = images.expand(-1, 3, -1, -1) if name == "clip" else images
    plain = encoder(images)
    prefix = 3 if name == "registers" else 1
    expected = strongest_patches(attention_product(reversed(attention_maps(vit, channels, slice(0, -1)))), prefix)[1]
    kept = RegionSelection(vit, rerun=False)(encoder, images)
    torch.testing.assert_close(kept.pooled, plain.pooled)
    torch.testing.assert_close(kept.index, expected)
    assert kept.grid == (4, 4)
    for image in range(2):
        for head, patch in enumerate(kept.index[image].tolist()):
            torch.testing.assert_close(kept.tokens[image, head + 1], plain.local[image, patch])

    seen: list[torch.Tensor] = []
    rerun = RegionSelection(vit, rerun=True)
    last = (vit.blocks if name != "clip" else vit.transformer.resblocks)[-1]
    handle = last.register_forward_pre_hook(lambda block, given: seen.append(given[0]))
    regions = rerun(encoder, images)
    handle.remove()
    torch.testing.assert_close(regions.index, expected)
    assert seen[0].shape[1] == prefix + expected.shape[1]
    assert regions.tokens.shape == kept.tokens.shape
    assert not torch.allclose(regions.pooled, plain.pooled)


@pytest.mark.parametrize("name", ["timm", "clip", "registers"])
@pytest.mark.parametrize("rerun", [True, False])
def test_the_last_layer_counts_where_every_layer_does(name, rerun):
    encoder, vit = towers()[name]
    images = torch.randn(4, 1, 16, 16)
    channels = images.expand(-1, 3, -1, -1) if name == "clip" else images
    maps, prefix = attention_maps(vit, channels), 3 if name == "registers" else 1
    score, index = strongest_patches(attention_product(reversed(maps)), prefix)
    regions = RegionSelection(vit, rerun, every_layer=True)(encoder, images)
    torch.testing.assert_close(regions.index, index)
    torch.testing.assert_close(regions.score, score)
    encoder, vit = towers()[name]
    fewer = RegionSelection(vit, rerun, every_layer=False)(encoder, images)
    assert not torch.allclose(fewer.score, score)


def gradients(vit: VisionTransformer, images: torch.Tensor) -> list[torch.Tensor]:
    encoder = ImageEncoder("vit/3x128p4", size=16)
    encoder.network = vit
    RegionSelection(vit, rerun=True)(encoder, images).tokens.pow(2).sum().backward()
    return [parameter.grad for parameter in vit.parameters() if parameter.grad is not None]


def test_gradient_checkpointing_changes_nothing():
    images, found = torch.randn(2, 1, 16, 16), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        vit = VisionTransformer(
            img_size=16, patch_size=4, in_chans=1, embed_dim=24, depth=3, num_heads=3, num_classes=0
        )
        vit.set_grad_checkpointing(checkpointing)
        found.append(gradients(vit, images))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][0].abs().sum() > 0


def test_one_layer_is_too_few():
    with pytest.raises(ValueError, match="two layers or more"):
        RegionSelection(ImageEncoder("vit/1x128p4", size=16).network, rerun=True)
