"""KAD's released checkpoints give what the authors' code gives."""

from __future__ import annotations

import pytest
import torch

from models.errors import ModelError
from models.released.formats import kad
from models.released.opening import convert_file, fill, open_file
from tests.models.released.fixtures import close, find_fixtures, some_file

FIXTURES = find_fixtures("kad")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    """A fixture, the network of its file, and what the file holds."""
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    content = request.param.content()
    path = tmp_path_factory.mktemp("released") / "best_valid.pt"
    torch.save(content, path)
    return request.param, open_file(path, texts=request.param.folder / "bert"), content


@torch.inference_mode()
def test_films_places_and_answers_are_the_authors(opened):
    fixture, network, _ = opened
    expected = fixture.expected()
    pixels = network.films(fixture.films())
    kept = len(expected["pixels"])
    close(pixels[1 : 1 + kept, 0], expected["pixels"])
    close(pixels.mean((2, 3))[:, : expected["pixels_channel_means"].shape[1]], expected["pixels_channel_means"])
    places, grid = network.places(pixels)
    close(places[0, :40], expected["image_local_first"])
    close(places.mean(1), expected["image_pooled"])
    queries = expected["queries"].tolist()
    tokens = network.text.tokenizer(queries)
    close(tokens.ids, expected["token_ids"][:, : tokens.ids.shape[1]], 0)
    close(network.read(queries), expected["text"])
    logits, maps = network.answer(places, network.read(queries))
    close(logits, expected["logits"])
    close(logits.softmax(-1)[..., 1], expected["probability"])
    close(maps, expected["attention"])
    assert maps.shape[-1] == grid[0] * grid[1]


@torch.inference_mode()
def test_findings_are_asked_together(opened):
    fixture, network, _ = opened
    expected = fixture.expected()
    square = torch.from_numpy(fixture.films()[0])[None, None]
    queries = expected["queries"].tolist()
    found = network.zero_shot(square, [query.title() for query in queries])
    close(found.scores, expected["probability"][:1])
    close(found.maps.flatten(2), expected["attention"][:1])
    alone = network.zero_shot(square, queries[:1])
    assert not torch.allclose(alone.scores[0, 0], found.scores[0, 0], atol=1e-6)
    maps = network.phrase_maps(square.expand(2, -1, -1, -1), queries[:2])
    assert torch.allclose(maps[0], alone.maps[0, 0], atol=1e-6)
    assert network.image_maps(square)[-1].shape[2:] == maps.shape[1:]


def test_a_wrong_file_is_one_sentence(opened, tmp_path):
    fixture, network, content = opened
    texts, path = fixture.folder / "bert", tmp_path / "best_valid.pt"

    def refused(said, group, name, tensor=None):
        weights = {key: value for key, value in content[group].items() if key != name}
        changed = {**content, group: weights if tensor is None else {**weights, name: tensor}}
        with pytest.raises(ModelError, match=said):
            fill(network, kad.convert(changed, texts).state, path)

    refused("lacks 1 weights, the first is `res_l1.bias`", "image_encoder", "res_l1.bias")
    refused("lacks the weight `resnet.bn1.bias`", "image_encoder", "resnet.bn1.bias")
    refused("`resnet.bn1.bias` is in the file twice", "image_encoder", "resnet.bn1.bias", torch.ones(64))
    refused("`decoder_norm.bias` is in the file twice", "model", "decoder_norm.bias", torch.ones(768))
    refused("has 1 weights .* `extra`", "text_encoder", "extra", torch.ones(2))
    refused(r"`mlp_head.bias` has the shape \(3,\)", "model", "mlp_head.0.bias", torch.ones(3))


def test_the_file_says_how_large_its_images_are(opened):
    fixture, network, content = opened
    texts = fixture.folder / "bert"
    assert network.size == len(fixture.expected()["pixels"][0])
    stated = kad.convert({**content, "config": {"img_res": 1024}}, texts)
    assert (stated.settings["size"], stated.notes) == (1024, ())
    assert kad.convert(content, texts).notes == (
        f"The file does not say how large its images are: {network.size} pixels are assumed.",
    )


def test_a_user_says_how_large_its_images_are(opened, tmp_path):
    fixture, network, content = opened
    texts, path = fixture.folder / "bert", tmp_path / "best_valid.pt"
    torch.save(content, path)
    right, wrong = (1024, 224) if network.size > 224 else (224, 512)
    _, converted = convert_file(path, "kad", texts, right)
    assert (converted.settings["size"], converted.notes) == (right, ())
    with pytest.raises(ModelError, match=f"images of {wrong} pixels do not go with it"):
        convert_file(path, "kad", texts, wrong)


def test_other_formats_take_no_size(tmp_path):
    fixture = some_file("moco_")
    with pytest.raises(ModelError, match="the size of images follows from a file of moco: leave it out"):
        convert_file(fixture.file(tmp_path), size=512)
