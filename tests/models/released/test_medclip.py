"""MedCLIP's released checkpoints give what the authors' code gives."""

from __future__ import annotations

from zipfile import ZipFile

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.errors import ModelError
from models.released.formats import medclip
from models.released.opening import fill, open_file
from tests.models.released.fixtures import close, find_fixtures

FIXTURES = find_fixtures("medclip")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    """A fixture, the network of its file, and what the file holds; the file is in a zip file, as released."""
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    folder = tmp_path_factory.mktemp("released")
    content = request.param.content()
    torch.save(content, folder / "pytorch_model.bin")
    with ZipFile(folder / "medclip.zip", "w") as archive:
        archive.write(folder / "pytorch_model.bin", "medclip-vit/pytorch_model.bin")
    return request.param, open_file(folder / "medclip.zip", texts=request.param.folder / "bert"), content


@torch.inference_mode()
def test_films_vectors_and_logits_are_the_authors(opened):
    fixture, network, _ = opened
    expected = fixture.expected()
    pixels = network.films(fixture.films())
    close(pixels[1:3, 0], expected["pixels"])
    close(pixels.mean((2, 3))[:, :1], expected["pixels_channel_means"])
    if "image_unprojected" in expected:
        close(network.image(pixels).mean((2, 3)), expected["image_unprojected"])
    vectors = network.project_images(pixels)[0]
    close(vectors, expected["image"])
    units = F.normalize(vectors, dim=-1)
    close(units, expected["image_unit"])
    texts = expected["texts"].tolist()
    tokens = network.text.tokenizer(texts)
    close(tokens.ids, expected["token_ids"], 0)
    close(network.project_texts(tokens), expected["text"])
    close(network.embed_texts(texts), expected["text_unit"])
    close(network.scale * units @ network.embed_texts(texts).T, expected["logits"])
    prompts = [group.split("|") for group in expected["class_prompts"].tolist()]
    close(network.scale * network.class_cosines(units, prompts), expected["class_logits_mean"])
    close(network.scale * network.class_cosines(units, prompts, mean=False), expected["class_logits_max"])


@torch.inference_mode()
def test_findings_are_scored_and_located(opened):
    fixture, network, _ = opened
    square = torch.from_numpy(next(film for film in fixture.films() if film.shape[0] == film.shape[1]))[None, None]
    found = network.zero_shot(square, ["Edema", "goitre"])
    assert found.maps.shape == (1, 2, 7, 7)
    close(2 * found.scores[:, 1] - 1, network.similarity(square, ["goitre"])[:, 0].numpy())
    shapes = [tuple(maps.shape[2:]) for maps in network.image_maps(square)]
    assert shapes == sorted(shapes, reverse=True)
    assert shapes[-1] == (7, 7)


def test_a_wrong_file_is_one_sentence(opened, tmp_path):
    fixture, network, content = opened
    texts, path = fixture.folder / "bert", tmp_path / "file.bin"

    def refused(said, **changes):
        changed = {name: tensor for name, tensor in {**content, **changes}.items() if tensor is not None}
        with pytest.raises(ModelError, match=said):
            fill(network, medclip.convert(changed, texts).state, path)

    refused("lacks 1 weights, the first is `logit_scale`", logit_scale=None)
    refused("has 1 weights .* `vision_model.extra`", **{"vision_model.extra": torch.ones(2)})
    refused("lacks the weight `text_model.projection_head.weight`", **{"text_model.projection_head.weight": None})
    refused(r"shape \(3,\)", **{"text_model.model.embeddings.LayerNorm.bias": torch.ones(3)})


def test_a_film_lies_in_the_middle_of_a_square():
    assert medclip.on_square(np.ones((3, 2), np.uint8), 2).tolist() == [[1, 1, 0]] * 3
    assert medclip.on_square(np.ones((1, 1), np.uint8), 4).sum(0).tolist() == [0, 1, 0, 0]
