"""Encoders from timm and transformers: shapes, attention read beside the fused path, weights that must fit."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder, embed_texts
from models.errors import ModelError
from models.text.tokenizer import tokenizer

IMAGES = torch.randn(2, 1, 64, 64)
SENTENCES = ["No pleural effusion.", "Left pneumothorax with atelectasis at the base."]


@pytest.mark.parametrize(
    ("name", "options", "dim", "local_dim", "grid"),
    [
        ("resnet18", {"stage": 2}, 512, 128, (8, 8)),
        ("resnet18", {}, 512, 512, (2, 2)),
        ("resnet18", {"stage": 3, "pooled": False}, 256, 256, (4, 4)),
        ("resnet18", {"pooled": False}, 512, 512, (2, 2)),
        ("resnet18", {"stage": 3, "pooled": False, "output_stride": 8}, 256, 256, (8, 8)),
        ("resnet18/2", {"stage": 3}, 128, 128, (8, 8)),
        ("vit/2x64p16", {}, 64, 64, (4, 4)),
        ("vit/2x64r", {}, 64, 64, (8, 8)),
        ("vit_tiny_patch16_224", {}, 192, 192, (4, 4)),
    ],
)
def test_shapes_follow_name_and_stage(name, options, dim, local_dim, grid):
    encoder = ImageEncoder(name, 64, **options)
    features = encoder(IMAGES)
    assert features.pooled.shape == (2, dim) == (2, encoder.dim)
    assert features.local.shape == (2, grid[0] * grid[1], local_dim)
    assert encoder.local_dim == local_dim
    assert features.grid == grid
    assert features.attention is None


@pytest.mark.parametrize("name", ["vit/2x64p16", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "densenet121"])
def test_networks_without_dilation_refuse_an_output_stride(name):
    with pytest.raises(ModelError, match=rf"`{name}` cannot be refined by dilation; set `output_stride` to 32"):
        ImageEncoder(name, 64, output_stride=8)


def test_a_swin_transformer_cannot_end_with_a_stage():
    with pytest.raises(ModelError, match="cannot end with a stage; set `image_stage` to 0"):
        ImageEncoder("swin_tiny_patch4_window7_224", 224, stage=2, pooled=False)


def of(name: str, stage: int, fresh: bool = True) -> ImageEncoder:
    settings = SimpleNamespace(image_encoder=name, image_weights="", image_stage=stage, channels=1)
    return ImageEncoder.of(settings, 64, fresh)


def test_the_stage_of_the_settings_is_that_of_the_encoder():
    assert [of(name, stage).dim for name, stage in (("resnet18", 2), ("resnet18/2", 0), ("resnet18/2", 2))] == [128] * 3
    for name in ("vit/2x64p16", "vit_tiny_patch16_224"):
        with pytest.raises(ModelError, match=f"`{name}` cannot end with a stage; set `image_stage` to 0"):
            of(name, 2)
    with pytest.raises(ModelError, match="`resnet18/2` ends with stage 2, but `image_stage` is 3"):
        of("resnet18/2", 3)
    with pytest.raises(ModelError, match="cannot end with a stage; leave `/2` out of its name"):
        of("vit_tiny_patch16_224/2", 0)
    assert of("vit/2x64p16", 2, fresh=False).dim == 64  # a network that was saved before can be opened


def test_a_network_that_stops_at_a_stage_has_no_later_one():
    whole, stopped = (ImageEncoder("resnet18", 64, stage=2, pooled=pooled) for pooled in (True, False))
    count = [sum(parameter.numel() for parameter in encoder.parameters()) for encoder in (whole, stopped)]
    assert count[1] < 0.1 * count[0]


@pytest.mark.parametrize(
    ("name", "options", "grids"),
    [
        ("resnet18", {}, [32, 16, 8, 4, 2]),
        ("resnet18", {"stage": 2}, [32, 16, 8, 4, 2]),
        ("resnet18/2", {}, [32, 16, 8]),
        ("vit/2x64p8", {}, [8]),
        ("vit/2x64r", {}, [8]),
    ],
)
def test_maps_go_from_fine_to_coarse_and_end_in_what_is_pooled(name, options, grids):
    encoder = ImageEncoder(name, 64, **options).eval()
    maps = encoder.maps(IMAGES)
    assert [tuple(found.shape[2:]) for found in maps] == [(side, side) for side in grids]
    features = encoder(IMAGES)
    last = features.pooled if not encoder.transformer else features.local.mean(1)
    assert torch.allclose(maps[-1].mean((2, 3)), last, atol=1e-5)


def test_attention_of_a_vit_is_that_of_the_plain_path():
    encoder = ImageEncoder("vit/3x128p8", 64).eval()
    read = encoder(IMAGES, attention=True).attention
    attend = encoder.network.blocks[-1].attn
    attend.fused_attn = False
    seen = []
    attend.attn_drop.register_forward_hook(lambda module, given, result: seen.append(result))
    encoder(IMAGES)
    torch.testing.assert_close(read, seen[0][:, :, 0, 1:].mean(1))


def test_attention_of_a_bert_is_that_of_the_plain_path():
    tokens, encoder = tokenizer("bert/2x128", 16)(SENTENCES), TextEncoder("bert/2x128").eval()
    read = encoder(tokens, attention=True).attention
    encoder.bert.set_attn_implementation("eager")
    output = encoder.bert(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_attentions=True)
    torch.testing.assert_close(read, output.attentions[-1][:, :, 0])
    assert (read[~tokens.mask[:, None].expand_as(read)] == 0).all()


def test_frozen_layers_get_no_gradient():
    encoder = TextEncoder("bert/3x64", frozen_layers=2)
    encoder(tokenizer("bert/3x64", 16)(SENTENCES)).tokens.sum().backward()
    for name, parameter in encoder.bert.named_parameters():
        assert (parameter.grad is not None) == name.startswith("encoder.layer.2"), name


def test_no_more_layers_are_frozen_than_there_are():
    assert not any(part.requires_grad for part in TextEncoder("bert/3x64", frozen_layers=3).parameters())
    with pytest.raises(ModelError, match="frozen_layers is 6, but text encoder `bert/2x64` has 2 layers"):
        TextEncoder("bert/2x64", frozen_layers=6)
    TextEncoder("bert/2x64", weights=False, frozen_layers=6)  # of a saved network


def test_layers_keeps_the_first_ones():
    assert len(TextEncoder("all-MiniLM-L6-v2", layers=2).bert.encoder.layer) == 2
    with pytest.raises(ValueError, match="has 6 layers, not 9"):
        TextEncoder("all-MiniLM-L6-v2", layers=9)


@torch.inference_mode()
def test_without_positions_the_order_of_words_says_nothing():
    tokens = tokenizer("bert/2x128", 16)(["small left effusion", "effusion small left"])
    torch.manual_seed(0)
    ordered = TextEncoder("bert/2x128").eval()
    loose = TextEncoder("bert/2x128", positions=False).eval()
    whole = ordered(tokens).tokens[:, 0]
    assert not torch.allclose(whole[0], whole[1], atol=1e-4)
    whole = loose(tokens).tokens[:, 0]
    torch.testing.assert_close(whole[0], whole[1])
    # the same as a BERT whose places are all the first, and whose types are zero
    loose.load_state_dict(ordered.state_dict())
    loose.bert.embeddings.token_type_embeddings.weight.zero_()
    places = ordered.bert.embeddings.position_embeddings.weight
    places.copy_(places[:1].expand_as(places).clone())
    ordered.bert.embeddings.token_type_embeddings.weight.zero_()
    torch.testing.assert_close(loose(tokens).tokens, ordered(tokens).tokens)


def test_tokens_are_padded_cut_and_know_their_words():
    pieces = tokenizer("all-MiniLM-L6-v2", 8)
    ragged = pieces.encode(SENTENCES)
    tokens = pieces(SENTENCES)
    assert max(map(len, ragged)) == 8 == tokens.ids.shape[1]
    assert tokens.mask.sum(1).tolist() == [len(ids) for ids in ragged]
    assert (tokens.ids[~tokens.mask] == pieces.pad).all()
    assert tokens.ids[1, -1] == pieces.end
    assert pieces.continues[pieces.encode(["atelectasis"])[0]].tolist()[0] is False
    assert pieces.continues[pieces.encode(["atelectasis"])[0]].any()
    assert pieces.words("Left atelectasis, or not") == ["left", "atelectasis", ","]  # 8 tokens


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ImageEncoder("resnet19"), "neither known to timm"),
        (lambda: ImageEncoder("resnet18", stage=7), "stages 1 to 4, not 7"),
        (lambda: ImageEncoder("resnet18/0"), "stages 1 to 4, not 0"),
        (lambda: ImageEncoder("resnet18", weights="no.safetensors"), "there is no file"),
        (lambda: TextEncoder("bert/large"), "layers by width"),
        (lambda: TextEncoder("nowhere/at-all"), "neither in a local folder nor reachable"),
    ],
)
def test_what_is_not_there_is_one_sentence(build, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=message):
        build()


def test_weights_in_colour_load_and_weights_that_lack_something_do_not(tmp_path):
    state = {name: tensor.clone() for name, tensor in ImageEncoder("resnet18", 64).network.state_dict().items()}
    colour = torch.randn(64, 3, 7, 7)
    save_file({**state, "conv1.weight": colour}, tmp_path / "colour.safetensors")
    loaded = ImageEncoder("resnet18", 64, str(tmp_path / "colour.safetensors"))
    torch.testing.assert_close(loaded.network.conv1.weight.data, colour.sum(1, keepdim=True))
    state.pop("layer1.0.conv1.weight")
    torch.save(state, tmp_path / "half.pt")
    with pytest.raises(ValueError, match=r"lacks 1 weights.*layer1\.0\.conv1"):
        ImageEncoder("resnet18", 64, str(tmp_path / "half.pt"))


def test_mean_pooling_leaves_padding_out():
    alone = embed_texts("all-MiniLM-L6-v2", SENTENCES[:1], "mean")
    beside = embed_texts("all-MiniLM-L6-v2", SENTENCES, "mean")
    torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=1e-4)
