"""CheXzero's released checkpoints give what their authors' code gives."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from models.errors import ModelError
from models.released.formats.chexzero import FILE
from models.released.opening import convert_file, fill, open_file
from models.released.parts.films import paste_square
from tests.models.released.fixtures import close, find_fixtures

FIXTURES = find_fixtures("chexzero")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    fixture = request.param
    path = fixture.file(tmp_path_factory.mktemp("released"))
    return fixture, path, open_file(path, texts=fixture.folder), fixture.expected()


@torch.inference_mode()
def test_films_are_the_authors(opened):
    fixture, _, network, expected = opened
    assert np.array_equal([paste_square(film, FILE) for film in fixture.films()[1:3]], expected["squares"])
    for network.antialias, name in ((False, "plain"), (True, "antialias")):
        pixels = network.films(fixture.films())
        close(pixels[1:3, 0], expected[f"pixels_{name}"])
        close(network.project_images(pixels)[0], expected[f"image_{name}"])


@torch.inference_mode()
def test_texts_are_the_authors(opened):
    _, _, network, expected = opened
    raw = expected["texts"].tolist()
    tokens = network.tokens(raw)
    padded = F.pad(tokens.ids, (0, network.texts.tokenizer.length - tokens.ids.shape[1]))
    assert np.array_equal(padded, expected["token_ids"])
    close(network.project_texts(tokens), expected["text"])


@torch.inference_mode()
def test_findings_are_scored_as_the_authors_score_them(opened):
    fixture, _, network, expected = opened
    findings = expected["findings"].tolist()
    positive, negative = network.prompt_vectors(findings)
    for network.antialias, name in ((False, "plain"), (True, "antialias")):
        images = F.normalize(network.project_images(network.films(fixture.films()))[0])
        cosines = images @ positive.T, images @ negative.T
        close(cosines[0], expected[f"cosines_positive_{name}"])
        close(cosines[1], expected[f"cosines_negative_{name}"])
        close(network.presence(*cosines), expected[f"probability_{name}"])
        network.standardised = True
        close(network.presence(*cosines), expected[f"standardised_{name}"])
        network.standardised = False
    square = torch.from_numpy(fixture.films()[0])[None, None]
    shot = network.zero_shot(square, findings)
    close(shot.scores, expected["probability_antialias"][:1])
    assert shot.maps.shape[:2] == (1, len(findings))


def test_a_wrong_file_is_a_sentence(opened):
    fixture, path, network, _ = opened
    _, converted = convert_file(path, texts=fixture.folder)
    name = "text.ln_final.bias"
    with pytest.raises(ModelError, match=f"lacks 1 weights, the first is `{name}`"):
        fill(network, {key: value for key, value in converted.state.items() if key != name}, path)
    with pytest.raises(ModelError, match="has 1 weights that the network does not, the first is `extra`"):
        fill(network, {**converted.state, "extra": torch.ones(1)}, path)
    with pytest.raises(ModelError, match=r"`text.ln_final.bias` has the shape \(5,\)"):
        fill(network, {**converted.state, name: torch.ones(5)}, path)


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
@torch.inference_mode()
def test_a_clip_of_openai_is_read_from_its_archive(tmp_path):
    """In half precision, traced, with the facts that OpenAI keeps in it."""
    torch.manual_seed(1)
    vision = open_clip.CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=8, image_size=32)
    text = open_clip.CLIPTextCfg(context_length=20, width=64, heads=1, layers=2)
    clip = open_clip.CLIP(16, vision, text, quick_gelu=True).eval()
    for name in ("input_resolution", "context_length", "vocab_size"):
        vars(clip).pop(name, None)
        clip.register_buffer(name, torch.tensor(32))
    inputs = torch.randn(1, 3, 32, 32), torch.zeros(1, 20, dtype=torch.long)
    torch.jit.trace(clip, inputs, check_trace=False).save(str(tmp_path / "ViT.pt"))
    torch.save({name: value.half() for name, value in clip.state_dict().items()}, tmp_path / "half.pt")
    network = open_file(tmp_path / "ViT.pt")
    pixels = torch.randn(2, 3, 32, 32)
    close(network.project_images(pixels)[0], clip.encode_image(pixels).numpy())
    tokens = network.tokens(["no edema", "small left pleural effusion"])
    padded = F.pad(tokens.ids, (0, 20 - tokens.ids.shape[1]))
    close(network.project_texts(tokens), clip.encode_text(padded).numpy())
    half = open_file(tmp_path / "half.pt")
    close(half.project_images(pixels)[0], clip.encode_image(pixels).numpy(), 1e-2)
    assert half.visual.proj.dtype == torch.float32


@torch.inference_mode()
def test_a_clip_with_a_residual_network_is_as_open_clip_has_it(tmp_path):
    torch.manual_seed(0)
    towers = {
        "vision_cfg": {"layers": [1, 2, 1, 1], "width": 8, "image_size": 64},
        "text_cfg": {"width": 64, "heads": 1, "layers": 1},
    }
    clip = open_clip.model.CLIP(16, **towers, quick_gelu=True).eval()
    for module in clip.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.weight.uniform_(0.5, 1.5)
    path = tmp_path / "RN.pt"
    torch.save({name: tensor for name, tensor in clip.state_dict().items() if name != "attn_mask"}, path)
    network = open_file(path)
    pixels = network.films([np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)])
    assert pixels.shape == (1, 3, 64, 64)
    close(network.project_images(pixels)[0], clip.encode_image(pixels).numpy())
    assert network.project_images(pixels)[1:][1] == (2, 2)
    texts = ["pleural effusion", "no pneumothorax is seen"]
    wanted = clip.encode_text(open_clip.SimpleTokenizer()(texts), normalize=True)
    close(network.embed_texts(texts), wanted.numpy())
    square = torch.zeros(2, 1, 320, 320)
    assert [maps.shape[1] for maps in network.image_maps(square)] == [8, 32, 64, 128, 256]
    assert network.zero_shot(square, ["edema"]).maps.shape == (2, 1, 2, 2)
    broken = clip.state_dict() | {"visual.attnpool.positional_embedding": torch.zeros(4, 256)}
    torch.save(broken, path)
    with pytest.raises(ModelError, match="3 positions of places, which are no square"):
        open_file(path, "chexzero")
