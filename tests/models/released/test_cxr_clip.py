"""CXR-CLIP's released checkpoints give what the authors' code gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.errors import ModelError
from models.released.formats.cxr_clip import TEXT
from models.released.opening import open_file
from tests.models.released.fixtures import close, find_fixtures, some_file

FIXTURES = find_fixtures("cxrclip")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    path = request.param.file(tmp_path_factory.mktemp("released"))
    return request.param, open_file(path, texts=request.param.folder / "bert")


@torch.inference_mode()
def test_films_vectors_and_cosines_are_the_authors(opened):
    fixture, network = opened
    expected = fixture.expected()
    pixels = network.films(fixture.films())
    close(pixels[1:3, 0], expected["pixels"])
    if "pixels_channel_means" in expected:
        close(pixels.mean((2, 3)), expected["pixels_channel_means"])
    pooled = network.pool(network.image(pixels))
    close(pooled, expected["image_encoder"])
    vectors = network.project_images(pixels)[0]
    close(vectors, expected["image"])
    close(F.normalize(vectors, dim=-1), expected["image_unit"])
    texts = expected["texts"].tolist()
    tokens = network.text.tokenizer(texts)
    close(tokens.ids, expected["token_ids"], 0)
    close(network.pool_texts(tokens), expected["text_encoder"])
    close(network.project_texts(tokens), expected["text"])
    close(F.normalize(vectors, dim=-1) @ network.embed_texts(texts).T, expected["cosines"])
    positive, negative = network.prompt_vectors(expected["findings"].tolist())
    units = F.normalize(vectors, dim=-1)
    close(network.presence(units @ positive.T, units @ negative.T), expected["zero_shot"])


@torch.inference_mode()
def test_findings_are_scored_and_located(opened):
    fixture, network = opened
    expected = fixture.expected()
    square = next(index for index, film in enumerate(fixture.films()) if film.shape[0] == film.shape[1])
    images = torch.from_numpy(fixture.films()[square])[None, None]
    findings = expected["findings"].tolist()
    found = network.zero_shot(images, findings)
    close(found.scores, expected["zero_shot"][square : square + 1])
    assert found.maps.shape == (1, len(findings), 7, 7)
    shapes = [tuple(maps.shape[2:]) for maps in network.image_maps(images)]
    assert shapes == sorted(shapes, reverse=True)
    assert shapes[-1] == (7, 7)
    close(network.image_features(images), expected["image_encoder"][square : square + 1])


@pytest.mark.parametrize("kind", ["cxrclip_r50", "cxrclip_swin"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("image_projection.projection.bias"), "lacks 1 weights.* `image_projection.bias`"),
        (lambda state: state.update({"image_encoder.extra": torch.ones(2)}), "has 1 weights .* `image_encoder.extra`"),
        (lambda state: state.update({f"{TEXT}embeddings.LayerNorm.bias": torch.ones(2)}), r"has the shape \(2,\)"),
    ],
)
def test_a_wrong_file_is_one_sentence(kind, change, said, tmp_path):
    fixture = some_file(kind)
    content = torch.load(fixture.file(tmp_path), weights_only=True)
    change(content["model"])
    torch.save(content, tmp_path / "changed.tar")
    with pytest.raises(ModelError, match=said):
        open_file(tmp_path / "changed.tar", texts=fixture.folder / "bert")


def test_old_names_of_a_swin_transformer_are_not_left_at_random(tmp_path):
    fixture = some_file("cxrclip_swin")
    content = torch.load(fixture.file(tmp_path), weights_only=True)
    name = "image_encoder.image_encoder.encoder.layers.0.blocks.0.attention.output.dense.weight"
    network = open_file(fixture.file(tmp_path), texts=fixture.folder / "bert")
    kept = network.state_dict()["image.network.encoder.layers.0.blocks.0.attention.o_proj.weight"]
    assert torch.equal(kept, content["model"].pop(name))
    torch.save(content, tmp_path / "changed.tar")
    with pytest.raises(ModelError, match="lacks 1 weights"):
        open_file(tmp_path / "changed.tar", texts=fixture.folder / "bert")


def test_an_unknown_pooling_is_refused(tmp_path):
    fixture = some_file("cxrclip_r50")
    content = torch.load(fixture.file(tmp_path), weights_only=True)
    content["config"]["model"]["text_encoder"]["pooling"] = "max"
    torch.save(content, tmp_path / "changed.tar")
    with pytest.raises(ModelError, match="pooled by `max`"):
        open_file(tmp_path / "changed.tar", texts=fixture.folder / "bert")
